package journal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/vfs"
)

// gateFS lets a test hold syncs or writes of journal files.
type gateFS struct {
	vfs.FS
	hold       atomic.Bool   // syncs
	holdWrites atomic.Bool   // writes
	gate       chan struct{} // closed to let what is held go on
	syncs      atomic.Int32
	write      atomic.Int32
}

func (g *gateFS) Create(name string) (vfs.File, error) { return g.wrap(g.FS.Create(name)) }
func (g *gateFS) Open(name string) (vfs.File, error)   { return g.wrap(g.FS.Open(name)) }

func (g *gateFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return gateFile{f, g}, nil
}

type gateFile struct {
	vfs.File
	g *gateFS
}

func (f gateFile) Sync() error {
	f.g.syncs.Add(1)
	if f.g.hold.Load() {
		<-f.g.gate
	}
	return f.File.Sync()
}

func (f gateFile) WriteAt(p []byte, off int64) (int, error) {
	f.g.write.Add(1)
	if f.g.holdWrites.Load() {
		<-f.g.gate
	}
	return f.File.WriteAt(p, off)
}

func newGate() *gateFS { return &gateFS{FS: vfs.NewMem(), gate: make(chan struct{})} }

// heldSync starts a journal whose sync of a first frame is held.
func heldSync(t *testing.T, cfg Config, g *gateFS) *Journal {
	cfg.FS = g
	j, _, _ := start(t, cfg, State{})
	durable(t, j, put(t, j, newEntry(0, 0, 10))) // the file is there now
	g.hold.Store(true)
	put(t, j, newEntry(0, 1, 10))
	synctest.Wait()
	return j
}

func (g *gateFS) release() { g.hold.Store(false); close(g.gate) }

func TestFramesAppendedDuringASyncShareTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		cfg := testConfig(nil)
		cfg.FileBytes = 1 << 20
		j := heldSync(t, cfg, g)
		syncs, writes := g.syncs.Load(), g.write.Load()
		var last seen
		for i := range 64 {
			last = put(t, j, newEntry(0, int64(2+i), 100))
		}
		g.release()
		durable(t, j, last)
		if got := g.syncs.Load() - syncs; got > 2 {
			t.Errorf("64 frames needed %d syncs, want at most 2", got)
		}
		if got := g.write.Load() - writes; got > 2 {
			t.Errorf("64 frames needed %d writes, want at most 2", got)
		}
		closed(t, j)
	})
}

func TestTwoBuffersWriteDoesNotWaitForASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		j := heldSync(t, testConfig(nil), g)
		for i := range 5 {
			s := put(t, j, newEntry(0, int64(2+i), 100))
			if err := j.WaitWritten(t.Context(), s.lsn); err != nil {
				t.Fatal(err)
			}
		}
		if got := j.Durable(); got != 1 {
			t.Errorf("durable is %d while the sync is held, want 1", got)
		}
		g.release()
		closed(t, j)
	})
}

// Writing ahead of a sync that hangs is bounded, and with it the memory.
func TestASyncThatHangsStopsReservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		cfg := testConfig(nil)
		cfg.FileBytes, cfg.BufferBytes = 1<<20, 8<<10
		j := heldSync(t, cfg, g)
		var appended atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 100 {
				put(t, j, newEntry(0, int64(2+i), 1000))
				appended.Add(1000)
			}
		}()
		synctest.Wait()
		if got := appended.Load(); got < 2*cfg.BufferBytes || got > 7*cfg.BufferBytes {
			t.Errorf("%d bytes were taken behind a hanging sync, with a buffer of %d", got, cfg.BufferBytes)
		}
		g.release()
		<-done
		closed(t, j)
	})
}

// log records the order of what happens.
type log struct {
	sync.Mutex
	ends []int64
}

func (l *log) DurableTo(end int64) {
	l.Lock()
	defer l.Unlock()
	l.ends = append(l.ends, end)
}

func TestNotifiersAreToldInOrderBeforeWaiters(t *testing.T) {
	for _, syncs := range []bool{true, false} {
		cfg := testConfig(vfs.NewMem())
		cfg.Sync = syncs
		j, _, _ := start(t, cfg, State{})
		var a, b log
		for i := range int64(50) {
			ea, eb := newEntry(0, i, 50), newEntry(1, i, 50)
			ea.Notify, eb.Notify = &a, &b
			s := put(t, j, ea, eb)
			if i%5 != 0 {
				continue
			}
			durable(t, j, s)
			for _, l := range []*log{&a, &b} {
				l.Lock()
				if !slices.Contains(l.ends, ea.End) || !slices.IsSorted(l.ends) {
					t.Errorf("frame %d is durable, but its partition was told %v", s.lsn, l.ends)
				}
				l.Unlock()
			}
		}
		closed(t, j)
		if !slices.Contains(a.ends, 50) || !slices.IsSorted(b.ends) {
			t.Errorf("Close left partitions at %v and %v", a.ends, b.ends)
		}
	}
}

