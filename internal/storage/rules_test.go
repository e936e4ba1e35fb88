package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

func commit(s *Store, p *Partition, b []byte) (Append, LSN, error) {
	as := []Append{{Partition: p, Batches: b}}
	lsn, err := s.Commit(context.Background(), as)
	return as[0], lsn, err
}

// killed is the file system as a killed process leaves it.
func killed(fs *vfs.Mem) *vfs.Mem {
	return fs.CrashClone(rand.New(rand.NewPCG(1, 2)), vfs.CrashOptions{KeepUnsynced: true})
}

// powerCut keeps what was synced, and of the rest what seed says.
func powerCut(fs *vfs.Mem, seed uint64) *vfs.Mem {
	return fs.CrashClone(rand.New(rand.NewPCG(seed, 2)), vfs.CrashOptions{})
}

// TestRule1Order: many goroutines commit to overlapping partitions, in both
// modes, without a deadlock; each partition has every batch once, in the order
// of the offsets that Commit gave, and after a kill too.
func TestRule1Order(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		mem := vfs.NewMem()
		cfg := smallConfig(mem)
		cfg.Durability = mode
		s := mustOpen(t, cfg, orders)
		var mu sync.Mutex
		at := [3]map[int64]string{{}, {}, {}}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				rng := rand.New(rand.NewPCG(uint64(g), 0))
				for i := range 60 {
					var as []Append
					for _, n := range rng.Perm(3)[:1+rng.IntN(3)] {
						as = append(as, Append{Partition: s.Partition(ordersID, int32(n)), Batches: text(1, fmt.Sprint(g, "-", i))})
					}
					lsn, err := s.Commit(context.Background(), as)
					if err == nil {
						err = s.Wait(context.Background(), lsn, Durable)
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, a := range as {
						_, n := a.Partition.ID()
						at[n][a.Base] = fmt.Sprint(g, "-", i, "/0")
					}
					mu.Unlock()
				}
			}()
		}
		wg.Wait()
		clone := killed(mem)
		mustClose(t, s)
		cfg.FS = clone
		s = mustOpen(t, cfg, orders)
		for n, want := range at {
			b := mustRead(t, s.Partition(ordersID, int32(n)), 0)
			for k := range int64(len(want)) {
				one, rest, err := batch.Split(b)
				if err != nil {
					t.Fatal(err)
				}
				for r, err := range one.Records(1000) {
					if err != nil || r.Offset != k || string(r.Value) != want[k] {
						t.Fatalf("partition %d: %q at %d, want %q (%v)", n, r.Value, r.Offset, want[k], err)
					}
				}
				b = rest
			}
			if len(b) > 0 {
				t.Fatalf("partition %d has more than was committed", n)
			}
		}
		mustClose(t, s)
	}
}

// TestRule3LastLSN: whoever reads a state that is not durable can wait for it.
func TestRule3LastLSN(t *testing.T) {
	fs := newHeldSync()
	s := mustOpen(t, smallConfig(fs), orders)
	p := s.Partition(ordersID, 0)
	put(t, s, s.Partition(ordersID, 1), text(1, "so that the journal has a file"))
	b := produced(1, 0, 0, 1)
	fs.hold()
	_, first, err := commit(s, p, bytes.Clone(b))
	if err != nil || first == 0 {
		t.Fatal(first, err)
	}
	if p.LastLSN() != first {
		t.Errorf("LastLSN %d after LSN %d", p.LastLSN(), first)
	}
	a, again, err := commit(s, p, bytes.Clone(b))
	if err != nil || !a.Duplicate || again != first {
		t.Errorf("duplicate of a batch that is not durable: LSN %d, want %d (%+v, %v)", again, first, a, err)
	}
	if err := s.Wait(context.Background(), first, Written); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Wait(ctx, first, Durable); !errors.Is(err, context.Canceled) {
		t.Errorf("durable while the sync is held: %v", err)
	}
	fs.free()
	if err := s.Wait(context.Background(), first, Durable); err != nil {
		t.Error(err)
	}
	mustClose(t, s)
}

