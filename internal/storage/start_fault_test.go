package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// startFaultRun appends and moves the start until something fails.
func startFaultRun(s *Store) (told int64, acked []byte, err error) {
	p := s.Partition(ordersID, 0)
	for i := range 60 {
		as := []Append{{Partition: p, Batches: text(1+i%3, strings.Repeat("x", 700))}}
		lsn, err := s.Commit(context.Background(), as)
		if err == nil {
			err = s.Wait(context.Background(), lsn, Durable)
		}
		if err != nil {
			return told, acked, err
		}
		acked = append(acked, as[0].Batches...)
		if i%7 == 6 {
			told = p.Offsets().High - int64(i%2)
			if _, err := p.SetStart(told); err != nil {
				return told, acked, err
			}
		}
	}
	return told, acked, nil
}

// TestLogStartEveryFailure fails each operation in turn. A full disk and a lack of
// descriptors never stop a start from moving, other failures end the store; the
// next start finds the log start that was told and all that was acknowledged.
func TestLogStartEveryFailure(t *testing.T) {
	for _, errno := range []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE} {
		failures := 0
		for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpRename, vfs.OpSyncDir, vfs.OpTruncate, vfs.OpOpen, vfs.OpRemove} {
			if errno == syscall.EMFILE && op != vfs.OpOpen && op != vfs.OpCreate {
				continue
			}
			for n := 1; n < 200; n += 1 + n/20 {
				hit, err := startFailOnce(op, n, errno)
				if err != nil {
					t.Fatalf("%v, %s number %d: %v", errno, op, n, err)
				}
				if !hit {
					break
				}
				failures++
			}
		}
		t.Logf("%v: %d failures", errno, failures)
	}
}

func startFailOnce(op vfs.Op, n int, errno error) (hit bool, err error) {
	mem := vfs.NewMem()
	fs := vfs.Inject(mem)
	cfg := smallConfig(fs)
	cfg.MaxOpenFiles = 3
	s, err := Open(cfg)
	if err != nil {
		return false, err
	}
	if err := s.Recover([]TopicSpec{orders}); err != nil {
		return false, err
	}
	before := fs.Count(op)
	fs.Add(vfs.Rule{Op: op, From: n, Count: 1, Err: errno})
	told, acked, failure := startFaultRun(s)
	hit = fs.Count(op)-before >= n
	if failure != nil && !errors.Is(failure, ErrStorage) && !errors.Is(failure, ErrNoSpace) && !errors.Is(failure, ErrNoDescriptor) {
		return hit, failure
	}
	clone := powerCut(mem, uint64(n))
	_ = s.Close(context.Background())
	cfg.FS = clone
	if s, err = Open(cfg); err != nil {
		return hit, err
	}
	spec := orders
	spec.Starts = []int64{told}
	if err := s.Recover([]TopicSpec{spec}); err != nil {
		return hit, err
	}
	p := s.Partition(ordersID, 0)
	if o := p.Offsets(); o.Start != told {
		return hit, fmt.Errorf("offsets %+v, the start was moved to %d", o, told)
	}
	got, err := readAll(p, told, 1000)
	if err != nil {
		return hit, err
	}
	for len(acked) > 0 {
		b, rest, err := batch.Split(acked)
		if err != nil {
			return hit, err
		}
		if b.NextOffset() > told {
			break
		}
		acked = rest
	}
	if !bytes.HasPrefix(got, acked) {
		return hit, errors.New("what was acknowledged is lost")
	}
	return hit, s.Close(context.Background())
}

// TestLogStartMovesOnAFullDisk: deleting is how space comes back.
func TestLogStartMovesOnAFullDisk(t *testing.T) {
	s, _, p := segmented(t, vfs.NewMem())
	defer mustClose(t, s)
	s.space.low.Store(true)
	segments, end := len(p.state.segments), p.Offsets().End
	if n, err := p.SetStart(end); err != nil || n == 0 || p.Offsets().Start != end || len(p.state.segments) >= segments {
		t.Errorf("%d bytes, %v, %+v, %d segments", n, err, p.Offsets(), len(p.state.segments))
	}
}

// TestLogStartUnderReaders: readers and writers go on while the start moves; each
// read gives what was appended or says that it is gone.
func TestLogStartUnderReaders(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders) // files go at once
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			at := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				b, err := readAll(p, at, 2000)
				switch {
				case errors.Is(err, ErrOffsetOutOfRange):
					at = p.Offsets().Start
					continue
				case err != nil:
					t.Error(err)
					return
				}
				for len(b) > 0 {
					one, rest, err := batch.Split(b)
					if err != nil || one.NextOffset() <= at {
						t.Errorf("read from %d: batch at %d, %v", at, one.BaseOffset(), err)
						return
					}
					at, b = one.NextOffset(), rest
				}
				if _, _, _, err := p.MaxTimestamp(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 400 {
		put(t, s, p, text(1, strings.Repeat("x", 500)))
		if i%10 == 9 {
			if _, err := p.SetStart(p.Offsets().High - int64(i%17%3)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	all.Wait()
}

// TestRule9DeletingMakesSpace: a disk that the log filled takes appends again,
// within five seconds, once the log start moved.
func TestRule9DeletingMakesSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(4 << 20)
		cfg := smallConfig(mem)
		cfg.BallastBytes, cfg.SegmentBytes = 256<<10, 64<<10
		s := mustOpen(t, cfg, orders)
		defer mustClose(t, s)
		synctest.Wait()
		p := s.Partition(ordersID, 0)
		refused := error(nil)
		for i := 0; refused == nil; i++ {
			_, _, refused = commit(s, p, text(1, strings.Repeat("x", 2000)))
			if i%100 == 0 {
				synctest.Wait() // for checkpoints
			}
		}
		if !errors.Is(refused, ErrNoSpace) {
			t.Fatalf("on the full disk: %v", refused)
		}
		time.Sleep(time.Minute)
		if _, _, err := commit(s, p, text(1, "x")); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("a minute later: %v", err)
		}
		if n, err := p.SetStart(p.Offsets().High); n == 0 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		time.Sleep(5 * time.Second)
		put(t, s, p, text(1, "x"))
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}