func TestOnlyWaitersWhoseFrameIsDurableWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		j := heldSync(t, testConfig(nil), g)
		var woken atomic.Int32
		var group sync.WaitGroup
		for _, lsn := range []LSN{5, 2, 4, 2, 3} {
			group.Go(func() {
				if err := j.WaitDurable(t.Context(), lsn); err != nil {
					t.Error(err)
				}
				woken.Add(1)
			})
		}
		synctest.Wait()
		g.release()
		synctest.Wait()
		if got := woken.Load(); got != 2 {
			t.Errorf("%d waiters woke at frame 2, want 2", got)
		}
		for i := range 3 {
			put(t, j, newEntry(0, int64(i+2), 10))
		}
		group.Wait()
		closed(t, j)
	})
}

func TestWaitEndsWithItsContextAndWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _, _ := start(t, testConfig(vfs.NewMem()), State{})
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		go func() { errs <- j.WaitDurable(ctx, 1) }()
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("WaitDurable ended with %v, want Canceled", err)
		}
		go func() { errs <- j.WaitWritten(t.Context(), 1) }()
		synctest.Wait()
		closed(t, j)
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("WaitWritten ended with %v, want ErrClosed", err)
		}
		if err := j.WaitDurable(t.Context(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("WaitDurable after Close: %v, want ErrClosed", err)
		}
		if _, err := j.Append(0, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Append after Close: %v, want ErrClosed", err)
		}
		if err := j.WaitDurable(t.Context(), 0); err != nil {
			t.Errorf("waiting for LSN 0: %v", err)
		}
	})
}

func TestReserveIsFairAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(vfs.NewMem())
		cfg.BufferBytes = 1000
		j, _, _ := start(t, cfg, State{})
		reserve := func(ctx context.Context, n int64) chan error {
			done := make(chan error, 1)
			go func() { done <- j.Reserve(ctx, n) }()
			synctest.Wait()
			return done
		}
		if err := <-reserve(t.Context(), 5000); err != nil { // into the empty buffer
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		large := reserve(ctx, 900)
		small := reserve(t.Context(), 10)
		j.Cancel(5000)
		if err := <-large; err != nil {
			t.Fatal(err)
		}
		second := reserve(ctx, 900)
		select {
		case <-second:
			t.Fatal("1,000 bytes of buffer took two frames of 900")
		default:
		}
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Fatalf("Reserve ended with %v, want Canceled", err)
		}
		j.Cancel(900)
		if err := <-small; err != nil {
			t.Fatal(err)
		}
		j.Cancel(10)
		last := reserve(t.Context(), 5000)
		if err := <-last; err != nil {
			t.Fatal(err)
		}
		waiting := reserve(t.Context(), 1)
		closed(t, j)
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Fatalf("Reserve at Close: %v, want ErrClosed", err)
		}
	})
}

func TestReserveDoesNotOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(vfs.NewMem())
		cfg.BufferBytes = 1000
		j, _, _ := start(t, cfg, State{})
		if err := j.Reserve(t.Context(), 500); err != nil {
			t.Fatal(err)
		}
		order := make(chan int64, 2)
		for _, n := range []int64{800, 10} {
			go func() {
				if err := j.Reserve(t.Context(), n); err != nil {
					t.Error(err)
				}
				order <- n
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Errorf("a frame of %d bytes overtook one that waits", <-order)
		}
		j.Cancel(500)
		if first, second := <-order, <-order; first+second != 810 {
			t.Errorf("got %d and %d", first, second)
		}
		closed(t, j)
	})
}