// TestRule6Checkpoint: the journal is released by checkpoints while appends go
// on, and a clean stop leaves nothing to redo and touches no partition file at
// the next start.
func TestRule6Checkpoint(t *testing.T) {
	fs := vfs.Inject(vfs.NewMem())
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	for range 2000 {
		put(t, s, s.Partition(ordersID, 0), text(1, strings.Repeat("x", 200)))
	}
	if live := s.j.Live(); live > 8*cfg.CheckpointBytes+2*cfg.JournalFileBytes {
		t.Errorf("%d bytes of journal are live, a checkpoint comes each %d", live, cfg.CheckpointBytes)
	}
	mustClose(t, s)
	fs.Add(vfs.Rule{Path: "*.log", Err: errors.New("a partition file was touched")},
		vfs.Rule{Path: "*.index", Err: errors.New("an index was touched")})
	s = mustOpen(t, cfg, orders)
	fs.Clear()
	if o := s.Partition(ordersID, 0).Offsets(); o.End != 2000 || o.High != 2000 {
		t.Errorf("offsets %+v", o)
	}
	if e := s.Metadata().LeaderEpoch(); e != 0 {
		t.Errorf("leader epoch %d after a clean stop", e)
	}
	mustClose(t, s)
}

// TestRule6RecoveryCuts: after a kill each segment is cut to its recovery point
// and the journal redone; what was written behind the point and never framed is gone.
func TestRule6RecoveryCuts(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.CheckpointBytes = 1 << 30
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	put(t, s, p, text(1, "in the checkpoint"))
	if err := s.checkpoint(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	put(t, s, p, text(1, "framed"))
	name := p.active().log.name
	size := p.active().size.Load()
	clone := killed(mem)
	mustClose(t, s)
	f, err := clone.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	ghost := text(1, "never framed")
	ghost.SetBaseOffset(2)
	if _, err := f.WriteAt(ghost, size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.FS = clone
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	if info, err := clone.Stat(name); err != nil || info.Size != size {
		t.Errorf("the file has %d bytes, want %d (%v)", info.Size, size, err)
	}
	if o := s.Partition(ordersID, 0).Offsets(); o.End != 2 {
		t.Errorf("offsets %+v", o)
	}
}

// TestRule6RedoneIsSynced: what a start finds in the segments as the journal
// tells it is in the page cache only; the next checkpoint syncs it.
func TestRule6RedoneIsSynced(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.CheckpointBytes = 1 << 30
	s := mustOpen(t, cfg, orders)
	for range 60 {
		put(t, s, s.Partition(ordersID, 0), text(1, strings.Repeat("x", 200)))
	}
	clone := killed(mem)
	mustClose(t, s)
	cfg.FS = clone
	s = mustOpen(t, cfg, orders)
	if err := s.checkpoint(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(8) {
		cfg.FS = powerCut(clone, seed)
		s2 := mustOpen(t, cfg, orders)
		if o := s2.Partition(ordersID, 0).Offsets(); o.High != 60 {
			t.Errorf("%+v after a power cut", o)
		}
		mustRead(t, s2.Partition(ordersID, 0), 0)
		mustClose(t, s2)
	}
	mustClose(t, s)
}

// TestRule6RedoCorrectsSegments: behind the recovery point the journal is right,
// whatever the segment holds.
func TestRule6RedoCorrectsSegments(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	s := mustOpen(t, cfg, orders)
	want := text(3, "right")
	put(t, s, s.Partition(ordersID, 0), want)
	name := s.Partition(ordersID, 0).active().log.name
	clone := killed(mem)
	mustClose(t, s)
	flip(t, clone, name, 70)
	cfg.FS = clone
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	if got := mustRead(t, s.Partition(ordersID, 0), 0); !bytes.Equal(got, want) {
		t.Error("the segment's damage was taken over")
	}
}

// TestRule6CheckpointWaitsForFrames: a checkpoint that has taken in an append
// is not written before the frame is durable; otherwise a power cut in between
// would keep one half of a commit to two partitions.
func TestRule6CheckpointWaitsForFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newHeldSync()
		cfg := smallConfig(fs)
		cfg.CheckpointBytes = 1 << 30
		s := mustOpen(t, cfg, orders)
		put(t, s, s.Partition(ordersID, 2), text(1, "so that the journal has a file"))
		before, err := readWhole(fs, filepath.Join("data", "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		fs.hold()
		as := []Append{{Partition: s.Partition(ordersID, 0), Batches: text(1, "x")}, {Partition: s.Partition(ordersID, 1), Batches: text(1, "x")}}
		if _, err := s.Commit(context.Background(), as); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.checkpoint(context.Background(), false) }()
		synctest.Wait()
		if now, err := readWhole(fs, filepath.Join("data", "checkpoint")); err != nil || !bytes.Equal(now, before) {
			t.Errorf("the checkpoint was written before the frame was durable (%v)", err)
		}
		fs.free()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	})
}

// TestRule8OS: a commit to one partition needs no frame and is visible at once;
// one to several has one.
func TestRule8OS(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	cfg.Durability = OS
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p, q := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
	_, lsn, err := commit(s, p, text(1, "single"))
	if err != nil || lsn != 0 || p.Offsets().High != 1 || s.j.Live() != 0 {
		t.Errorf("LSN %d, high %d, journal %d: %v", lsn, p.Offsets().High, s.j.Live(), err)
	}
	as := []Append{{Partition: q, Batches: text(1, "both")}, {Partition: p, Batches: text(2, "both")}}
	lsn, err = s.Commit(context.Background(), as)
	if err != nil || lsn == 0 || p.Offsets().High != 3 || q.Offsets().High != 1 {
		t.Errorf("LSN %d, high %d and %d: %v", lsn, p.Offsets().High, q.Offsets().High, err)
	}
}

// TestRule8FrameBehindAGapIsDropped: after a power cut in os mode a frame may
// lie behind the end of a log. It is dropped for good: it must not fit again
// when the log has grown to its offset. In sync mode the same is corruption.
func TestRule8FrameBehindAGapIsDropped(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.Durability, cfg.CheckpointBytes = OS, 1<<30
	s := mustOpen(t, cfg, orders)
	p, q := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
	put(t, s, p, text(2, "lost"))
	lost := p.active().log.name
	as := []Append{{Partition: p, Batches: text(1, "behind the gap")}, {Partition: q, Batches: text(1, "behind the gap")}}
	if _, err := s.Commit(context.Background(), as); err != nil {
		t.Fatal(err)
	}
	clone := killed(mem)
	mustClose(t, s)
	if err := clone.Remove(lost); err != nil {
		t.Fatal(err)
	}
	cfg.FS = clone
	s = mustOpen(t, cfg, orders)
	p = s.Partition(ordersID, 0)
	if o := p.Offsets(); o.End != 0 {
		t.Fatalf("offsets %+v", o)
	}
	put(t, s, p, text(2, "new"))
	clone = killed(clone)
	mustClose(t, s)
	cfg.FS = clone
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	if o := s.Partition(ordersID, 0).Offsets(); o.End != 2 {
		t.Errorf("offsets %+v: the dropped frame is back", o)
	}
}

// TestRule8OSDataOpenedInSync: segments that no sync covers are synced before
// the first append.
func TestRule8OSDataOpenedInSync(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.Durability, cfg.CheckpointBytes = OS, 1<<30
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), text(3, "a"))
	put(t, s, s.Partition(ordersID, 1), text(4, "b"))
	clone := killed(mem)
	mustClose(t, s)
	cfg.FS, cfg.Durability = clone, Sync
	s = mustOpen(t, cfg, orders)
	for seed := range uint64(10) {
		cfg.FS = powerCut(clone, seed)
		s2 := mustOpen(t, cfg, orders)
		if a, b := s2.Partition(ordersID, 0).Offsets(), s2.Partition(ordersID, 1).Offsets(); a.High != 3 || b.High != 4 {
			t.Errorf("after a power cut: %+v, %+v", a, b)
		}
		mustClose(t, s2)
	}
	mustClose(t, s)
}

