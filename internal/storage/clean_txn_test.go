package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// inTxnPairs is a batch of a transaction; a sequence of -1 leaves the producer's
// window alone.
func inTxnPairs(pid int64, sequence int32, ps ...pair) batch.Batch {
	return batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: pid, Sequence: sequence}}, recordsOf(1000, ps)...)
}

// markersOf lists the producers of the markers that a log holds.
func markersOf(t *testing.T, p *Partition) (pids []int64) {
	t.Helper()
	for rest := mustRead(t, p, p.Offsets().Start); len(rest) > 0; {
		b, more, err := batch.Split(rest)
		if err != nil {
			t.Fatal(err)
		}
		if rest = more; b.Control() {
			pids = append(pids, b.ProducerID())
		}
	}
	return pids
}

// again makes the log dirty and cleans it.
func again(t *testing.T, s *Store, p *Partition) {
	t.Helper()
	put(t, s, p, pairs(1000, pair{"again", "x"}))
	round(t, s, p)
}

// TestCleanMarkerHorizon: a marker goes when delete.retention.ms has passed since
// a cleaning found nothing of its transaction, to the millisecond and not before,
// whether it commits or aborts (KIP-534).
func TestCleanMarkerHorizon(t *testing.T) {
	s, p, c := cleanStore(t)
	put(t, s, p, inTxnPairs(1, -1, pair{"b", "stays"}))
	put(t, s, p, marker(1, 0, true)) // stays, but keeps no later one of its producer
	put(t, s, p, inTxnPairs(1, -1, pair{"a", "aborted"}))
	put(t, s, p, marker(1, 0, false))
	put(t, s, p, inTxnPairs(2, -1, pair{"a", "superseded"}))
	put(t, s, p, marker(2, 0, true))
	put(t, s, p, pairs(1000, pair{"a", "newest"}))
	for _, step := range []struct {
		wait    time.Duration
		markers []int64
		aborted int
		why     string
	}{
		{0, []int64{1, 1, 2}, 1, "the records went just now"},
		{5 * time.Second, []int64{1, 1, 2}, 0, "nothing was left: the horizon is set"},
		{999 * time.Millisecond, []int64{1, 1, 2}, 0, "a millisecond before the horizon"},
		{time.Millisecond, []int64{1}, 0, "the horizon has come"},
	} {
		c.advance(step.wait)
		again(t, s, p)
		got, err := p.Aborted(0, p.Offsets().Stable)
		if ms := markersOf(t, p); err != nil || !slices.Equal(ms, step.markers) || len(got) != step.aborted {
			t.Fatalf("%s: markers of %v, want %v, aborted %+v, %v", step.why, ms, step.markers, got, err)
		}
		if rs := stored(t, p); !slices.Equal(has(rs, "a"), []string{"newest"}) || len(has(rs, "b")) != 1 {
			t.Fatalf("%s: %v", step.why, rs)
		}
	}
}

// TestCleanMarkerStaysWithItsRecords: as long as anything of a transaction is there,
// an emptied batch too, its marker is, however old it is; so is what a reader is
// told of an aborted one.
func TestCleanMarkerStaysWithItsRecords(t *testing.T) {
	s, p, c := cleanStore(t)
	put(t, s, p, inTxnPairs(1, 0, pair{"a", "committed"})) // 0
	put(t, s, p, inTxnPairs(2, 0, pair{"b", "aborted"}))   // 1
	put(t, s, p, marker(1, 0, true))                       // 2
	put(t, s, p, inTxnPairs(2, 1, pair{"b", "aborted"}))   // 3: the producer's newest, which is emptied
	put(t, s, p, marker(2, 0, false))                      // 4
	want := []AbortedTxn{{2, 1, 4, 5}}
	for i := range 5 {
		again(t, s, p)
		c.advance(2 * time.Second)
		got, err := p.Aborted(0, p.Offsets().Stable)
		if ms := markersOf(t, p); err != nil || !slices.Equal(ms, []int64{1, 2}) || !slices.Equal(got, want) {
			t.Fatalf("cleaning %d: markers of %v, aborted %+v, %v", i, ms, got, err)
		}
		if rs := stored(t, p); !slices.Equal(has(rs, "a"), []string{"committed"}) || has(rs, "b") != nil {
			t.Fatalf("cleaning %d: %v", i, rs)
		}
	}
	put(t, s, p, inTxnPairs(2, 2, pair{"b", "committed"}))
	put(t, s, p, marker(2, 0, true))
	for range 4 {
		again(t, s, p)
		c.advance(2 * time.Second)
	}
	got, err := p.Aborted(0, p.Offsets().Stable)
	if ms := markersOf(t, p); err != nil || !slices.Equal(ms, []int64{1, 2}) || len(got) != 0 {
		t.Fatalf("with a newer batch of the producer: markers of %v, aborted %+v, %v", ms, got, err)
	}
	if b := batch.Batch(mustRead(t, p, 2)); b.BaseOffset() != 2 || !b.Control() {
		t.Fatalf("the marker of what is there went")
	} else if next := batch.Batch(mustRead(t, p, 3)); next.BaseOffset() <= 4 {
		t.Fatalf("of what went, the batch at %d is left", next.BaseOffset())
	}
}

