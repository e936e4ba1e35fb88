package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/vfs"
)

// faultRun appends until something fails, and returns the batches that were
// acknowledged, by partition, and the failure.
func faultRun(s *Store, rounds int) (acked [3][]byte, err error) {
	for i := range rounds {
		as := []Append{{Partition: s.Partition(ordersID, int32(i%3)), Batches: text(1, strings.Repeat("x", i%300))}}
		if i%5 == 0 {
			as = append(as, Append{Partition: s.Partition(ordersID, int32((i+1)%3)), Batches: text(2, fmt.Sprint("y", i))})
		}
		lsn, err := s.Commit(context.Background(), as)
		if err == nil {
			err = s.Wait(context.Background(), lsn, Durable)
		}
		if err != nil {
			return acked, err
		}
		for _, a := range as {
			_, n := a.Partition.ID()
			acked[n] = append(acked[n], a.Batches...)
		}
	}
	return acked, nil
}

// TestEveryFailure fails each write, sync, create, rename and truncation of a
// workload in turn with EIO. Whoever was told that a batch is durable finds it
// after a restart; after a failure nothing more is accepted.
func TestEveryFailure(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		failures := 0
		for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpRename, vfs.OpSyncDir, vfs.OpTruncate, vfs.OpPreallocate, vfs.OpOpen} {
			step := 1
			if testing.Short() {
				step = 8
			}
			for n := 1; n < 400; n += step + n/12 {
				hit, err := failOnce(mode, op, n, syscall.EIO)
				if err != nil {
					t.Fatalf("mode %d, %s number %d: %v", mode, op, n, err)
				}
				if !hit {
					break
				}
				failures++
			}
		}
		t.Logf("mode %d: %d failures", mode, failures)
	}
}

func failOnce(mode Durability, op vfs.Op, n int, errno error) (hit bool, err error) {
	mem := vfs.NewMem()
	fs := vfs.Inject(mem)
	cfg := smallConfig(fs)
	cfg.Durability, cfg.MaxOpenFiles = mode, 3
	s, err := Open(cfg)
	if err != nil {
		return false, err
	}
	if err := s.Recover([]TopicSpec{orders}); err != nil {
		return false, err
	}
	fs.Add(vfs.Rule{Op: op, From: n, Count: 1, Err: errno})
	before := fs.Count(op)
	acked, failure := faultRun(s, 250)
	hit = fs.Count(op)-before >= n
	if failure != nil {
		if !errors.Is(failure, ErrStorage) || !errors.Is(failure, errno) {
			return hit, fmt.Errorf("the failure does not tell what it is: %w", failure)
		}
		select {
		case <-s.Failed():
		default:
			return hit, errors.New("Failed is not closed")
		}
		if _, err := faultRun(s, 3); !errors.Is(err, ErrStorage) {
			return hit, fmt.Errorf("after the failure: %w", err)
		}
	}
	clone := powerCut(mem, uint64(n))
	if mode == OS {
		clone = killed(mem)
	}
	_ = s.Close(context.Background())
	cfg.FS = clone
	s, err = Open(cfg)
	if err != nil {
		return hit, err
	}
	if err := s.Recover([]TopicSpec{orders}); err != nil {
		return hit, err
	}
	for k, want := range acked {
		got, err := readAll(s.Partition(ordersID, int32(k)), 0, 1000)
		if err != nil {
			return hit, err
		}
		if !bytes.HasPrefix(got, want) {
			return hit, fmt.Errorf("partition %d lost what was acknowledged", k)
		}
	}
	return hit, s.Close(context.Background())
}

