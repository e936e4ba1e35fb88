package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// inTxn is a batch of a transaction.
func inTxn(pid int64, epoch int16, sequence int32, n int) batch.Batch {
	rs := make([]batch.Record, n)
	for i := range rs {
		rs[i] = batch.Record{Timestamp: 1000, Key: fmt.Append(nil, "k", i), Value: []byte(strings.Repeat("t", 40))}
	}
	return batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: pid, Epoch: epoch, Sequence: sequence}}, rs...)
}

func marker(pid int64, epoch int16, commit bool) batch.Batch {
	return batch.BuildMarker(pid, epoch, 1000, batch.Marker{Commit: commit})
}

func mustStable(t testing.TB, p *Partition, want int64) {
	t.Helper()
	if o := p.Offsets(); o.Stable != want {
		t.Fatalf("last stable offset %d, want %d: %+v", o.Stable, want, o)
	}
}

// TestLastStableOffset follows transactions that overlap, in both modes, over a
// clean stop and over a kill.
func TestLastStableOffset(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		fs := vfs.NewMem()
		cfg := smallConfig(fs)
		cfg.Durability = mode
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		put(t, s, p, text(1, "before")) // 0
		put(t, s, p, inTxn(1, 0, 0, 2)) // 1, 2
		mustStable(t, p, 1)
		put(t, s, p, inTxn(2, 0, 0, 1))   // 3
		put(t, s, p, marker(1, 0, false)) // 4
		mustStable(t, p, 3)
		reopen := func(at *vfs.Mem) {
			t.Helper()
			cfg.FS = at
			s = mustOpen(t, cfg, orders)
			p = s.Partition(ordersID, 0)
			mustStable(t, p, 3)
			if w, ok := p.ActiveProducer(2); !ok || w.TxnStart != 3 || w.LastSequence != 0 || w.CoordinatorEpoch != -1 {
				t.Fatalf("%+v %t", w, ok)
			}
		}
		after := killed(fs)
		mustClose(t, s)
		reopen(after)
		mustClose(t, s)
		reopen(after)
		put(t, s, p, marker(2, 0, true)) // 5
		put(t, s, p, marker(3, 0, true)) // 6: a transaction without records here
		mustStable(t, p, 7)
		got, err := p.Aborted(0, 7)
		if want := []AbortedTxn{{1, 1, 4, 3}}; err != nil || !slices.Equal(got, want) {
			t.Fatalf("aborted %+v, %v", got, err)
		}
		mustClose(t, s)
	}
}

