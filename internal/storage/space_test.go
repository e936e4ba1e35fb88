package storage

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// TestRule9Ballast fills a small disk: appends are refused while the reserve is
// used, the metadata log still takes records, checkpoints go on, and once there
// is space the reserve stands again and appends are accepted.
func TestRule9Ballast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(4 << 20)
		cfg := smallConfig(mem)
		cfg.BallastBytes, cfg.SegmentBytes = 256<<10, 64<<10
		s := mustOpen(t, cfg, orders)
		defer mustClose(t, s)
		synctest.Wait()
		ballast := filepath.Join("data", "ballast")
		if info, err := mem.Stat(ballast); err != nil || info.Size != 256<<10 {
			t.Fatalf("the reserve: %+v, %v", info, err)
		}
		filler, err := mem.Create("other data")
		if err != nil {
			t.Fatal(err)
		}
		u, _ := mem.Usage("data")
		if err := filler.Preallocate(0, u.Free-32<<10); err != nil {
			t.Fatal(err)
		}
		p := s.Partition(ordersID, 0)
		refused := error(nil)
		for range 1000 {
			if _, _, refused = commit(s, p, text(1, strings.Repeat("x", 500))); refused != nil {
				break
			}
		}
		if !errors.Is(refused, ErrNoSpace) {
			t.Fatalf("on the full disk: %v", refused)
		}
		if _, err := mem.Stat(ballast); err == nil {
			t.Error("the reserve was not given back")
		}
		put(t, s, s.Metadata(), text(1, "delete something"))
		time.Sleep(3 * retrySpace)
		if _, _, err := commit(s, p, text(1, "x")); !errors.Is(err, ErrNoSpace) {
			t.Errorf("still full: %v", err)
		}
		if err := filler.Truncate(0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * retrySpace)
		put(t, s, p, text(1, "x"))
		if info, err := mem.Stat(ballast); err != nil || info.Size != 256<<10 {
			t.Errorf("the reserve does not stand again: %+v, %v", info, err)
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestRule9StartOnAFullDisk serves what is there.
func TestRule9StartOnAFullDisk(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		mem := vfs.NewMem()
		mem.SetCapacity(4 << 20)
		cfg := smallConfig(mem)
		if reserve {
			cfg.BallastBytes = 64 << 10
		}
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		put(t, s, p, text(1, "x"))
		if reserve {
			for range 1000 {
				if _, err := mem.Stat(filepath.Join("data", "ballast")); err == nil {
					break
				}
				put(t, s, p, text(1, "until the reserve stands"))
			}
		}
		high := p.Offsets().High
		clone := killed(mem)
		mustClose(t, s)
		fillDisk(t, clone)
		cfg.FS = clone
		s = mustOpen(t, cfg, orders)
		if got := s.Partition(ordersID, 0).Offsets(); got.High != high {
			t.Errorf("high watermark %d, want %d", got.High, high)
		}
		mustRead(t, s.Partition(ordersID, 0), 0)
		if _, _, err := commit(s, s.Partition(ordersID, 0), text(1, "x")); !reserve && !errors.Is(err, ErrNoSpace) {
			t.Errorf("append on the full disk: %v", err)
		}
		mustClose(t, s)
	}
}

// TestRule9RedoOnAFullDisk: a start that has to write segments anew after a power
// cut, and finds neither space nor a reserve, takes the journal's spare files.
func TestRule9RedoOnAFullDisk(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { redoOnAFullDisk(t, seed) })
	}
}

func redoOnAFullDisk(t *testing.T, seed uint64) {
	mem := vfs.NewMem()
	mem.SetCapacity(4 << 20)
	cfg := smallConfig(mem)
	cfg.CheckpointBytes, cfg.MaxOpenFiles = 64<<10, 100
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	for range 60 { // over several journal files, of which spares are kept
		put(t, s, p, text(1, strings.Repeat("x", 3000)))
	}
	synctest.Wait() // files that a checkpoint released are spares by now
	high := p.Offsets().High
	clone := powerCut(mem, seed)
	mustClose(t, s)
	fillDisk(t, clone)
	cfg.FS = clone
	s = mustOpen(t, cfg, orders)
	if got := s.Partition(ordersID, 0).Offsets(); got.High != high {
		t.Errorf("seed %d: high watermark %d, want %d", seed, got.High, high)
	}
	mustRead(t, s.Partition(ordersID, 0), 0)
	mustClose(t, s)
}