// TestGapInSyncModeIsRefused: a log whose synced bytes are gone is corruption.
func TestGapInSyncModeIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	s := mustOpen(t, cfg, orders)
	for range 100 {
		put(t, s, s.Partition(ordersID, 0), text(1, strings.Repeat("x", 200)))
	}
	seg := s.Partition(ordersID, 0).active()
	mustClose(t, s)
	f, err := mem.Open(seg.log.name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(10), f.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	var c *CorruptError
	if _, _, err := commit(s, s.Partition(ordersID, 0), text(1, "x")); !errors.As(err, &c) || c.File != seg.log.name {
		t.Errorf("append behind a hole: %v", err)
	}
}

// TestDeletedTopicsLeaveNothing: a directory that no topic owns goes at the
// next start, and frames of a deleted topic are skipped.
func TestDeletedTopicsLeaveNothing(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), text(1, "x"))
	clone := killed(mem)
	mustClose(t, s)
	cfg.FS = clone
	s = mustOpen(t, cfg) // the metadata log says that orders is deleted
	defer mustClose(t, s)
	if _, err := clone.Stat(topicDir("data", ordersID)); err == nil {
		t.Error("the directory is still there")
	}
	if s.Partition(ordersID, 0) != nil {
		t.Error("the partition is back")
	}
}