// TestRule9FullDisk: a segment write without space is cut back and refused; the
// store lives, reads go on, and appends go on once there is space. Nothing that
// was refused is seen, now or after a restart.
func TestRule9FullDisk(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		for _, short := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, short), func(t *testing.T) {
				mem := vfs.NewMem()
				fs := vfs.Inject(mem)
				cfg := smallConfig(blocks{FS: fs, bytes: leastBlock})
				cfg.Durability = mode
				s := mustOpen(t, cfg, orders)
				p, q := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
				want := text(1, "before")
				put(t, s, p, want)
				put(t, s, q, text(1, "before"))
				second := p.active().log.name
				if mode == OS {
					second = q.active().log.name
				}
				refused := strings.Repeat("refused", leastBlock/7) // goes to a new block
				for _, single := range []bool{true, false} {
					fs.Add(vfs.Rule{Op: vfs.OpWrite, Path: second, Err: syscall.ENOSPC, Short: short},
						vfs.Rule{Op: vfs.OpPreallocate, Path: second, Err: syscall.ENOSPC, Short: short})
					s.space.low.Store(false)
					as := []Append{{Partition: s.Partition(ordersID, map[Durability]int32{Sync: 0, OS: 1}[mode]), Batches: text(3, refused)}}
					if !single {
						as = []Append{{Partition: p, Batches: text(3, refused)}, {Partition: q, Batches: text(3, refused)}}
					}
					if _, err := s.Commit(context.Background(), as); !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrStorage) {
						t.Fatalf("Commit on a full disk: %v", err)
					}
					if _, _, err := commit(s, q, text(1, "x")); !errors.Is(err, ErrNoSpace) {
						t.Errorf("while the reserve is used: %v", err)
					}
					if got := mustRead(t, p, 0); !bytes.Equal(got, want) {
						t.Error("reads do not go on")
					}
					fs.Clear()
				}
				checkSize(t, mem, p)
				checkSize(t, mem, q)
				clone := killed(mem)
				s.space.low.Store(false) // what the ballast does when there is space
				after := text(1, "after")
				if a := put(t, s, p, after); a.Base != 1 {
					t.Errorf("base %d after refusals", a.Base)
				}
				mustClose(t, s)
				cfg.FS = clone
				s = mustOpen(t, cfg, orders)
				defer mustClose(t, s)
				if got := mustRead(t, s.Partition(ordersID, 0), 0); !bytes.Equal(got, want) {
					t.Error("a refused batch is there after a restart")
				}
			})
		}
	}
}

// TestCommitWithinABlockAsksForNoRoom: on a full disk, what fits into the last block of
// each log is committed, and the first commit that does not is refused. So no write behind
// a frame can find the disk full.
func TestCommitWithinABlockAsksForNoRoom(t *testing.T) {
	fs := vfs.Inject(vfs.NewMem())
	cfg := smallConfig(blocks{FS: fs, bytes: leastBlock})
	cfg.Durability = OS
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p, q := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
	put(t, s, p, text(1, "before"))
	put(t, s, q, text(1, "before"))
	fs.Add(vfs.Rule{Op: vfs.OpPreallocate, Path: q.active().log.name, Err: syscall.ENOSPC})
	const block = leastBlock
	for q.active().size.Load() < 2*block {
		s.space.low.Store(false)
		size := q.active().size.Load()
		as := []Append{{Partition: p, Batches: text(1, "x")}, {Partition: q, Batches: text(1, "x")}}
		_, err := s.Commit(t.Context(), as)
		fits := size%block != 0 && size%block+int64(len(as[1].Batches)) <= block
		if fits && err != nil || !fits && !errors.Is(err, ErrNoSpace) {
			t.Fatalf("%d bytes behind %d: %v", len(as[1].Batches), size, err)
		}
		if !fits {
			return
		}
	}
	t.Error("nothing was refused")
}

// blocks is a file system that says how large its blocks are.
type blocks struct {
	vfs.FS
	bytes int64
	err   error
}

func (b blocks) Usage(name string) (u vfs.Usage, err error) {
	if b.FS != nil {
		u, err = b.FS.Usage(name)
	}
	u.Block = b.bytes
	return u, errors.Join(err, b.err)
}

