package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// The crash test of transactions: they overlap, run over two partitions and over
// several segments, and half of them are aborted, their markers in one commit. Of
// the clone that is taken after every operation, the part of each log that is
// there says what must be open, aborted and stable in it.

type txnCrash struct {
	t        *testing.T
	mode     Durability
	lossy    bool
	seed     uint64
	rng      *rand.Rand
	cfg      Config
	seqs     [2]map[int64]int32
	open     map[int64][2]bool // producers and the partitions of their transactions
	promises []txnPromise
	commits  [][2]int // index of each one's batch in both logs; -1: none

	mu    sync.Mutex // guards what OnOp looks at
	s     *Store
	tried [2][]batch.Batch // offsets stamped
	ends  [2]int64
	acked [2]int64
}

// txnPromise is what a crash must not take.
type txnPromise struct {
	op     int
	fs     *vfs.Mem
	acked  [2]int64
	stable [2]int64 // that was shown
}

func TestTxnCrashSync(t *testing.T) { testTxnCrash(t, Sync, false) }
func TestTxnCrashOS(t *testing.T)   { testTxnCrash(t, OS, false) }

// TestTxnPowerCutOS: whatever is left of a log is told of truly.
func TestTxnPowerCutOS(t *testing.T) { testTxnCrash(t, OS, true) }

func testTxnCrash(t *testing.T, mode Durability, lossy bool) {
	n := 4
	if testing.Short() {
		n = 1
	}
	points, open, aborted := 0, 0, 0
	for _, seed := range seedsOf(n) {
		r := newTxnCrash(t, mode, lossy, seed)
		r.work()
		for i := range r.promises {
			p := &r.promises[i]
			if d := p.op - *crashOp; *crashOp != 0 && (d < -4 || d > 4) {
				continue
			}
			points++
			ms, err := r.verify(p)
			if err != nil {
				t.Fatalf("after operation %d: %v\nreplay: go test ./internal/storage -run '%s$' -crash.seed=%d -crash.op=%d",
					p.op, err, t.Name(), seed, p.op)
			}
			for _, m := range ms {
				open, aborted = open+len(m.open), aborted+len(m.aborted)
			}
		}
	}
	if open < points/2 || aborted < points {
		t.Errorf("the workload is too tame: %d open and %d aborted transactions", open, aborted)
	}
	t.Logf("%d crash points, %d open and %d aborted transactions", points, open, aborted)
}

func newTxnCrash(t *testing.T, mode Durability, lossy bool, seed uint64) *txnCrash {
	r := &txnCrash{
		t: t, mode: mode, lossy: lossy, seed: seed, rng: rand.New(rand.NewPCG(seed, 7+uint64(mode))),
		seqs: [2]map[int64]int32{{}, {}}, open: map[int64][2]bool{},
	}
	mem := vfs.NewMem()
	faulty := vfs.Inject(mem)
	var ops sync.Mutex
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		ops.Lock()
		defer ops.Unlock()
		r.mu.Lock()
		p := txnPromise{op: n, acked: r.acked}
		if r.s != nil {
			for k := range r.acked {
				o := r.s.Partition(ordersID, int32(k)).Offsets()
				p.acked[k], p.stable[k] = max(p.acked[k], o.High), o.Stable
			}
		}
		r.mu.Unlock()
		keep := mode == OS && !lossy || mode == Sync && n%4 == 0
		p.fs = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(n))), vfs.CrashOptions{KeepUnsynced: keep})
		r.promises = append(r.promises, p)
	}
	r.cfg = smallConfig(faulty)
	r.cfg.Durability = mode
	r.cfg.SegmentBytes, r.cfg.JournalFileBytes, r.cfg.CheckpointBytes = 1<<10, 16<<10, 4<<10
	r.cfg.MaxOpenFiles = 5
	return r
}

