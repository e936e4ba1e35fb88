package journal

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/vfs"
)

// putWritten appends one frame and waits until it is written, in one call.
func putWritten(t testing.TB, j *Journal, entries ...Entry) (seen, error) {
	t.Helper()
	var n int64
	for _, e := range entries {
		n += int64(len(e.Batches))
	}
	if err := j.Reserve(t.Context(), n); err != nil {
		return seen{}, err
	}
	lsn, err := j.AppendWritten(t.Context(), n, entries)
	return seen{lsn, entries}, err
}

// yielding lets others go first whenever it is told something.
type yielding struct{ log }

func (y *yielding) DurableTo(end int64) {
	for range 10 {
		runtime.Gosched()
	}
	y.log.DurableTo(end)
}

// TestCallersWriteInOrder: many callers write each other's frames, and the writer does, in
// a journal without syncs and in one with them. All are there, each was written when its
// caller was told so, and partitions were told in order.
func TestCallersWriteInOrder(t *testing.T) {
	for _, syncs := range []bool{true, false} {
		cfg := testConfig(vfs.NewMem())
		cfg.Sync = syncs
		j, st, _ := start(t, cfg, State{})
		var told yielding
		var mu sync.Mutex
		var all []seen
		var callers sync.WaitGroup
		for c := range int64(8) {
			callers.Go(func() {
				for i := range int64(50) {
					e := newEntry(int32(c), c*50+i, 100)
					write := putWritten
					if i%5 == 4 {
						write = tryPut
					}
					s, err := write(t, j, e)
					if err != nil {
						t.Error(err)
						return
					}
					if i%5 != 4 && LSN(j.written.Load()) < s.lsn {
						t.Errorf("frame %d is not written, only those up to %d", s.lsn, j.written.Load())
					}
					mu.Lock()
					all = append(all, s)
					mu.Unlock()
				}
			})
		}
		for i := range int64(100) {
			e := newEntry(9, i, 10)
			e.Notify = &told
			s := put(t, j, e) // does not wait, so that several are on their way
			mu.Lock()
			all = append(all, s)
			mu.Unlock()
		}
		callers.Wait()
		closed(t, j)
		if !slices.Contains(told.ends, 100) || !slices.IsSorted(told.ends) {
			t.Errorf("a partition was told %v", told.ends)
		}
		slices.SortFunc(all, func(a, b seen) int { return int(a.lsn) - int(b.lsn) })
		_, got, err := replay(cfg, st)
		if err != nil {
			t.Fatal(err)
		}
		checkFrames(t, got, all)
	}
}

// TestCloseWaitsForACallerThatWrites, and for the frames that came behind it meanwhile.
func TestCloseWaitsForACallerThatWrites(t *testing.T) {
	for _, behind := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) { testCloseWaits(t, behind) })
	}
}

func testCloseWaits(t *testing.T, behind int) {
	g := newGate()
	cfg := testConfig(g)
	cfg.Sync = false
	j, st, _ := start(t, cfg, State{})
	first, err := putWritten(t, j, newEntry(0, 0, 10)) // the file is there now
	if err != nil {
		t.Fatal(err)
	}
	frames := append(make([]seen, 0, 4), first)
	g.holdWrites.Store(true)
	var callers sync.WaitGroup
	for i := range 1 + behind {
		frames = append(frames, seen{})
		callers.Go(func() {
			var err error
			if frames[i+1], err = putWritten(t, j, newEntry(0, int64(i+1), 10)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
	if got := j.written.Load(); got != 1 {
		t.Errorf("%d frames are written while the write is held, want 1", got)
	}
	ended := make(chan error)
	go func() { ended <- j.Close() }()
	synctest.Wait()
	j.mu.Lock()
	if j.mu.closed {
		t.Error("Close has not waited")
	}
	j.mu.Unlock()
	g.holdWrites.Store(false)
	close(g.gate)
	callers.Wait()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// The header, the first frame, that of the caller, and what came behind at once.
	if got, want := int(g.write.Load()), 3+min(behind, 1); got != want {
		t.Errorf("%d writes, want %d", got, want)
	}
	_, got, err := replay(cfg, st)
	if err != nil {
		t.Fatal(err)
	}
	checkFrames(t, got, frames)
}

// TestCallerWhoseWriteFails is told, stops the journal for all others, and Close ends.
func TestCallerWhoseWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.Inject(vfs.NewMem())
		g := newGate()
		g.FS = faulty
		cfg := testConfig(g)
		cfg.Sync = false
		j, _, _ := start(t, cfg, State{})
		if _, err := putWritten(t, j, newEntry(0, 0, 10)); err != nil {
			t.Fatal(err)
		}
		faulty.Add(vfs.Rule{Op: vfs.OpWrite, Err: syscall.EIO})
		g.holdWrites.Store(true)
		var callers sync.WaitGroup
		for i := range int64(3) {
			callers.Go(func() {
				if _, err := putWritten(t, j, newEntry(0, i+1, 10)); !errors.Is(err, syscall.EIO) {
					t.Errorf("caller %d: %v, want EIO", i, err)
				}
			})
			synctest.Wait()
		}
		g.holdWrites.Store(false)
		close(g.gate)
		callers.Wait()
		if _, err := putWritten(t, j, newEntry(0, 9, 10)); !errors.Is(err, syscall.EIO) {
			t.Errorf("afterwards: %v, want EIO", err)
		}
		if err := j.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Close: %v, want EIO", err)
		}
	})
}
