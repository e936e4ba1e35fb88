package storage

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// damaged opens a store whose first log has a flipped bit at a byte of its first
// segment; the second is whole. Both have something to compact.
func damaged(t *testing.T, at int64, change ...func(*Clean)) (*Store, *hands, *vfs.Mem) {
	t.Helper()
	fs := vfs.NewMem()
	cfg, clock := cleanConfig(fs)
	s := mustOpen(t, cfg, compacted(change...))
	for n := range int32(2) {
		put(t, s, s.Partition(ordersID, n), pairs(clock.now().UnixMilli(), pair{"a", "1"}, pair{"a", "2"}))
	}
	mustClose(t, s)
	flipBit(t, fs, filepath.Join(topicDir("data", ordersID), segmentName(0, 0)+".log"), at, 1)
	s = mustOpen(t, cfg, compacted(change...))
	t.Cleanup(func() { mustClose(t, s) })
	return s, clock, fs
}

// TestCleanMaxLagOfADamagedLog: a log whose active segment cannot be sealed, as it
// is damaged, keeps no other log from being compacted.
func TestCleanMaxLagOfADamagedLog(t *testing.T) {
	const length = 10 // of the first batch: its header cannot be read
	s, clock, _ := damaged(t, length, func(r *Clean) { r.MinDirtyRatio, r.MaxLagMillis = 1, 5000 })
	p := s.Partition(ordersID, 1)
	clock.advance(6 * time.Second)
	mustClean(t, s)
	put(t, s, p, pairs(clock.now().UnixMilli(), pair{"c", "1"}))
	mustClean(t, s)
	if got := has(stored(t, p), "a"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("the whole log was not compacted: %q", got)
	}
	if st := s.CleanStats(); st.SetAside != 1 || st.Passes == 0 {
		t.Errorf("%+v", st)
	}
}

// TestCleanTriesADamagedLogAgain: when the damage has left the log, it is compacted
// in the same life.
func TestCleanTriesADamagedLogAgain(t *testing.T) {
	const records = 70 // in the first batch
	s, clock, _ := damaged(t, records)
	p := s.Partition(ordersID, 0)
	seals(t, s, p)
	mustClean(t, s)
	if st := s.CleanStats(); st.SetAside != 1 {
		t.Fatalf("the damage was not met: %+v", st)
	}
	next := p.state.segments[1].base
	put(t, s, p, pairs(1000, pair{"b", "1"}, pair{"b", "2"}))
	seals(t, s, p)
	if _, err := p.SetStart(next); err != nil {
		t.Fatal(err)
	}
	mustClean(t, s)
	if got := has(stored(t, p), "b"); len(got) != 2 {
		t.Fatalf("compacted though it was left alone: %q", got)
	}
	clock.advance(time.Hour)
	mustClean(t, s)
	if got := has(stored(t, p), "b"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("an hour later: %q", got)
	}
	if st := s.CleanStats(); st.SetAside != 0 {
		t.Errorf("%+v", st)
	}
}

// TestCleanForgetsADamagedLogThatIsDeleted, so that it is told no longer.
func TestCleanForgetsADamagedLogThatIsDeleted(t *testing.T) {
	s, _, _ := damaged(t, 70)
	seals(t, s, s.Partition(ordersID, 0))
	mustClean(t, s)
	if st := s.CleanStats(); st.SetAside != 1 {
		t.Fatalf("%+v", st)
	}
	if err := s.DeleteTopic(ordersID); err != nil {
		t.Fatal(err)
	}
	mustClean(t, s)
	if st := s.CleanStats(); st.SetAside != 0 {
		t.Errorf("%+v", st)
	}
}

// TestCleanStats count what was read, written and removed.
func TestCleanStats(t *testing.T) {
	s, p, _ := cleanStore(t)
	put(t, s, p, pairs(1000, pair{"a", "1"}, pair{"a", "2"}))
	size := func() (n int64) {
		for _, seg := range p.state.segments {
			n += seg.size.Load()
		}
		return n
	}
	seals(t, s, p)
	before := size()
	mustClean(t, s)
	st := s.CleanStats()
	if st.Passes != 1 || st.Read == 0 || st.Written == 0 || st.Removed != before-size() || st.Removed == 0 {
		t.Errorf("%+v, the log went from %d to %d bytes", st, before, size())
	}
}

// TestExpiredOfADamagedLog: a log that cannot be sealed says so, as an error that
// is no failure of the store.
func TestExpiredOfADamagedLog(t *testing.T) {
	s, clock, _ := damaged(t, 10)
	clock.advance(time.Hour)
	_, _, err := s.Partition(ordersID, 0).Expired(Retention{Millis: 1000, Bytes: -1}, clock.now())
	if corrupt := (*CorruptError)(nil); !errors.As(err, &corrupt) || s.Err() != nil {
		t.Errorf("%v, %v", err, s.Err())
	}
}
