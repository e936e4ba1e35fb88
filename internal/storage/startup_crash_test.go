package storage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestStartUpIsRestartable crashes a start after each of its operations, and the
// start that follows at a random one, and so on three times; then one may end.
// However that went, it finds all that was acknowledged and the producers, and
// appends. A kill keeps what was written, a power cut loses what was not synced.
func TestStartUpIsRestartable(t *testing.T) {
	points := 0
	for _, mode := range []Durability{Sync, OS} {
		for _, cut := range []bool{false, true} {
			if mode == OS && cut {
				continue // loses what was acknowledged, by design; TestPowerCutOS looks at it
			}
			w := writeLogs(t, mode, true)
			want := allBefore(t, w.fs, mode)
			crash := func(mem *vfs.Mem, rng *rand.Rand) *vfs.Mem {
				return mem.CrashClone(rng, vfs.CrashOptions{KeepUnsynced: !cut})
			}
			for n, first := range startAndCrash(t, w.fs, mode, 1, crash) {
				rng := rand.New(rand.NewPCG(uint64(n), 3))
				again := first
				for range 3 {
					later := startAndCrash(t, again, mode, 1, crash)
					points += len(later)
					again = later[rng.IntN(len(later))]
				}
				what := fmt.Sprintf("mode %d, power cut %v, operation %d", mode, cut, n)
				if got := allBefore(t, again, mode); !maps.Equal(got[0], want[0]) || !maps.Equal(got[1], want[1]) || !maps.Equal(got[2], want[2]) {
					t.Fatalf("%s: %d, %d, %d records, want %d, %d, %d", what,
						len(got[0]), len(got[1]), len(got[2]), len(want[0]), len(want[1]), len(want[2]))
				}
				appendsGoOn(t, again, mode, w.ends, what)
			}
		}
	}
	t.Logf("%d crashes of a start", points)
}

// startAndCrash starts on a copy of the directory and returns what a crash after
// each operation leaves.
func startAndCrash(t *testing.T, mem *vfs.Mem, mode Durability, seed uint64, crash func(*vfs.Mem, *rand.Rand) *vfs.Mem) []*vfs.Mem {
	t.Helper()
	mem = killed(mem)
	faulty := vfs.Inject(mem)
	var mu sync.Mutex
	var left []*vfs.Mem
	open := true
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		mu.Lock()
		defer mu.Unlock()
		if open {
			left = append(left, crash(mem, rand.New(rand.NewPCG(seed, uint64(n)))))
		}
	}
	cfg := smallConfig(faulty)
	cfg.Durability = mode
	s := mustOpen(t, cfg, orders)
	mu.Lock()
	open = false
	mu.Unlock()
	mustClose(t, s)
	return left
}

// appendsGoOn: the logs end where they did, and take the next batch there, once.
func appendsGoOn(t *testing.T, mem *vfs.Mem, mode Durability, ends [3]int64, what string) {
	t.Helper()
	cfg := smallConfig(killed(mem))
	cfg.Durability = mode
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	for n, end := range ends {
		p := s.Partition(ordersID, int32(n))
		if a := put(t, s, p, text(1, "after")); a.Base != end {
			t.Errorf("%s: partition %d appends at %d, want %d", what, n, a.Base, end)
		}
		if o := p.Offsets(); o.High != end+1 {
			t.Errorf("%s: partition %d: %+v", what, n, o)
		}
	}
}