// TestRule9ResumesByItself: a start on a full disk serves reads, tells why it is
// not writable, and accepts appends within 5 s after space returns, in both modes
// and without another start. What was there before is there.
func TestRule9ResumesByItself(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		synctest.Test(t, func(t *testing.T) {
			mem := vfs.NewMem()
			mem.SetCapacity(4 << 20)
			cfg := smallConfig(mem)
			cfg.Durability = mode
			s := mustOpen(t, cfg, orders)
			first := text(1, "before")
			put(t, s, s.Partition(ordersID, 0), first)
			clone := killed(mem)
			mustClose(t, s)
			u, err := clone.Usage("data")
			if err != nil {
				t.Fatal(err)
			}
			filler, err := clone.Create("other data")
			if err != nil {
				t.Fatal(err)
			}
			if err := filler.Preallocate(0, u.Free); err != nil {
				t.Fatal(err)
			}
			cfg.FS = clone
			s = mustOpen(t, cfg, orders)
			p := s.Partition(ordersID, 0)
			time.Sleep(time.Minute)
			if _, _, err := commit(s, p, text(1, "x")); !errors.Is(err, ErrNoSpace) {
				t.Fatalf("append on the full disk: %v", err)
			}
			if !errors.Is(s.Writable(), ErrNoSpace) || s.ReserveStands() {
				t.Errorf("the full disk is not told: %v", s.Writable())
			}
			if err := errors.Join(filler.Truncate(0), filler.Close()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			if s.Writable() != nil || !s.ReserveStands() {
				t.Fatalf("5 s after space returned: %v", s.Writable())
			}
			put(t, s, p, text(1, "after"))
			mustClose(t, s)
			s = mustOpen(t, cfg, orders)
			if got := s.Partition(ordersID, 0).Offsets().End; got != 2 {
				t.Errorf("the log ends at %d, want 2", got)
			}
			mustClose(t, s)
		})
	}
}

// TestRule9JournalWithoutRoom: when the journal's next file does not fit, the
// reserve is given back for it; when that does not help either, appends wait, the
// process lives, reads go on, and what waited is durable once there is space.
func TestRule9JournalWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		faulty := vfs.Inject(mem)
		cfg := smallConfig(faulty)
		cfg.CheckpointBytes = 1 << 30 // no file is used again
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		put(t, s, p, text(1, "x"))
		faulty.Add(vfs.Rule{Op: vfs.OpPreallocate, Path: "*/journal/*", Err: syscall.ENOSPC})
		var lsn LSN
		for s.Writable() == nil {
			var err error
			if _, lsn, err = commit(s, p, text(1, strings.Repeat("y", 2000))); err != nil {
				break
			}
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Wait(ctx, lsn, Durable); !errors.Is(err, context.DeadlineExceeded) || s.Err() != nil {
			t.Fatalf("without room: %v, %v", err, s.Err())
		}
		mustRead(t, p, 0)
		faulty.Clear()
		time.Sleep(5 * time.Second)
		if err := s.Wait(t.Context(), lsn, Durable); err != nil || s.Writable() != nil {
			t.Errorf("with room: %v, %v", err, s.Writable())
		}
		mustClose(t, s)
	})
}

// fillDisk gives all space that is left to files of somebody else.
func fillDisk(t *testing.T, fs *vfs.Mem) {
	t.Helper()
	u, _ := fs.Usage("data")
	f, err := fs.Create("other data")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Preallocate(0, u.Free), f.Close()); err != nil {
		t.Fatal(err)
	}
}
