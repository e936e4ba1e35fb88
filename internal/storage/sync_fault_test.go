package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestRule9FailedSync: whatever a checkpoint has to sync, a failure is final: no
// checkpoint tells of what may be lost, and the journal keeps it, so that the start
// after a power cut has it again.
func TestRule9FailedSync(t *testing.T) {
	for _, c := range []struct {
		what       string
		partitions int32
		rule       vfs.Rule
	}{
		{"segment", 3, vfs.Rule{Op: vfs.OpSync, Path: "*.log"}},
		{"index of a sealed segment", 3, vfs.Rule{Op: vfs.OpSync, Path: "*.index"}},
		{"directory of a topic", 3, vfs.Rule{Op: vfs.OpSyncDir, Path: topicDir("data", ordersID)}},
		{"the file system at once", syncAllAbove + 10, vfs.Rule{Op: vfs.OpSyncAll}},
	} {
		t.Run(c.what, func(t *testing.T) {
			mem := vfs.NewMem()
			fs := vfs.Inject(mem)
			cfg := smallConfig(fs)
			cfg.CheckpointBytes, cfg.MaxOpenFiles = 1<<30, 1000
			topic := TopicSpec{ID: ordersID, Name: "orders", Partitions: c.partitions}
			s := mustOpen(t, cfg, topic)
			c.rule.Err, c.rule.Count = syscall.EIO, 1
			fs.Add(c.rule)
			want, err := fillAll(s, int(c.partitions))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.checkpoint(context.Background(), false); !errors.Is(err, ErrStorage) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("the checkpoint: %v", err)
			}
			<-s.Failed()
			if err := s.checkpoint(context.Background(), false); !errors.Is(err, ErrStorage) {
				t.Errorf("another checkpoint: %v", err)
			}
			for seed := range uint64(4) {
				cfg.FS = powerCut(mem, seed)
				again := mustOpen(t, cfg, topic)
				for n, b := range want {
					if got := mustRead(t, again.Partition(ordersID, int32(n)), 0); !bytes.Equal(got, b) {
						t.Fatalf("partition %d has %d bytes, %d were acknowledged", n, len(got), len(b))
					}
				}
				mustClose(t, again)
			}
			_ = s.Close(context.Background())
		})
	}
}

// fillAll appends to all partitions in turn until it fails, and returns what was
// acknowledged to each.
func fillAll(s *Store, partitions int) (acked [][]byte, err error) {
	acked = make([][]byte, partitions)
	for i := range 8 * partitions {
		n := i % partitions
		p := s.Partition(ordersID, int32(n))
		as := []Append{{Partition: p, Batches: text(1, fmt.Sprint(i, strings.Repeat("x", 800)))}}
		lsn, err := s.Commit(context.Background(), as)
		if err == nil {
			err = s.Wait(context.Background(), lsn, Durable)
		}
		if err != nil {
			return acked, err
		}
		acked[n] = append(acked[n], as[0].Batches...)
	}
	return acked, nil
}

// TestFailedSyncOfWhoGivesWay: a file that is synced since it has to be closed for
// others, alone or with many, is told of like any other.
func TestFailedSyncOfWhoGivesWay(t *testing.T) {
	for _, c := range []struct {
		most int // open files: an eighth gives way together
		op   vfs.Op
	}{{4, vfs.OpSync}, {8 * (syncAllAbove + 1), vfs.OpSyncAll}} {
		fs := vfs.Inject(vfs.NewMem())
		var told error
		set := &fileSet{fs: fs, dir: ".", max: c.most, fail: func(err error) { told = errors.Join(told, err) }, crowded: func() {}}
		fs.Add(vfs.Rule{Op: c.op, Count: 1, Err: syscall.EIO})
		var all []*file
		for told == nil && len(all) < 4*c.most {
			f := set.file(fmt.Sprint("f", len(all)))
			if err := errors.Join(f.create(), f.writeAt([]byte("abc"), 0)); err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}
		lost := 0
		for _, f := range all {
			if f.lost.Load() {
				lost++
			}
		}
		if !errors.Is(told, syscall.EIO) || lost == 0 || (lost > syncAllAbove) != (c.op == vfs.OpSyncAll) {
			t.Errorf("%s: told %v, %d files are lost", c.op, told, lost)
		}
	}
}

// TestFailedSyncIsRemembered: who comes to a file after a sync of it failed is
// told, and does not sync it again: the kernel would say that all is well.
func TestFailedSyncIsRemembered(t *testing.T) {
	for _, how := range []struct {
		name string
		fail func(f *file) error
	}{
		{"synced", func(f *file) error { return f.sync() }},
		{"closed", func(f *file) error { return f.close(true) }},
	} {
		fs := vfs.Inject(vfs.NewMem())
		set := &fileSet{fs: fs, max: 10, fail: func(error) {}, crowded: func() {}}
		f := set.file("f")
		if err := errors.Join(f.create(), f.writeAt([]byte("abc"), 0)); err != nil {
			t.Fatal(err)
		}
		fs.Add(vfs.Rule{Op: vfs.OpSync, Count: 1, Err: syscall.EIO})
		if err := how.fail(f); !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: %v", how.name, err)
		}
		if !f.unsynced() {
			t.Errorf("%s: the file counts as synced", how.name)
		}
		syncs := fs.Count(vfs.OpSync)
		for _, b := range []string{"", "def"} {
			if b != "" {
				if err := f.writeAt([]byte(b), 3); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.sync(); !errors.Is(err, errLost) {
				t.Errorf("%s, then synced: %v", how.name, err)
			}
		}
		if fs.Count(vfs.OpSync) != syncs {
			t.Errorf("%s: synced again", how.name)
		}
	}
}
