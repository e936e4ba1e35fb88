package demo

import (
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weirstream/weir/internal/demo/shop"
)

// TestDayEnds: the day is over when every line is acknowledged and every group
// has worked through all, and not before the partitions have moved.
func TestDayEnds(t *testing.T) {
	groupsAt := func(a, b, c int) []groupView {
		return []groupView{{processed: a, members: []memberView{{}}}, {processed: b}, {processed: c}}
	}
	for _, c := range []struct {
		name  string
		phase phase
		in    int
		at    []groupView
		want  bool
	}{
		{"all done", closing, 4, groupsAt(4, 4, 4), true},
		{"consumed before the acknowledgement came", closing, 3, groupsAt(4, 4, 4), false},
		{"the first group is behind", closing, 4, groupsAt(3, 4, 4), false},
		{"the last group is behind", closing, 4, groupsAt(4, 4, 3), false},
		{"partitions on their way", handing, 4, groupsAt(4, 4, 4), false},
	} {
		r := &run{
			phase: c.phase, lines: make([]shop.Line, 4), fed: 4, begun: time.Now(), moving: []int32{1},
			screen: newScreen(&output{w: io.Discard}, nil, 4),
		}
		if got := r.step(time.Now(), view{in: c.in, groups: c.at}); got != c.want {
			t.Errorf("%s: done %v", c.name, got)
		}
	}
}

// TestReached: what is read back is not counted before the topics' ends.
func TestReached(t *testing.T) {
	ends := kadm.ListedOffsets{
		"a": {0: {Topic: "a", Offset: 2}, 1: {Topic: "a", Partition: 1, Offset: 1}},
		"b": {0: {Topic: "b"}},
	}
	r := &reader{}
	for read, want := range map[int64]bool{0: false, 2: false, 3: true, 4: true} {
		r.mu.read = map[string]int64{"a": read}
		if got := r.reached(ends); got != want {
			t.Errorf("%d of 3 records read: %v", read, got)
		}
	}
}
