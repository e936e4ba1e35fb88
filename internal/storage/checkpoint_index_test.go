package storage

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// entriesInFile is how many entries the index file of the active segment holds.
func entriesInFile(t *testing.T, fsys vfs.FS, p *Partition) int {
	t.Helper()
	info, err := fsys.Stat(p.active().ix.f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size / entryLen)
}

// putEntries appends until the active segment's index has n entries.
func putEntries(t *testing.T, s *Store, p *Partition, n int64) {
	t.Helper()
	for p.active() == nil || p.active().ix.entries() < n {
		put(t, s, p, text(1, strings.Repeat("x", 300)))
	}
}

// TestCheckpointLeavesFewIndexEntries: a checkpoint opens no index for a handful
// of entries, writes many out at once, and a clean stop leaves none in memory,
// not even of a log that did not change since the checkpoint before.
func TestCheckpointLeavesFewIndexEntries(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.CheckpointBytes, cfg.SegmentBytes = 1<<30, 1<<20
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	for _, step := range []struct{ have, written int64 }{
		{1, 0}, {checkpointEntries - 1, 0}, {checkpointEntries, checkpointEntries},
		{2*checkpointEntries - 1, checkpointEntries}, {2*checkpointEntries + 3, 2*checkpointEntries + 3},
		{2*checkpointEntries + 5, 2*checkpointEntries + 3},
	} {
		putEntries(t, s, p, step.have)
		if err := s.checkpoint(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if n := entriesInFile(t, mem, p); n != int(step.written) {
			t.Errorf("of %d entries %d are in the file after the checkpoint, want %d", step.have, n, step.written)
		}
	}
	all := int(p.active().ix.entries())
	mustClose(t, s)
	if n := entriesInFile(t, mem, p); n != all {
		t.Errorf("a clean stop wrote %d of %d entries", n, all)
	}
}

// TestStopOutOfTimeWritesNoIndex: a stop without time left opens no more indexes,
// and nothing is lost.
func TestStopOutOfTimeWritesNoIndex(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.CheckpointBytes, cfg.SegmentBytes = 1<<30, 1<<20
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	putEntries(t, s, p, 3)
	end := p.Offsets().End
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if n := entriesInFile(t, mem, p); n != 0 {
		t.Errorf("%d entries were written when the time was over", n)
	}
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	if o := s.Partition(ordersID, 0).Offsets(); o.End != end || o.High != end {
		t.Errorf("offsets %+v after the next start, want %d", o, end)
	}
}

// TestKillLosesNoIndexEntries: entries that the checkpoint left in memory are
// made anew from the log.
func TestKillLosesNoIndexEntries(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		mem := vfs.NewMem()
		cfg := smallConfig(mem)
		cfg.Durability, cfg.CheckpointBytes, cfg.SegmentBytes = mode, 1<<30, 1<<20
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		for _, n := range []int64{checkpointEntries, 2*checkpointEntries - 1} {
			putEntries(t, s, p, n)
			if err := s.checkpoint(t.Context(), false); err != nil {
				t.Fatal(err)
			}
		}
		want := make([]indexEntry, p.active().ix.entries())
		allEntries(t, p, want)
		clone := killed(mem)
		mustClose(t, s)
		cfg.FS = clone
		s = mustOpen(t, cfg, orders)
		p = s.Partition(ordersID, 0)
		got := make([]indexEntry, len(want))
		allEntries(t, p, got)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("mode %v: entry %d is %+v after the kill, was %+v", mode, i, got[i], want[i])
			}
		}
		mustClose(t, s)
	}
}

// allEntries reads the index of the active segment, which must have len(out) entries.
func allEntries(t *testing.T, p *Partition, out []indexEntry) {
	t.Helper()
	a := p.active()
	if err := a.ensure(); err != nil {
		t.Fatal(err)
	}
	if n := a.ix.entries(); n != int64(len(out)) {
		t.Fatalf("the index has %d entries, want %d", n, len(out))
	}
	for k := 0; k < len(out); {
		n, err := a.ix.from(k, out[k:])
		if err != nil || n == 0 {
			t.Fatalf("entry %d: %d read, %v", k, n, err)
		}
		k += n
	}
}
