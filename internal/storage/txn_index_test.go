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