// TestMarkersFence: epochs of markers, by both versions of transactions, and
// coordinators that were replaced.
func TestMarkersFence(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	try := func(b batch.Batch, version int16) error {
		_, err := s.Commit(context.Background(), []Append{{Partition: p, Batches: b, TxnVersion: version}})
		return err
	}
	put(t, s, p, inTxn(1, 5, 0, 1))
	for _, c := range []struct {
		name    string
		b       batch.Batch
		version int16
		want    error
	}{
		{"outside of the open transaction", produced(1, 5, 1, 1), 0, ErrInvalidTxnState},
		{"a marker of an old epoch", marker(1, 4, true), 0, ErrProducerFenced},
		{"a marker of version 2 with the same epoch", marker(1, 5, true), 2, ErrProducerFenced},
		{"a marker of version 2", marker(1, 6, true), 2, nil},
		{"the same again", marker(1, 6, true), 2, nil},
		{"the old epoch's next batch", inTxn(1, 5, 1, 1), 2, ErrProducerFenced},
		{"a sequence that does not begin anew", inTxn(1, 6, 1, 1), 2, ErrOutOfOrderSequence},
		{"the new epoch", inTxn(1, 6, 0, 1), 2, nil},
		{"a marker of version 1 with the same epoch", batch.BuildMarker(1, 6, 0, batch.Marker{CoordinatorEpoch: 3}), 1, nil},
		{"an older coordinator", marker(1, 7, true), 2, ErrCoordinatorFenced},
		{"the window goes on", inTxn(1, 6, 1, 1), 1, nil},
	} {
		if err := try(c.b, c.version); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// txnModel holds what a partition must know.
type txnModel struct {
	open    map[int64]int64
	seqs    map[int64]int32
	aborted []AbortedTxn
	end     int64
}

func (m *txnModel) stable() int64 {
	s := m.end
	for _, first := range m.open {
		s = min(s, first)
	}
	return s
}

func (m *txnModel) step(t *testing.T, s *Store, p *Partition, rng *rand.Rand) {
	pid := int64(rng.IntN(4))
	switch first, open := m.open[pid]; {
	case open && rng.IntN(3) == 0:
		commit := rng.IntN(2) == 0
		put(t, s, p, marker(pid, 0, commit))
		delete(m.open, pid)
		m.end++
		if !commit {
			m.aborted = append(m.aborted, AbortedTxn{pid, first, m.end - 1, m.stable()})
		}
	case rng.IntN(4) == 0:
		put(t, s, p, text(1, "plain"))
		m.end++
	default:
		put(t, s, p, inTxn(pid, 0, m.seqs[pid], 2))
		if !open {
			m.open[pid] = m.end
		}
		m.seqs[pid] += 2
		m.end += 2
	}
}

func (m *txnModel) compare(t *testing.T, p *Partition, rng *rand.Rand) {
	t.Helper()
	if err := m.differs(p, rng); err != nil {
		t.Fatal(err)
	}
}

// differs compares the last stable offset, the open transactions and the aborted
// ones of a few ranges.
func (m *txnModel) differs(p *Partition, rng *rand.Rand) error {
	if o := p.Offsets(); o.Stable != m.stable() || o.End != m.end {
		return fmt.Errorf("offsets %+v, want last stable offset %d and end %d", o, m.stable(), m.end)
	}
	open := map[int64]int64{}
	for _, w := range p.ActiveProducers() {
		if w.TxnStart >= 0 {
			open[w.ID] = w.TxnStart
		}
	}
	if !maps.Equal(open, m.open) {
		return fmt.Errorf("open transactions %v, want %v", open, m.open)
	}
	for range 8 {
		from := rng.Int64N(m.end + 1)
		to := min(from+rng.Int64N(60), m.stable())
		var want []AbortedTxn
		for _, a := range m.aborted {
			if a.LastOffset >= from && a.FirstOffset < to && from < to {
				want = append(want, a)
			}
		}
		slices.SortFunc(want, func(a, b AbortedTxn) int { return int(a.FirstOffset - b.FirstOffset) })
		if got, err := p.Aborted(from, to); err != nil || !slices.Equal(got, want) {
			return fmt.Errorf("aborted in [%d, %d): %+v, want %+v, %w", from, to, got, want, err)
		}
	}
	return nil
}

// TestTxnModel: random transactions with kills and power cuts, stops, and lost
// transaction indexes agree with a model.
func TestTxnModel(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		for seed := range uint64(6) {
			rng := rand.New(rand.NewPCG(seed, 77))
			fs := vfs.NewMem()
			cfg := smallConfig(fs)
			cfg.Durability, cfg.SegmentBytes, cfg.CheckpointBytes, cfg.JournalFileBytes = mode, 2<<10, 6<<10, 16<<10
			s := mustOpen(t, cfg, orders)
			m := &txnModel{open: map[int64]int64{}, seqs: map[int64]int32{}}
			for range 12 {
				p := s.Partition(ordersID, 0)
				for range 25 {
					before := p.Offsets().Stable
					m.step(t, s, p, rng)
					if now := p.Offsets().Stable; now < before {
						t.Fatalf("last stable offset fell from %d to %d", before, now)
					}
				}
				m.compare(t, p, rng)
				after := killed(fs)
				if mode == Sync && rng.IntN(2) == 0 {
					after = powerCut(fs, seed)
				}
				mustClose(t, s)
				if rng.IntN(3) > 0 {
					fs = after
				}
				loseTxnIndexes(t, fs, rng)
				cfg.FS = fs
				s = mustOpen(t, cfg, orders)
				m.compare(t, s.Partition(ordersID, 0), rng)
			}
			mustClose(t, s)
		}
	}
}

// loseTxnIndexes removes some of the files, and damages others.
func loseTxnIndexes(t *testing.T, fs *vfs.Mem, rng *rand.Rand) {
	t.Helper()
	dir := topicDir("data", ordersID)
	names, _ := fs.ReadDir(dir)
	for _, name := range names {
		if !strings.HasSuffix(name, ".txnindex") || rng.IntN(3) > 0 {
			continue
		}
		if rng.IntN(2) == 0 {
			if err := fs.Remove(dir + "/" + name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		f, err := fs.Open(dir + "/" + name)
		if err == nil {
			_, err = f.WriteAt([]byte{0xff}, 3)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
}

// TestCheckTxnIndex: a damaged transaction index is told of and harmless.
func TestCheckTxnIndex(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, smallConfig(fs), orders)
	p := s.Partition(ordersID, 0)
	put(t, s, p, inTxn(1, 0, 0, 1))
	put(t, s, p, marker(1, 0, false))
	mustClose(t, s)
	if r := check(t, fs); len(r.Problems) > 0 {
		t.Fatalf("%+v", r.Problems)
	}
	name := topicDir("data", ordersID) + "/" + segmentName(0, 0) + ".txnindex"
	f, err := fs.Open(name)
	if err == nil {
		_, err = f.WriteAt([]byte{0xff}, 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if r := check(t, fs); len(r.Problems) != 1 || !r.Problems[0].Harmless || r.Problems[0].File != name {
		t.Fatalf("%+v", r.Problems)
	}
	if err := fs.Remove(name); err != nil {
		t.Fatal(err)
	}
	if r := check(t, fs); len(r.Problems) > 0 {
		t.Fatalf("%+v", r.Problems)
	}
}

// TestSalvageKeepsAborted: the copy knows which transactions were aborted.
func TestSalvageKeepsAborted(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, smallConfig(fs), orders)
	p := s.Partition(ordersID, 0)
	put(t, s, p, inTxn(1, 0, 0, 1))
	put(t, s, p, marker(1, 0, false))
	put(t, s, p, inTxn(2, 0, 0, 1))
	mustClose(t, s)
	catalog := &testCatalog{topics: []TopicSpec{orders}}
	if _, err := Salvage(context.Background(), CheckConfig{FS: fs, Dir: "data", Catalog: catalog}, "out"); err != nil {
		t.Fatal(err)
	}
	cfg := smallConfig(fs)
	cfg.Dir = "out"
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p = s.Partition(ordersID, 0)
	mustStable(t, p, 2)
	if got, err := p.Aborted(0, 2); err != nil || !slices.Equal(got, []AbortedTxn{{1, 0, 1, 2}}) {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestRetentionWaitsForTransactions: neither time nor size takes a segment at or
// behind the last stable offset; DeleteRecords may, and leaves the transaction open.
func TestRetentionWaitsForTransactions(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, inTxn(1, 0, 0, 1))
	fill(t, s, p, 60)
	if start, ok, err := p.Expired(Retention{Millis: -1, Bytes: 0}, time.Now()); ok || err != nil {
		t.Fatalf("log would start at %d, %v", start, err)
	}
	if _, err := p.SetStart(20); err != nil {
		t.Fatal(err)
	}
	mustStable(t, p, 20)
	put(t, s, p, marker(1, 0, false))
	mustStable(t, p, p.Offsets().High)
	if _, ok, err := p.Expired(Retention{Millis: -1, Bytes: 0}, time.Now()); !ok || err != nil {
		t.Fatal("nothing expires once the transaction has ended", err)
	}
}

// TestWatchStable: a reader of what is decided is woken by the marker.
func TestWatchStable(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	w := NewWatcher(200)
	p.WatchStable(w, 0)
	b := inTxn(1, 0, 0, 4)
	put(t, s, p, b)
	if len(b) < 200 || len(w.C) != 0 {
		t.Fatalf("woken by %d bytes that are not decided", len(b))
	}
	put(t, s, p, marker(1, 0, true))
	if len(w.C) != 1 {
		t.Fatal("the marker did not wake the reader")
	}
	p.Unwatch(w)
	if len(p.state.stableWatchers) != 0 {
		t.Fatal("still registered")
	}
}

// TestOpenTransactionIsNotForgotten: its producer does not expire.
func TestOpenTransactionIsNotForgotten(t *testing.T) {
	cfg, clock := clocked(vfs.NewMem())
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, inTxn(1, 0, 0, 1))
	put(t, s, p, produced(2, 0, 0, 1))
	clock.advance(cfg.ProducerExpiry + 48*3600*1e9)
	s.ForgetProducers(clock.now())
	if list := p.ActiveProducers(); len(list) != 1 || list[0].ID != 1 || list[0].TxnStart != 0 {
		t.Fatalf("%+v", list)
	}
}

// TestStableWaitsForTheMarker: what a marker that is not durable would decide is
// not shown, neither as an offset nor to those who wait.
func TestStableWaitsForTheMarker(t *testing.T) {
	fs := newHeldSync()
	s := mustOpen(t, smallConfig(fs), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, inTxn(1, 0, 0, 1))
	put(t, s, p, text(1, "plain"))
	w := NewWatcher(1)
	p.WatchStable(w, 0)
	fs.hold()
	_, lsn, err := commit(s, p, marker(1, 0, false))
	if err != nil {
		t.Fatal(err)
	}
	if o := p.Offsets(); o.Stable != 0 || o.High != 2 || o.End != 3 || len(w.C) != 0 {
		t.Errorf("decided before the marker is durable: %+v", o)
	}
	fs.free()
	if err := s.Wait(context.Background(), lsn, Durable); err != nil {
		t.Fatal(err)
	}
	mustStable(t, p, 3)
	if len(w.C) != 1 {
		t.Error("the durable marker woke nobody")
	}
}
