package storage

import (
	"slices"
	"syscall"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestTxnIndexNeedsADescriptor: a file that cannot be opened because too many are
// is not taken for a lost one: the reader is told, nothing is made anew, and
// the next read finds the file as it was. One that is lost is made anew.
func TestTxnIndexNeedsADescriptor(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		mem := vfs.NewMem()
		fs := vfs.Inject(mem)
		s := mustOpen(t, smallConfig(fs), orders)
		p := s.Partition(ordersID, 0)
		put(t, s, p, inTxn(1, 0, 0, 1))
		put(t, s, p, marker(1, 0, false))
		mustClose(t, s)
		s = mustOpen(t, smallConfig(fs), orders)
		p = s.Partition(ordersID, 0)
		changes := fs.Count(vfs.OpWrite) + fs.Count(vfs.OpTruncate) + fs.Count(vfs.OpCreate)
		fs.Add(vfs.Rule{Op: vfs.OpOpen, Path: "*.txnindex", Count: 1, Err: errno})
		if got, err := p.Aborted(0, 2); !noDescriptor(err) {
			t.Errorf("%v: %+v, %v", errno, got, err)
		}
		if s.Err() != nil {
			t.Errorf("%v: %v", errno, s.Err())
		}
		if n := fs.Count(vfs.OpWrite) + fs.Count(vfs.OpTruncate) + fs.Count(vfs.OpCreate); n != changes {
			t.Errorf("%v: %d operations changed files", errno, n-changes)
		}
		want := []AbortedTxn{{1, 0, 1, 2}}
		if got, err := p.Aborted(0, 2); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: afterwards %+v, %v", errno, got, err)
		}
		mustClose(t, s)

		name := topicDir("data", ordersID) + "/" + segmentName(0, 0) + ".txnindex"
		if err := mem.Remove(name); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, smallConfig(fs), orders)
		if got, err := s.Partition(ordersID, 0).Aborted(0, 2); err != nil || !slices.Equal(got, want) {
			t.Errorf("a lost file: %+v, %v", got, err)
		}
		mustClose(t, s)
		if _, err := mem.Stat(name); err != nil {
			t.Errorf("a lost file is not made anew: %v", err)
		}
	}
}

// TestTxnIndexThatFoundNoRoom: a checkpoint counts the entries that could not be
// written too, so that a start misses them and makes the file anew.
func TestTxnIndexThatFoundNoRoom(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENOSPC} {
		for _, mode := range []Durability{Sync, OS} {
			mem := vfs.NewMem()
			fs := vfs.Inject(mem)
			cfg := smallConfig(fs)
			cfg.Durability = mode
			s := mustOpen(t, cfg, orders)
			p := s.Partition(ordersID, 0)
			put(t, s, p, inTxn(1, 0, 0, 1))
			put(t, s, p, inTxn(2, 0, 0, 1))
			put(t, s, p, marker(2, 0, false))
			refused := fs.Count(vfs.OpCreate)
			fs.Add(vfs.Rule{Op: vfs.OpCreate, Path: "*.txnindex", Err: errno})
			checkpointed(s)
			if fs.Count(vfs.OpCreate) == refused || s.Err() != nil {
				t.Fatalf("%v: the checkpoint wrote no entries, %v", errno, s.Err())
			}
			after := powerCut(mem, 1)
			fs.Clear()
			mustClose(t, s)
			cfg.FS = after
			s = mustOpen(t, cfg, orders)
			p = s.Partition(ordersID, 0)
			put(t, s, p, marker(1, 0, false))
			got, err := p.Aborted(0, 4)
			if want := []AbortedTxn{{1, 0, 3, 4}, {2, 1, 2, 0}}; err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, mode %d: %+v, want %+v, %v", errno, mode, got, want, err)
			}
			mustClose(t, s)
		}
	}
}

// TestTxnIndexOfManyEntries: one segment with many aborted transactions. Few of them
// are in memory, whether a checkpoint comes or not; they are read page by page,
// and once each, though damage is met only behind some.
func TestTxnIndexOfManyEntries(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	cfg.SegmentBytes, cfg.CheckpointBytes, cfg.JournalFileBytes, cfg.IndexBytes = 1<<20, 1<<20, 1<<20, 1<<20
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	const n = 3*flushAborted + 7
	var want []AbortedTxn
	for i := range int64(n) {
		put(t, s, p, inTxn(1, 0, int32(i), 1))
		put(t, s, p, marker(1, 0, false))
		want = append(want, AbortedTxn{1, 2 * i, 2*i + 1, 2*i + 2})
	}
	a := p.active()
	if a.base != 0 || a.aborts.count() != n || len(a.aborts.tail) >= flushAborted {
		t.Errorf("%d of %d entries are in memory", len(a.aborts.tail), a.aborts.count())
	}
	look := func(from, to int64) {
		t.Helper()
		if got, err := p.Aborted(2*from, 2*to); err != nil || !slices.Equal(got, want[from:to]) {
			t.Fatalf("entries %d to %d: %d, %v", from, to, len(got), err)
		}
	}
	for from := int64(0); from < n; from += 19 {
		look(from, n)
		look(from, min(from+130, n))
	}
	mustClose(t, s)
	f, err := fs.Open(a.aborts.f.name)
	if err == nil {
		_, err = f.WriteAt([]byte{0xff}, 200*abortedLen+5)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p = s.Partition(ordersID, 0)
	look(0, n)
	if all, err := p.active().allAborted(); err != nil || !slices.Equal(all, want) {
		t.Errorf("%d entries after the repair, %v", len(all), err)
	}
}
