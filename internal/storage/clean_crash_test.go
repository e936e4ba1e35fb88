package storage

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// The oracle of compaction: a workload of records with few keys, tombstones,
// idempotent producers, transactions of several batches that overlap and of which
// half are aborted, and cleanings, with a clone of the file system after every
// operation. Each clone is recovered and compared with the model in
// clean_model_test.go.

// cleanRun is one workload.
type cleanRun struct {
	t        *testing.T
	seed     uint64
	mode     Durability
	rng      *rand.Rand
	cfg      Config
	clock    *hands
	s        *Store
	rule     Clean
	seldom   bool // cleanings: so that one pass does not hold all keys
	logs     [2]cleanLog
	promises []cleanPromise

	mu     sync.Mutex               // guards what OnOp looks at
	newest [2]map[int64]batch.Batch // last batch of each producer
	acked  [2]int64
}

type cleanPromise struct {
	op     int
	fs     *vfs.Mem
	now    int64 // ms
	acked  [2]int64
	newest [2]map[int64]batch.Batch
}

func TestCleanCrashSync(t *testing.T) { testCleanCrash(t, Sync) }
func TestCleanCrashOS(t *testing.T)   { testCleanCrash(t, OS) }

func testCleanCrash(t *testing.T, mode Durability) {
	n := 3
	if testing.Short() {
		n = 1
	}
	seeds := seedsOf(n)
	points, cleaned := 0, 0
	for _, seed := range seeds {
		r := newCleanRun(t, mode, seed)
		cleaned += r.work()
		for i := range r.promises {
			p := &r.promises[i]
			if d := p.op - *crashOp; *crashOp != 0 && (d < -4 || d > 4) {
				continue
			}
			points++
			if err := r.verify(p); err != nil {
				t.Fatalf("after operation %d: %v\nreplay: go test ./internal/storage -run '%s$' -crash.seed=%d -crash.op=%d",
					p.op, err, t.Name(), seed, p.op)
			}
		}
	}
	if cleaned == 0 {
		t.Error("nothing was cleaned")
	}
	t.Logf("%d crash points, %d records compacted away", points, cleaned)
}

func newCleanRun(t *testing.T, mode Durability, seed uint64) *cleanRun {
	r := &cleanRun{t: t, seed: seed, mode: mode, rng: rand.New(rand.NewPCG(seed, 99+uint64(mode)))}
	for n := range r.logs {
		r.logs[n], r.newest[n] = newCleanLog(), map[int64]batch.Batch{}
	}
	mem := vfs.NewMem()
	faulty := vfs.Inject(mem)
	var ops sync.Mutex
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		if testing.Short() && n%4 > 0 {
			return
		}
		ops.Lock()
		defer ops.Unlock()
		r.mu.Lock()
		p := cleanPromise{op: n, now: r.clock.now().UnixMilli(), acked: r.acked}
		for k := range r.newest {
			p.newest[k] = maps.Clone(r.newest[k])
		}
		r.mu.Unlock()
		p.fs = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(n))), vfs.CrashOptions{KeepUnsynced: mode == OS || n%3 == 0})
		r.promises = append(r.promises, p)
	}
	r.cfg, r.clock = cleanConfig(faulty)
	r.cfg.Durability, r.cfg.SegmentBytes, r.cfg.CheckpointBytes, r.cfg.JournalFileBytes = mode, 700, 4<<10, 16<<10
	r.seldom = seed%3 == 1
	r.cfg.CleanMapBytes = int64(1+r.rng.IntN(3)) * minSlots * keyOffsetBytes
	if r.seldom {
		r.cfg.CleanMapBytes = minSlots * keyOffsetBytes
	}
	r.rule = Clean{Compact: true, DeleteRetentionMillis: int64(r.rng.IntN(3)) * 400, MinDirtyRatio: float64(r.rng.IntN(2)) * 0.3}
	return r
}

func (r *cleanRun) spec() TopicSpec {
	return TopicSpec{ID: ordersID, Name: "orders", Partitions: 2, Clean: r.rule, DeleteDelay: time.Duration(r.seed%2) * time.Hour}
}

// work returns how many records were cleaned away.
func (r *cleanRun) work() (cleaned int) {
	r.s = mustOpen(r.t, r.cfg, r.spec())
	for range 160 {
		switch n := r.rng.IntN(2); r.rng.IntN(14) {
		case 0:
			if !r.seldom || r.rng.IntN(4) == 0 {
				r.clean()
			}
		case 1:
			r.clock.advance(300 * time.Millisecond)
		case 2, 3, 4:
			r.end(n)
		default:
			r.append(n)
		}
	}
	cleaned = r.clean()
	mustClose(r.t, r.s)
	return cleaned
}