func (r *txnCrash) work() {
	s := mustOpen(r.t, r.cfg, orders)
	r.mu.Lock()
	r.s = s
	r.mu.Unlock()
	for range 60 {
		pid := r.rng.Int64N(4)
		switch in := r.open[pid]; {
		case (in[0] || in[1]) && r.rng.IntN(3) == 0:
			r.end(pid, in)
		case r.rng.IntN(8) == 0:
			r.commit(map[int]batch.Batch{r.rng.IntN(2): text(1, "plain")})
		case !in[0] && !in[1] && r.rng.IntN(4) == 0: // outside of a transaction
			n := r.rng.IntN(2)
			r.seqs[n][pid]++
			r.commit(map[int]batch.Batch{n: produced(pid, 0, r.seqs[n][pid]-1, 1)})
		default:
			bs := map[int]batch.Batch{}
			for _, n := range [][]int{{0}, {1}, {0, 1}}[r.rng.IntN(3)] {
				bs[n] = inTxn(pid, 0, r.seqs[n][pid], 1+r.rng.IntN(2))
				r.seqs[n][pid] += bs[n].Count()
				in[n] = true
			}
			r.open[pid] = in
			r.commit(bs)
		}
	}
	mustClose(r.t, s)
}

// end writes the markers of a transaction, in one commit.
func (r *txnCrash) end(pid int64, in [2]bool) {
	commit := r.rng.IntN(2) == 0
	bs := map[int]batch.Batch{}
	for n := range in {
		if in[n] {
			bs[n] = marker(pid, 0, commit)
		}
	}
	delete(r.open, pid)
	r.commit(bs)
}

// commit notes batches and appends them, waiting now and then only.
func (r *txnCrash) commit(bs map[int]batch.Batch) {
	var as []Append
	at := [2]int{-1, -1}
	r.mu.Lock()
	for n, b := range bs {
		at[n] = len(r.tried[n])
		stamped := batch.Batch(bytes.Clone(b))
		stamped.SetBaseOffset(r.ends[n])
		stamped.SetLeaderEpoch(0)
		r.tried[n], r.ends[n] = append(r.tried[n], stamped), stamped.NextOffset()
		as = append(as, Append{Partition: r.s.Partition(ordersID, int32(n)), Batches: b})
	}
	r.commits = append(r.commits, at)
	r.mu.Unlock()
	lsn, err := r.s.Commit(context.Background(), as)
	if wait := r.mode == OS || r.rng.IntN(3) == 0; err == nil && wait {
		if err = r.s.Wait(context.Background(), lsn, Durable); err == nil {
			r.mu.Lock()
			r.acked = r.ends
			r.mu.Unlock()
		}
	}
	if err != nil {
		r.t.Fatalf("seed %d: %v", r.seed, err)
	}
}

// verify recovers a clone and returns what must be known of each partition.
func (r *txnCrash) verify(p *txnPromise) (ms [2]*txnModel, err error) {
	rng := rand.New(rand.NewPCG(r.seed, uint64(p.op)))
	if rng.IntN(5) == 0 {
		loseTxnIndexes(r.t, p.fs, rng)
	}
	err = r.reopened(p.fs, func(s *Store) error {
		for n := range ms {
			part := s.Partition(ordersID, int32(n))
			var err error
			if ms[n], err = r.survived(part, n, p); err == nil {
				err = ms[n].differs(part, rng)
			}
			if err != nil {
				return fmt.Errorf("partition %d: %w", n, err)
			}
		}
		if err := r.whole(ms); err != nil && !r.lossy {
			return err
		}
		if p.op%4 > 0 {
			return nil
		}
		return r.goesOn(s, ms, rng)
	})
	if err != nil || p.op%8 > 0 {
		return ms, err
	}
	return ms, r.reopened(p.fs, func(s *Store) error {
		for n, m := range ms {
			if err := m.differs(s.Partition(ordersID, int32(n)), rng); err != nil {
				return fmt.Errorf("in the next life, partition %d: %w", n, err)
			}
		}
		return nil
	})
}