// TestStrangersGoAfterTheJournalIsSynced: the record of a deletion that a start
// reads may be in the page cache only. Files go when a power cut cannot take it
// any more.
func TestStrangersGoAfterTheJournalIsSynced(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), text(1, "x"))
	clone := killed(mem)
	mustClose(t, s)
	fs := vfs.Inject(clone)
	cfg.FS = fs
	var removed, started int
	fs.OnOp = func(op vfs.Op, name string, n int) {
		switch {
		case op == vfs.OpRemoveAll:
			removed = n
		case op == vfs.OpRename && started == 0 && strings.HasPrefix(filepath.Base(name), "checkpoint"):
			started = n
		}
	}
	s = mustOpen(t, cfg)
	mustClose(t, s)
	if removed == 0 || started == 0 || removed < started {
		t.Errorf("removed in operation %d, the new life was durable in %d", removed, started)
	}
}

// TestIdempotentProducers is KIP-98's table.
func TestIdempotentProducers(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	const top = math.MaxInt32
	for i, c := range []struct {
		what      string
		b         batch.Batch
		base      int64
		duplicate bool
		err       error
	}{
		{"an unknown producer begins anywhere", produced(1, 3, 100, 2), 0, false, nil},
		{"the next", produced(1, 3, 102, 1), 2, false, nil},
		{"a gap", produced(1, 3, 104, 1), 0, false, ErrOutOfOrderSequence},
		{"back, but no duplicate", produced(1, 3, 100, 1), 0, false, ErrOutOfOrderSequence},
		{"a duplicate of the newest", produced(1, 3, 102, 1), 2, true, nil},
		{"a duplicate of the one before", produced(1, 3, 100, 2), 0, true, nil},
		{"an older epoch", produced(1, 2, 103, 1), 0, false, ErrProducerFenced},
		{"an older epoch, even a duplicate", produced(1, 2, 102, 1), 0, false, ErrProducerFenced},
		{"a newer epoch not from 0", produced(1, 4, 103, 1), 0, false, ErrOutOfOrderSequence},
		{"a newer epoch from 0", produced(1, 4, 0, 1), 3, false, nil},
		{"the old epoch is fenced now", produced(1, 3, 103, 1), 0, false, ErrProducerFenced},
		{"three more", produced(1, 4, 1, 1), 4, false, nil},
		{"", produced(1, 4, 2, 1), 5, false, nil},
		{"", produced(1, 4, 3, 1), 6, false, nil},
		{"", produced(1, 4, 4, 1), 7, false, nil},
		{"the fifth but newest is remembered", produced(1, 4, 0, 1), 3, true, nil},
		{"one more", produced(1, 4, 5, 1), 8, false, nil},
		{"and now forgotten", produced(1, 4, 0, 1), 0, false, ErrOutOfOrderSequence},
		{"up to the top", produced(2, 0, top-1, 2), 9, false, nil},
		{"wraps to 0", produced(2, 0, 0, 1), 11, false, nil},
		{"across the top", produced(3, 0, top, 3), 12, false, nil},
		{"behind it", produced(3, 0, 2, 1), 15, false, nil},
		{"a duplicate across the top", produced(3, 0, top, 3), 12, true, nil},
	} {
		before := p.Offsets().End
		a, lsn, err := commit(s, p, c.b)
		if !errors.Is(err, c.err) || a.Duplicate != c.duplicate || err == nil && a.Base != c.base {
			t.Fatalf("%d, %s: base %d, duplicate %t, %v", i, c.what, a.Base, a.Duplicate, err)
		}
		if grew := p.Offsets().End > before; grew != (err == nil && !a.Duplicate) {
			t.Fatalf("%d, %s: the end went from %d to %d", i, c.what, before, p.Offsets().End)
		}
		if err := s.Wait(context.Background(), lsn, Durable); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProducerBatchesInOneAppend: several batches of one append are checked one
// upon the other, and are duplicates all or none.
func TestProducerBatchesInOneAppend(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	two := func(a, b batch.Batch) []byte { return append(bytes.Clone(a), b...) }
	if a, _, err := commit(s, p, two(produced(1, 0, 0, 2), produced(1, 0, 2, 1))); err != nil || a.Base != 0 {
		t.Fatal(a, err)
	}
	if a, _, err := commit(s, p, two(produced(1, 0, 0, 2), produced(1, 0, 2, 1))); err != nil || !a.Duplicate || a.Base != 0 {
		t.Fatal(a, err)
	}
	for _, b := range [][]byte{
		two(produced(1, 0, 2, 1), produced(1, 0, 3, 1)),
		two(produced(1, 0, 3, 1), produced(1, 0, 5, 1)),
	} {
		if _, _, err := commit(s, p, b); !errors.Is(err, ErrOutOfOrderSequence) {
			t.Errorf("%v", err)
		}
	}
	if o := p.Offsets(); o.End != 3 {
		t.Errorf("%+v", o)
	}
}

// TestRefusedCommitAppendsNothing: one bad part refuses the whole.
func TestRefusedCommitAppendsNothing(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p, q := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
	put(t, s, q, produced(1, 0, 0, 1))
	as := []Append{{Partition: p, Batches: text(1, "x")}, {Partition: q, Batches: produced(1, 0, 7, 1)}}
	if _, err := s.Commit(context.Background(), as); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Fatal(err)
	}
	as = []Append{{Partition: p, Batches: text(1, "x")}, {Partition: p, Batches: text(1, "y")}}
	if _, err := s.Commit(context.Background(), as); err == nil {
		t.Error("a partition named twice was accepted")
	}
	if _, _, err := commit(s, p, make([]byte, 10)); !errors.Is(err, batch.ErrCorrupt) {
		t.Errorf("bytes that are no batch: %v", err)
	}
	if _, _, err := commit(s, p, filler(int(s.cfg.JournalFileBytes))); !errors.Is(err, batch.ErrTooLarge) {
		t.Errorf("larger than a journal file: %v", err)
	}
	if o := p.Offsets(); o.End != 0 {
		t.Errorf("%+v", o)
	}
	if a := put(t, s, p, text(1, "z")); a.Base != 0 {
		t.Errorf("%+v", a)
	}
}

// TestLeaderEpochs: each unclean start raises the epoch, appends carry it, and
// the history says where each ended.
func TestLeaderEpochs(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	for life := range int32(4) {
		cfg.FS = mem
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		if p.LeaderEpoch() != life {
			t.Fatalf("epoch %d in life %d", p.LeaderEpoch(), life)
		}
		for e := range life {
			if got, end := p.EpochEnd(e); got != e || end != int64(e+1)*10 {
				t.Errorf("life %d: epoch %d ends as %d at %d", life, e, got, end)
			}
		}
		if e, end := p.EpochEnd(life + 5); e != life || end != int64(life)*10 {
			t.Errorf("life %d: a future epoch: %d, %d", life, e, end)
		}
		if e, end := p.EpochEnd(-1); e != -1 || end != -1 {
			t.Errorf("before the first epoch: %d, %d", e, end)
		}
		b := text(10, "x")
		put(t, s, p, b)
		if b.LeaderEpoch() != life {
			t.Errorf("stamped with %d", b.LeaderEpoch())
		}
		mem = killed(mem)
		mustClose(t, s)
	}
}

// TestManyEmptyPartitionsCostNothing: files come with the first write.
func TestManyEmptyPartitionsCostNothing(t *testing.T) {
	fs := vfs.Inject(vfs.NewMem())
	cfg := smallConfig(fs)
	spec := TopicSpec{ID: ordersID, Name: "wide", Partitions: 10_000}
	mustClose(t, mustOpen(t, cfg))
	before := fs.Count(vfs.OpAny)
	s := mustOpen(t, cfg, spec)
	if n := fs.Count(vfs.OpAny) - before; n > 60 {
		t.Errorf("%d operations to open 10,000 empty partitions", n)
	}
	put(t, s, s.Partition(ordersID, 9_999), text(1, "x"))
	if names, err := fs.ReadDir(topicDir("data", ordersID)); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
	mustClose(t, s)
}

// TestOpenFilesAreBounded: many partitions share few open files and lose nothing.
func TestOpenFilesAreBounded(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.MaxOpenFiles = 4
	spec := TopicSpec{ID: ordersID, Name: "wide", Partitions: 40}
	s := mustOpen(t, cfg, spec)
	for i := range 400 {
		put(t, s, s.Partition(ordersID, int32(i%40)), text(1, strings.Repeat("x", 100)))
		if n := s.files.open(); n > 9 { // twice, and the one just opened
			t.Fatalf("%d files are open", n)
		}
	}
	clone := powerCut(mem, 5)
	mustClose(t, s)
	cfg.FS = clone
	s = mustOpen(t, cfg, spec)
	defer mustClose(t, s)
	for n := range int32(40) {
		if o := s.Partition(ordersID, n).Offsets(); o.High != 10 {
			t.Fatalf("partition %d: %+v", n, o)
		}
	}
}

// TestMissingCheckpointIsRefused: without it, data would be taken for garbage.
func TestMissingCheckpointIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), text(1, "x"))
	mustClose(t, s)
	if err := fs.Remove(filepath.Join("data", "checkpoint")); err != nil {
		t.Fatal(err)
	}
	var c *CorruptError
	if _, err := Open(cfg); !errors.As(err, &c) {
		t.Errorf("Open: %v", err)
	}
}