// clean compacts and looks at what is left; it returns how many records are not.
func (r *cleanRun) clean() (gone int) {
	mustClean(r.t, r.s)
	now := r.clock.now().UnixMilli()
	for n := range r.logs {
		l := &r.logs[n]
		f, err := l.compare(r.s.Partition(ordersID, int32(n)), now, r.rule.DeleteRetentionMillis)
		if err == nil {
			err = l.follow(f, now, r.rule.DeleteRetentionMillis)
		}
		if err != nil {
			r.t.Fatalf("seed %d: partition %d: %v", r.seed, n, err)
		}
		gone += len(l.records) - len(f.records) - len(f.markers)
	}
	return gone
}

func (r *cleanRun) append(n int) {
	l := &r.logs[n]
	most := 3
	if r.seldom {
		most = 6
	}
	rs := make([]batch.Record, 1+r.rng.IntN(most))
	for i := range rs {
		key := min(r.rng.IntN(3), 1) * r.rng.IntN(200)
		rs[i] = batch.Record{Timestamp: r.clock.now().UnixMilli(), Key: fmt.Append(nil, "k", key)}
		if r.rng.IntN(5) > 0 {
			rs[i].Value = fmt.Append(nil, len(l.records)+i, strings.Repeat("v", r.rng.IntN(80)))
		}
	}
	opt := batch.BuildOptions{}
	pid := int64(-1)
	switch r.rng.IntN(4) {
	case 0:
		pid = int64(r.rng.IntN(3))
	case 1, 2:
		pid, opt.Transactional = int64(10+r.rng.IntN(3)), true
	}
	if pid >= 0 {
		opt.Producer = &batch.Producer{ID: pid, Sequence: l.seqs[pid]}
		l.seqs[pid] += int32(len(rs))
	}
	b := batch.Build(opt, rs...)
	l.append(opt, rs)
	put(r.t, r.s, r.s.Partition(ordersID, int32(n)), b)
	r.mu.Lock()
	r.acked[n] = int64(len(l.records))
	if opt.Producer != nil {
		r.newest[n][pid] = bytes.Clone(b)
	}
	r.mu.Unlock()
}

// end writes the marker of one of the open transactions.
func (r *cleanRun) end(n int) {
	l := &r.logs[n]
	if len(l.open) == 0 {
		return
	}
	pid := slices.Sorted(maps.Keys(l.open))[r.rng.IntN(len(l.open))]
	commit := r.rng.IntN(2) == 0
	now := r.clock.now().UnixMilli()
	l.end(pid, commit, now)
	put(r.t, r.s, r.s.Partition(ordersID, int32(n)), batch.BuildMarker(pid, 0, now, batch.Marker{Commit: commit}))
	r.mu.Lock()
	r.acked[n] = int64(len(l.records))
	r.mu.Unlock()
}

func (r *cleanRun) verify(p *cleanPromise) error {
	cfg := r.cfg
	cfg.FS = p.fs
	s, err := Open(cfg)
	if err == nil {
		err = s.Recover([]TopicSpec{r.spec()})
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	now := p.now
	for round := range 2 { // as found, and once more after a cleaning
		for n := range r.logs {
			part := s.Partition(ordersID, int32(n))
			end := part.Offsets().End
			if end < p.acked[n] {
				return fmt.Errorf("partition %d ends at %d, %d was acknowledged", n, end, p.acked[n])
			}
			if _, err := r.logs[n].compare(part, now, r.rule.DeleteRetentionMillis); err != nil {
				return fmt.Errorf("round %d: partition %d: %w", round, n, err)
			}
			for _, b := range p.newest[n] {
				as := []Append{{Partition: part, Batches: bytes.Clone(b)}}
				if _, err := s.Commit(context.Background(), as); end == p.acked[n] && (err != nil || !as[0].Duplicate || as[0].Base != b.BaseOffset()) {
					return fmt.Errorf("partition %d: repeated batch at %d: %+v, %w", n, b.BaseOffset(), as[0], err)
				}
			}
		}
		if round > 0 {
			break
		}
		if err := r.noStrays(s, p.fs); err != nil {
			return err
		}
		now = r.clock.now().UnixMilli()
		if p.op%5 == 0 {
			if err := s.CleanNow(context.Background()); err != nil {
				return fmt.Errorf("clean: %w", err)
			}
		}
	}
	return nil
}

// noStrays: after a start there are no files but those of the segments, the
// discarded ones aside.
func (r *cleanRun) noStrays(s *Store, fsys vfs.FS) error {
	known := map[string]bool{}
	s.discards.mu.Lock()
	for _, d := range s.discards.list {
		known[d.seg.log.name] = true
	}
	s.discards.mu.Unlock()
	for n := range r.logs {
		part := s.Partition(ordersID, int32(n))
		part.state.Lock()
		for _, seg := range part.state.segments {
			known[seg.log.name] = true
		}
		part.state.Unlock()
	}
	names, _ := fsys.ReadDir(topicDir("data", ordersID))
	for _, name := range names {
		if path := topicDir("data", ordersID) + "/" + name; strings.HasSuffix(name, ".log") && !known[path] {
			return fmt.Errorf("%s is left over", path)
		}
	}
	return nil
}