// TestCleanAbortedBehindTheMap: where the key map is full a pass ends, in the middle
// of a segment; what is aborted before is gone, what is aborted behind stays,
// and so does what a reader needs to leave it out.
func TestCleanAbortedBehindTheMap(t *testing.T) {
	cfg, _ := cleanConfig(vfs.NewMem())
	cfg.CleanMapBytes, cfg.SegmentBytes = minSlots*keyOffsetBytes, 16<<10
	s := mustOpen(t, cfg, compacted())
	p := s.Partition(ordersID, 0)
	some := func(from, n int) {
		for i := range n {
			put(t, s, p, pairs(1000, pair{fmt.Sprint("k", from+i), strings.Repeat("v", 60)}))
		}
	}
	some(0, 40)
	first := put(t, s, p, inTxnPairs(1, -1, pair{"x", "aborted"})).Base
	put(t, s, p, marker(1, 0, false))
	some(40, 30) // the map is full in here
	second := put(t, s, p, inTxnPairs(2, -1, pair{"y", "aborted"})).Base
	some(70, 1)
	put(t, s, p, inTxnPairs(2, -1, pair{"z", "aborted"}))
	end := put(t, s, p, marker(2, 0, false)).Base
	for range 2 { // the segment is sealed
		put(t, s, p, pairs(1000, pair{"filler", strings.Repeat("f", 9000)}))
	}
	checkpointed(s)
	c := &cleaner{s: s, aside: map[*Partition]time.Time{}}
	d, err := c.dirtiest(nil)
	if err == nil {
		err = c.clean(t.Context(), d) // one pass, where the store's own goes on to the end
	}
	if err != nil {
		t.Fatal(err)
	}
	checkpointed(s)
	for range 2 { // in this life and in the next
		if at := p.cleaner.cleaned; at <= first || at >= second || p.state.segments[0].generation == 0 {
			t.Fatalf("the pass ended at %d, and was to end between %d and %d", at, first, second)
		}
		rs := stored(t, p)
		if has(rs, "x") != nil || len(has(rs, "y")) != 1 || len(has(rs, "z")) != 1 {
			t.Fatalf("x %q, y %q, z %q", has(rs, "x"), has(rs, "y"), has(rs, "z"))
		}
		want := AbortedTxn{2, second, end, end + 1}
		if got, err := p.Aborted(second, end); err != nil || !slices.Equal(got, []AbortedTxn{want}) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
		mustClose(t, s)
		s = mustOpen(t, cfg, compacted())
		p = s.Partition(ordersID, 0)
	}
	mustClean(t, s)
	if rs := stored(t, p); has(rs, "y") != nil || has(rs, "z") != nil || len(has(rs, "k0")) != 1 {
		t.Fatalf("after the next pass: %v", rs)
	}
	mustClose(t, s)
}

// TestCleanAbortedFarApart: transactions are asked for anew as the cleaner goes on
// through a long log.
func TestCleanAbortedFarApart(t *testing.T) {
	s, p, _ := cleanStore(t)
	var many []pair
	for i := range outcomeSpan {
		many = append(many, pair{fmt.Sprint("m", i%10), ""})
	}
	for i := range int64(3) {
		put(t, s, p, inTxnPairs(i, -1, pair{"a", "aborted"}))
		put(t, s, p, inTxnPairs(9, -1, pair{fmt.Sprint("over", i), "aborted"})) // one over all of it
		put(t, s, p, pairs(1000, many...))
		put(t, s, p, marker(i, 0, false))
		put(t, s, p, inTxnPairs(i, -1, pair{fmt.Sprint("b", i), "committed"}))
		put(t, s, p, marker(i, 0, true))
	}
	put(t, s, p, marker(9, 0, false))
	round(t, s, p)
	rs := stored(t, p)
	for i := range 3 {
		if over, b := has(rs, fmt.Sprint("over", i)), has(rs, fmt.Sprint("b", i)); over != nil || len(b) != 1 {
			t.Errorf("%d: over %q, b %q", i, over, b)
		}
	}
	if got := has(rs, "a"); got != nil {
		t.Errorf("a %q", got)
	}
}
