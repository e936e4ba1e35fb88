package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// TestEachWayIsDurable takes the power away after finish: a way that leaves
// work behind would measure too well.
func TestEachWayIsDurable(t *testing.T) {
	for _, name := range []string{"file", "journal", "reference"} {
		for _, syncAllAbove := range []int{0, 1000} {
			t.Run(fmt.Sprint(name, syncAllAbove), func(t *testing.T) {
				m := vfs.NewMem()
				d := newDisk(m, 0)
				w := open(m, "/", name, 3, settings{journalFile: 1 << 20, syncAllAbove: syncAllAbove}, d)
				check(m.SyncDir("/"))
				batch := bytes.Repeat([]byte{1}, 100_000)
				for n := range 60 {
					w.append(n%3, batch)
				}
				w.finish()
				if d.syncs.Load() == 0 {
					t.Fatal("no sync was counted")
				}
				c := m.CrashClone(rand.New(rand.NewPCG(1, 1)), vfs.CrashOptions{})
				for p := range 3 {
					f, err := c.Open(filepath.Join("/", fmt.Sprintf("p%d", p)))
					check(err)
					got := make([]byte, 20*len(batch))
					if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, bytes.Repeat(batch, 20)) {
						t.Fatalf("partition %d is not as it was written: %v", p, err)
					}
				}
			})
		}
	}
}

// TestFlushesAreShared lets 21 syncs come while a flush runs: they share the
// next one.
func TestFlushesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(vfs.NewMem(), time.Millisecond)
		start := time.Now()
		go d.flush()
		synctest.Wait()
		for range 20 {
			go d.flush()
		}
		synctest.Wait()
		d.flush()
		if took := time.Since(start); took != 2*time.Millisecond {
			t.Fatalf("22 syncs took %v, want two flushes", took)
		}
	})
}