// TestMissingFormatIsRefused: without it, data of a newer version would be taken
// for that of this one.
func TestMissingFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), text(1, "x"))
	mustClose(t, s)
	name := filepath.Join("data", "format")
	if err := fs.Remove(name); err != nil {
		t.Fatal(err)
	}
	var c *CorruptError
	if _, err := Open(cfg); !errors.As(err, &c) || c.File != name {
		t.Errorf("Open: %v", err)
	}
	if _, err := fs.Stat(name); err == nil {
		t.Error("the refusal has made it anew")
	}
}

// TestMissingJournalFileIsRefused: whichever file of the journal goes after a
// crash, the newest one too, a start and a check tell; after a clean stop none is
// needed.
func TestMissingJournalFileIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	cfg.CheckpointBytes, cfg.MaxOpenFiles = 1<<30, 1000
	s := mustOpen(t, cfg, orders)
	for range 40 {
		put(t, s, s.Partition(ordersID, 0), text(1, strings.Repeat("x", 4000)))
	}
	crashed := killed(fs)
	mustClose(t, s)
	dir := filepath.Join("data", "journal")
	names, err := crashed.ReadDir(dir)
	if err != nil || len(names) < 4 {
		t.Fatalf("files %v, %v; want several", names, err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".journal") {
			continue
		}
		cfg.FS = killed(crashed)
		if err := cfg.FS.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		s, err := Open(cfg)
		if err == nil {
			err = errors.Join(s.Recover([]TopicSpec{orders}), s.abandon())
		}
		var c *CorruptError
		if !errors.As(err, &c) {
			t.Errorf("without %s: %v, want a CorruptError", name, err)
		}
		report, err := Check(t.Context(), CheckConfig{FS: cfg.FS, Dir: cfg.Dir, Catalog: &testCatalog{}})
		if err != nil || len(report.Problems) == 0 {
			t.Errorf("a check without %s: %+v, %v; want a problem", name, report, err)
		}
	}
	if err := fs.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	cfg.FS = fs
	mustClose(t, mustOpen(t, cfg, orders))
}