// TestBlockIsNotOverestimated: whatever a file system says.
func TestBlockIsNotOverestimated(t *testing.T) {
	for bytes, want := range map[int64]int64{0: 512, 256: 512, 512: 512, 1024: 1024, 3000: 512, 4096: 4096, 128 << 10: 4096, -1: 512} {
		if got := blockOf(blocks{bytes: bytes}, "data"); got != want {
			t.Errorf("blocks of %d: taken for %d, want %d", bytes, got, want)
		}
	}
	if got := blockOf(blocks{bytes: 4096, err: syscall.EIO}, "data"); got != 512 {
		t.Errorf("a file system that does not tell: %d", got)
	}
}

// TestRule9OwnRecordsGoOn: while the disk is almost full, the broker's own
// bookkeeping is appended, and nobody else's records.
func TestRule9OwnRecordsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := TopicSpec{ID: TopicID{7}, Name: "__consumer_offsets", Partitions: 1, Reserve: true}
		s := mustOpen(t, smallConfig(vfs.NewMem()), orders, own)
		defer mustClose(t, s)
		synctest.Wait() // the reserve was looked at
		s.space.low.Store(true)
		put(t, s, s.Partition(own.ID, 0), text(1, "a member, an offset"))
		put(t, s, s.Metadata(), text(1, "a deletion"))
		if _, _, err := commit(s, s.Partition(ordersID, 0), text(1, "an order")); !errors.Is(err, ErrNoSpace) {
			t.Errorf("an append of a user: %v, want a refusal", err)
		}
	})
}

// checkSize: nothing stands behind the log's end.
func checkSize(t *testing.T, fs vfs.FS, p *Partition) {
	t.Helper()
	seg := p.active()
	if info, err := fs.Stat(seg.log.name); err != nil || info.Size != seg.size.Load() {
		t.Errorf("%s has %d bytes, the log %d (%v)", seg.log.name, info.Size, seg.size.Load(), err)
	}
}

// TestRule9CutBackLater: when not even cutting back works, it is made good
// before the next write.
func TestRule9CutBackLater(t *testing.T) {
	mem := vfs.NewMem()
	fs := vfs.Inject(mem)
	s := mustOpen(t, smallConfig(fs), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, text(1, "x"))
	name := p.active().log.name
	fs.Add(vfs.Rule{Op: vfs.OpWrite, Path: name, Err: syscall.ENOSPC, Short: true}, vfs.Rule{Op: vfs.OpTruncate, Path: name, Err: syscall.ENOSPC})
	if _, _, err := commit(s, p, text(20, "refused")); !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	fs.Clear()
	if info, err := mem.Stat(name); err != nil || info.Size == p.active().size.Load() {
		t.Fatal("the test needs a rest behind the end", err)
	}
	s.space.low.Store(false)
	put(t, s, p, text(1, "y"))
	checkSize(t, mem, p)
}

// TestNoDescriptorRefusesTheAppend: too many open files are no reason to stop.
func TestNoDescriptorRefusesTheAppend(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpOpen} {
		fs := vfs.Inject(vfs.NewMem())
		cfg := smallConfig(fs)
		cfg.Durability, cfg.MaxOpenFiles = OS, 1
		s := mustOpen(t, cfg, orders)
		first := s.Partition(ordersID, 0)
		if op == vfs.OpOpen { // a file that was there, and is closed
			put(t, s, first, text(1, "before"))
			mustClose(t, s)
			s = mustOpen(t, cfg, orders)
			first = s.Partition(ordersID, 0)
		}
		fs.Add(vfs.Rule{Op: op, Path: "*.log", From: 1, Err: syscall.EMFILE})
		_, err := s.Commit(t.Context(), []Append{{Partition: first, Batches: text(1, "refused")}})
		if !errors.Is(err, ErrNoDescriptor) || s.Err() != nil {
			t.Fatalf("%v: %v, store %v; want a refusal of this append only", op, err, s.Err())
		}
		fs.Clear()
		put(t, s, first, text(1, "after"))
		mustClose(t, s)
	}
}