func TestAppendRefusesWhatCannotBeAFrame(t *testing.T) {
	cfg := testConfig(vfs.NewMem())
	cfg.BufferBytes = 1 << 20
	j, st, _ := start(t, cfg, State{})
	if _, err := tryPut(t, j, newEntry(0, 0, int(j.MaxFrame()))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error is %v, want ErrTooLarge", err)
	}
	for _, cut := range []int{1, 30, 70} {
		e := newEntry(0, 0, 100)
		e.Batches = e.Batches[:len(e.Batches)-cut]
		if _, err := tryPut(t, j, e); err == nil {
			t.Errorf("a batch that lacks %d bytes was taken", cut)
		}
	}
	largest := newEntry(0, 0, 100)
	over := int(j.MaxFrame() - FrameBytes(int64(len(largest.Batches)), 1))
	largest = newEntry(0, 0, 100+over-1) // the record's length field grows by a byte, too
	want := []seen{put(t, j, largest), put(t, j, newEntry(0, 1, 10))}
	if want[1].lsn != 2 {
		t.Errorf("refused frames took LSNs: the second frame is %d", want[1].lsn)
	}
	closed(t, j)
	_, got, err := replay(cfg, st)
	if err != nil {
		t.Fatal(err)
	}
	checkFrames(t, got, want)
	if free := j.mu.room; free != cfg.BufferBytes {
		t.Errorf("%d bytes of %d are free at the end", free, cfg.BufferBytes)
	}
}

// Each write, sync, create and rename that fails stops the journal for good.
func TestAnyFailureStopsTheJournal(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpPreallocate, vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename} {
		t.Run(op.String(), func(t *testing.T) {
			faulty := vfs.Inject(vfs.NewMem())
			j, st, _ := start(t, testConfig(faulty), State{})
			if op == vfs.OpRename { // there must be a spare to rename
				for i := range 12 {
					durable(t, j, put(t, j, newEntry(0, int64(i), 3000)))
				}
				closed(t, j)
				st.Replay = j.Next()
				j, st, _ = start(t, testConfig(faulty), st)
			}
			synced := faulty.Count(vfs.OpSync)
			faulty.Add(vfs.Rule{Op: op, Err: syscall.EIO, Path: ruleFor(op)})
			s := put(t, j, newEntry(0, 0, 100))
			if err := j.WaitDurable(t.Context(), s.lsn); !errors.Is(err, syscall.EIO) {
				t.Errorf("WaitDurable: %v, want EIO", err)
			}
			<-j.Failed()
			if err := j.Err(); !errors.Is(err, syscall.EIO) {
				t.Errorf("Err: %v, want EIO", err)
			}
			if lsn, err := j.Append(0, nil); lsn != 0 || !errors.Is(err, syscall.EIO) {
				t.Errorf("Append: %d, %v, want EIO", lsn, err)
			}
			if err := j.Reserve(t.Context(), 1); !errors.Is(err, syscall.EIO) {
				t.Errorf("Reserve: %v, want EIO", err)
			}
			if err := j.Close(); !errors.Is(err, syscall.EIO) {
				t.Errorf("Close: %v, want EIO", err)
			}
			if got := faulty.Count(vfs.OpSync) - synced; got > 2 {
				t.Errorf("%d syncs were tried", got)
			}
			faulty.Clear()
			if _, _, err := replay(testConfig(faulty), st); err != nil {
				t.Errorf("replay after the failure: %v", err)
			}
		})
	}
}

// ruleFor keeps SyncDir's rule to the journal's directory and others to files.
func ruleFor(op vfs.Op) string {
	if op == vfs.OpSyncDir {
		return testDir
	}
	return strings.Join([]string{testDir, "*.journal"}, "/")
}

func TestAppendDoesNotAllocate(t *testing.T) {
	for _, syncs := range []bool{true, false} {
		cfg := testConfig(vfs.NewMem())
		cfg.FileBytes, cfg.Sync = 64<<20, syncs
		j, _, _ := start(t, cfg, State{})
		entries := []Entry{newEntry(0, 0, 1000)}
		entries[0].Notify = new(silent)
		n := int64(len(entries[0].Batches))
		j.cfg.FS, j.mu.current = nil, openFile{File: nowhere{}, seq: j.Next().File}
		ctx := t.Context()
		allocs := testing.AllocsPerRun(2000, func() {
			if err := j.Reserve(ctx, n); err != nil {
				t.Fatal(err)
			}
			lsn, err := j.Append(n, entries)
			if err == nil {
				err = j.WaitDurable(ctx, lsn)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0 {
			t.Errorf("a frame allocates %v times, want 0 (sync %v)", allocs, syncs)
		}
		closed(t, j)
	}
}

type silent struct{}

func (*silent) DurableTo(int64) {}

// nowhere is a file that keeps nothing.
type nowhere struct{ vfs.File }

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Sync() error                            { return nil }
func (nowhere) Close() error                           { return nil }