// reopened opens a store for f and closes it.
func (r *txnCrash) reopened(fs *vfs.Mem, f func(*Store) error) error {
	cfg := r.cfg
	cfg.FS = fs
	s, err := Open(cfg)
	if err == nil {
		err = s.Recover([]TopicSpec{orders})
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return errors.Join(f(s), s.Close(context.Background()))
}

// survived makes a model of the part of a log that is there.
func (r *txnCrash) survived(part *Partition, n int, p *txnPromise) (*txnModel, error) {
	got, err := readAll(part, 0, 700)
	if err != nil {
		return nil, err
	}
	m := &txnModel{open: map[int64]int64{}, seqs: map[int64]int32{}}
	for _, b := range r.tried[n] {
		if len(got) == 0 {
			break
		}
		if !bytes.HasPrefix(got, b) {
			return nil, fmt.Errorf("the batch at offset %d is not the one that was appended", m.end)
		}
		got = got[len(b):]
		m.take(b)
	}
	if len(got) > 0 {
		return nil, fmt.Errorf("%d bytes behind the last batch that was appended", len(got))
	}
	if m.end < p.acked[n] && !r.lossy {
		return nil, fmt.Errorf("ends at %d, up to %d was acknowledged or shown", m.end, p.acked[n])
	}
	if m.stable() < p.stable[n] && !r.lossy {
		return nil, fmt.Errorf("the last stable offset is %d, shown was %d", m.stable(), p.stable[n])
	}
	return m, nil
}

// take follows one batch of a log.
func (m *txnModel) take(b batch.Batch) {
	pid := b.ProducerID()
	m.end = b.NextOffset()
	if pid < 0 {
		return
	}
	first, open := m.open[pid]
	if !b.Control() {
		m.seqs[pid] += b.Count()
		if !open && b.Transactional() {
			m.open[pid] = b.BaseOffset()
		}
		return
	}
	delete(m.open, pid)
	if k, ok, err := b.Marker(); err == nil && ok && !k.Commit && open {
		m.aborted = append(m.aborted, AbortedTxn{pid, first, b.LastOffset(), m.stable()})
	}
}

// whole: a commit to both partitions, as of the markers of a transaction, is on
// both or on none.
func (r *txnCrash) whole(ms [2]*txnModel) error {
	for _, c := range r.commits {
		if c[0] < 0 || c[1] < 0 {
			continue
		}
		a, b := r.tried[0][c[0]], r.tried[1][c[1]]
		if (a.NextOffset() <= ms[0].end) != (b.NextOffset() <= ms[1].end) {
			return fmt.Errorf("a commit is torn: logs end at %d and %d, its batches are at %d and %d",
				ms[0].end, ms[1].end, a.BaseOffset(), b.BaseOffset())
		}
	}
	return nil
}

// goesOn lets each producer append to its transaction, or begin one, aborts all of
// them and looks again.
func (r *txnCrash) goesOn(s *Store, ms [2]*txnModel, rng *rand.Rand) error {
	for n, m := range ms {
		part := s.Partition(ordersID, int32(n))
		for pid := range int64(4) {
			for _, b := range []batch.Batch{inTxn(pid, 0, m.seqs[pid], 1), marker(pid, 0, false)} {
				as := []Append{{Partition: part, Batches: b}}
				lsn, err := s.Commit(context.Background(), as)
				if err == nil {
					err = s.Wait(context.Background(), lsn, Durable)
				}
				if err != nil {
					return fmt.Errorf("partition %d: producer %d: %w", n, pid, err)
				}
				b.SetBaseOffset(as[0].Base)
				m.take(b)
			}
		}
		if err := m.differs(part, rng); err != nil {
			return fmt.Errorf("partition %d: %w", n, err)
		}
	}
	return nil
}
