package storage

import (
	"errors"
	"path/filepath"
	"strings"
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
		u, _ := clone.Usage("data")
		f, err := clone.Create("other data")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Preallocate(0, u.Free), f.Close()); err != nil {
			t.Fatal(err)
		}
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
