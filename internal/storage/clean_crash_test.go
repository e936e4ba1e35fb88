package storage

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// The oracle of compaction: a workload of records with few keys, tombstones,
// idempotent producers, transactions of which half are aborted, and cleanings, with a clone of the file system after every
// operation. Each clone is recovered and compared with what was appended: offsets
// ascend, every record is the one that was appended at its offset, the newest
// record of each key that was not aborted is there, unless it is a tombstone that was old enough, and
// then no older record of its key is.

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
	mu       sync.Mutex
	logs     [2][]batch.Record // as tried
	hidden   [2]map[int64]bool // offsets of aborted records and of markers
	seqs     [2]map[int64]int32
	newest   [2]map[int64]batch.Batch // last batch of each producer
	acked    [2]int64
	promises []cleanPromise
}

type cleanPromise struct {
	op     int
	fs     *vfs.Mem
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
		r.seqs[n], r.newest[n], r.hidden[n] = map[int64]int32{}, map[int64]batch.Batch{}, map[int64]bool{}
	}
	mem := vfs.NewMem()
	faulty := vfs.Inject(mem)
	var ops sync.Mutex
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		ops.Lock()
		defer ops.Unlock()
		r.mu.Lock()
		p := cleanPromise{op: n, acked: r.acked}
		for k := range r.newest {
			p.newest[k] = maps.Clone(r.newest[k])
		}
		r.mu.Unlock()
		p.fs = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(n))), vfs.CrashOptions{KeepUnsynced: mode == OS || n%3 == 0})
		r.promises = append(r.promises, p)
	}
	r.cfg, r.clock = cleanConfig(faulty)
	r.cfg.Durability, r.cfg.SegmentBytes, r.cfg.CheckpointBytes, r.cfg.JournalFileBytes = mode, 700, 4<<10, 16<<10
	r.cfg.CleanMapBytes = int64(1+r.rng.IntN(3)) * minSlots * keyOffsetBytes
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
		switch r.rng.IntN(14) {
		case 0:
			mustClean(r.t, r.s)
		case 1:
			r.clock.advance(300 * time.Millisecond)
		default:
			r.append()
		}
	}
	mustClean(r.t, r.s)
	for n := range r.logs {
		rs := stored(r.t, r.s.Partition(ordersID, int32(n)))
		cleaned += len(r.logs[n]) - len(rs)
		if err := r.compare(n, rs, r.acked[n]); err != nil {
			r.t.Fatalf("seed %d: %v", r.seed, err)
		}
	}
	mustClose(r.t, r.s)
	return cleaned
}

func (r *cleanRun) append() {
	n := r.rng.IntN(2)
	rs := make([]batch.Record, 1+r.rng.IntN(3))
	for i := range rs {
		rs[i] = batch.Record{Timestamp: r.clock.now().UnixMilli(), Key: fmt.Append(nil, "k", r.rng.IntN(90)*r.rng.IntN(2))}
		if r.rng.IntN(5) > 0 {
			rs[i].Value = fmt.Append(nil, len(r.logs[n])+i, strings.Repeat("v", r.rng.IntN(80)))
		}
	}
	opt := batch.BuildOptions{}
	commit := r.rng.IntN(2) == 0
	pid := int64(-1)
	switch r.rng.IntN(4) {
	case 0, 1:
		pid = int64(r.rng.IntN(3))
	case 2: // a transaction, of a producer that does nothing else
		pid, opt.Transactional = int64(10+r.rng.IntN(2)), true
	}
	if pid >= 0 {
		opt.Producer = &batch.Producer{ID: pid, Sequence: r.seqs[n][pid]}
		r.seqs[n][pid] += int32(len(rs))
	}
	b := batch.Build(opt, rs...)
	r.mu.Lock()
	base := int64(len(r.logs[n]))
	for i := range rs {
		rs[i].Offset = base + int64(i)
		r.hidden[n][rs[i].Offset] = opt.Transactional && !commit
	}
	r.logs[n] = append(r.logs[n], rs...)
	r.mu.Unlock()
	put(r.t, r.s, r.s.Partition(ordersID, int32(n)), b)
	r.mu.Lock()
	r.acked[n] = int64(len(r.logs[n]))
	if opt.Producer != nil && !opt.Transactional {
		r.newest[n][opt.Producer.ID] = bytes.Clone(b)
	}
	r.mu.Unlock()
	if opt.Transactional {
		r.end(n, opt.Producer.ID, commit)
	}
}

// end writes the marker of a transaction; cleanings may come before it.
func (r *cleanRun) end(n int, pid int64, commit bool) {
	if r.rng.IntN(4) == 0 {
		mustClean(r.t, r.s)
	}
	r.mu.Lock()
	at := int64(len(r.logs[n]))
	r.hidden[n][at] = true
	r.logs[n] = append(r.logs[n], batch.Record{Offset: at})
	r.mu.Unlock()
	put(r.t, r.s, r.s.Partition(ordersID, int32(n)), batch.BuildMarker(pid, 0, r.clock.now().UnixMilli(), batch.Marker{Commit: commit}))
	r.mu.Lock()
	r.acked[n] = at + 1
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
	for round := range 2 { // as found, and once more after a cleaning
		for n := range r.logs {
			part := s.Partition(ordersID, int32(n))
			end := part.Offsets().End
			if end < p.acked[n] {
				return fmt.Errorf("partition %d ends at %d, %d was acknowledged", n, end, p.acked[n])
			}
			if err := r.compare(n, stored(r.t, part), end); err != nil {
				return fmt.Errorf("round %d: %w", round, err)
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

// compare holds what is stored of a partition against what was appended below end.
func (r *cleanRun) compare(n int, got []batch.Record, end int64) error {
	have := map[int64]bool{}
	kept := map[string]int64{}
	for _, g := range got {
		if g.Offset >= end {
			return fmt.Errorf("partition %d: offset %d is not below the end %d", n, g.Offset, end)
		}
		want := r.logs[n][g.Offset]
		if want.Key == nil { // a marker
			continue
		}
		if !bytes.Equal(g.Key, want.Key) || !bytes.Equal(g.Value, want.Value) || (g.Value == nil) != (want.Value == nil) || g.Timestamp != want.Timestamp {
			return fmt.Errorf("partition %d: offset %d has %q=%q, appended was %q=%q", n, g.Offset, g.Key, g.Value, want.Key, want.Value)
		}
		if !r.hidden[n][g.Offset] {
			have[g.Offset], kept[string(g.Key)] = true, g.Offset
		}
	}
	newest := map[string]int64{}
	for _, w := range r.logs[n][:end] {
		if !r.hidden[n][w.Offset] {
			newest[string(w.Key)] = w.Offset
		}
	}
	for key, offset := range newest {
		if have[offset] {
			continue
		}
		w := r.logs[n][offset]
		if w.Value != nil {
			return fmt.Errorf("partition %d: the newest record of %s, at offset %d, is lost", n, key, offset)
		}
		if r.clock.now().UnixMilli() < w.Timestamp+r.rule.DeleteRetentionMillis {
			return fmt.Errorf("partition %d: the tombstone of %s, at offset %d, went too early", n, key, offset)
		}
		if old, ok := kept[key]; ok {
			return fmt.Errorf("partition %d: %s was deleted at offset %d, its record at %d is there again", n, key, offset, old)
		}
	}
	return nil
}
