package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestChangeTopicRules: a changed segment.bytes and cleanup.policy count at once.
func TestChangeTopicRules(t *testing.T) {
	cfg, _ := cleanConfig(vfs.NewMem())
	spec := orders
	s := mustOpen(t, cfg, spec)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	segments := func() int { return len(p.state.segments) }
	for i := range 20 {
		put(t, s, p, pairs(int64(i), pair{"k", fmt.Sprintf("%0100d", i)}))
	}
	before := segments()
	if err := s.CleanNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if before < 3 || len(stored(t, p)) != 20 {
		t.Fatalf("%d segments and %d records of a topic that is not compacted", before, len(stored(t, p)))
	}
	spec.SegmentBytes = 1 << 20
	if err := s.ChangeTopic(spec); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(t, s, p, pairs(int64(i), pair{"k", fmt.Sprintf("%0100d", i)}))
	}
	if segments() != before {
		t.Errorf("%d segments, %d before they could be larger", segments(), before)
	}
	spec.SegmentBytes, spec.Clean = 1<<10, Clean{Compact: true}
	if err := s.ChangeTopic(spec); err != nil {
		t.Fatal(err)
	}
	put(t, s, p, pairs(1, pair{"k", "last"}))
	if err := s.CleanNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, p); len(got) > 2 {
		t.Errorf("%d records after the topic became a compacted one", len(got))
	}
}

// TestAddedPartitions: they work at once and after a crash; those that were there
// stay the same.
func TestAddedPartitions(t *testing.T) {
	disk := vfs.NewMem()
	s := mustOpen(t, smallConfig(disk), orders)
	first := s.Partition(ordersID, 0)
	put(t, s, first, text(2, "before"))
	more := orders
	more.Partitions = 5
	if err := s.ChangeTopic(more); err != nil {
		t.Fatal(err)
	}
	if s.Partition(ordersID, 0) != first || s.Partition(ordersID, 4) == nil || s.Partition(ordersID, 5) != nil {
		t.Fatal("the topic has other partitions than 0 to 4")
	}
	put(t, s, s.Partition(ordersID, 4), text(3, "new"))
	put(t, s, first, text(1, "after"))
	if err := s.ChangeTopic(orders); err != nil || s.Partition(ordersID, 4) == nil {
		t.Errorf("a change to fewer partitions: %v", err)
	}
	left := disk.CrashClone(rand.New(rand.NewPCG(1, 1)), vfs.CrashOptions{})
	mustClose(t, s)
	again := mustOpen(t, smallConfig(left), more)
	defer mustClose(t, again)
	if high := again.Partition(ordersID, 4).Offsets().High; high != 3 {
		t.Errorf("the new partition ends at %d after a crash", high)
	}
	if high := again.Partition(ordersID, 0).Offsets().High; high != 3 {
		t.Errorf("the old partition ends at %d after a crash", high)
	}
	if err := again.ChangeTopic(TopicSpec{ID: TopicID{9}}); !errors.Is(err, ErrDeleted) {
		t.Errorf("change of a topic that is not there: %v", err)
	}
}

func TestChangeAfterClose(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangeTopic(orders); !errors.Is(err, ErrClosed) {
		t.Errorf("change after Close: %v", err)
	}
}
