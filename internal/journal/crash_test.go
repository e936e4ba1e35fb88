package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// world is a model of what a crash must leave, across several lives of the
// process.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	cfg  Config
	mem  *vfs.Mem
	seed uint64

	mu     sync.Mutex
	st     State  // in the newest durable checkpoint
	frames []seen // frames[i] has LSN i+1
	floor  LSN    // a power cut leaves the frames up to here
	j      *Journal
	points int
	cutAt  int      // the operation after which the next life begins
	next   *vfs.Mem // what it left, with
	nextSt State    // the checkpoint of that moment
}

// TestCrashAfterEveryOperation runs lives that end at a random operation, many
// of them inside recovery. After every operation it looks at what a crash there
// would leave: all durable frames, in order, nothing after a gap.
func TestCrashAfterEveryOperation(t *testing.T) {
	total := 0
	for _, mode := range []string{"sync", "os"} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprintf("%s/seed=%d", mode, seed), func(t *testing.T) {
				w := &world{t: t, seed: seed, mem: vfs.NewMem(), rng: rand.New(rand.NewPCG(seed, 1))}
				w.cfg = Config{Dir: testDir, FileBytes: 16 << 10, BufferBytes: 8 << 10, Sync: mode == "sync", Zero: seed%2 == 1}
				for range 25 {
					w.life()
				}
				total += w.points
			})
		}
	}
	if total < 5000 {
		t.Errorf("only %d crash points, want 5,000", total)
	}
	t.Logf("%d crash points", total)
}

// life opens what the last crash left, works on it, and leaves a crash.
func (w *world) life() {
	faulty := vfs.Inject(w.mem)
	faulty.OnOp = w.afterOp
	w.cfg.FS = faulty
	w.mu.Lock()
	w.j, w.next, w.cutAt = nil, nil, 1+w.rng.IntN(60)
	steps, script := w.rng.IntN(40), rand.New(rand.NewPCG(w.rng.Uint64(), 2))
	w.mu.Unlock()

	j, frames, err := replay(w.cfg, w.st)
	w.check(frames, err, w.floor)
	w.mu.Lock()
	w.frames = w.frames[:w.before(w.st)+len(frames)]
	w.mu.Unlock()
	st, err := j.Start()
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.j, w.st = j, st
	w.mu.Unlock()
	for range steps {
		w.step(j, script)
	}
	if err := j.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next != nil {
		w.mem, w.st = w.next, w.nextSt
	} else {
		w.floor = j.Durable()
	}
}

// step is one act of the storage above.
func (w *world) step(j *Journal, rng *rand.Rand) {
	switch rng.IntN(8) {
	case 0:
		pos := j.Next()
		w.mu.Lock()
		w.st = j.StateAt(pos)
		w.mu.Unlock()
		if rng.IntN(4) > 0 {
			j.Release(pos)
		}
	case 1, 2:
		durable(w.t, j, seen{lsn: j.Next().LSN - 1})
	case 3:
		if err := j.WaitWritten(w.t.Context(), j.Next().LSN-1); err != nil {
			w.t.Fatal(err)
		}
	default:
		var entries []Entry
		for range 1 + rng.IntN(3) {
			entries = append(entries, newEntry(rng.Int32N(4), rng.Int64N(1e6), rng.IntN(2500)))
		}
		w.mu.Lock()
		w.frames = append(w.frames, seen{lsn: LSN(len(w.frames) + 1), entries: entries})
		want := LSN(len(w.frames))
		w.mu.Unlock()
		if got := put(w.t, j, entries...); got.lsn != want {
			w.t.Fatalf("appended frame %d, want %d", got.lsn, want)
		}
	}
}

// afterOp takes what crashes at this moment would leave, and looks at it.
func (w *world) afterOp(_ vfs.Op, _ string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.points++
	floor, killFloor := w.floor, w.floor
	if w.j != nil && w.cfg.Sync {
		floor = max(floor, w.j.Durable())
	}
	if w.j != nil {
		killFloor = max(killFloor, LSN(w.j.written.Load()))
	}
	if !w.cfg.Sync {
		floor = 0
	}
	kill := w.rng.IntN(3) == 0
	clone := w.mem.CrashClone(w.rng, vfs.CrashOptions{KeepUnsynced: kill})
	cfg := w.cfg
	cfg.FS = clone
	_, frames, err := replay(cfg, w.st)
	if kill {
		w.check(frames, err, killFloor)
	} else {
		w.check(frames, err, floor)
	}
	if n == w.cutAt {
		w.next, w.nextSt, w.floor = clone, w.st, floor
		if kill && !w.cfg.Sync {
			w.floor = killFloor
		}
	}
}

// before is the number of frames that a checkpoint has made unnecessary.
func (w *world) before(st State) int { return max(1, int(st.Replay.LSN)) - 1 }

// check compares a replay with the model: it must show a run of the frames
// that were appended, at least up to floor.
func (w *world) check(frames []seen, err error, floor LSN) {
	w.t.Helper()
	skip := w.before(w.st)
	end := skip + len(frames)
	switch {
	case err != nil:
		w.t.Errorf("crash point %d: %v", w.points, err)
	case LSN(end) < floor || end > len(w.frames) && len(frames) > 0:
		w.t.Errorf("crash point %d: replay ends at frame %d of %d, at least %d were durable", w.points, end, len(w.frames), floor)
	case len(frames) > 0 && !slices.EqualFunc(frames, w.frames[skip:end], seen.equal):
		w.t.Errorf("crash point %d: replayed %v, want %v", w.points, frames, w.frames[skip:end])
	}
}
