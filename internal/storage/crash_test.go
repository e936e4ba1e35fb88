package storage

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

var (
	crashSeed  = flag.Uint64("crash.seed", 0, "crash test: only this seed")
	crashSeeds = flag.Int("crash.seeds", 0, "crash tests: this many seeds each, instead of a few")
	crashOp    = flag.Int("crash.op", 0, "crash test: only this operation")
)

// The crash test runs a workload and takes a clone of the file system after
// every operation, as a kill or a power cut would leave it there. Each clone is
// recovered and compared with the model below: what was acknowledged or shown
// is there, in order and once; a commit to several partitions is there whole or
// not at all; producers' duplicates are known.

type logKey struct {
	topic TopicID
	n     int32
}

// modelCommit is a commit, noted before it is tried.
type modelCommit struct {
	parts map[logKey]int // index of its batch in the log of each partition
}

// model is what was tried, in order, and what was promised of it.
type model struct {
	mu      sync.Mutex
	logs    map[logKey][][]byte // batches as tried, offsets stamped
	ends    map[logKey]int64
	commits []modelCommit
	acked   map[logKey]int64 // end offset that was acknowledged
	alive   map[TopicID]bool // creation acknowledged, deletion not yet tried
	dead    map[TopicID]bool // deletion acknowledged
}

// promise is what a crash must not break.
type promise struct {
	op      int
	fs      *vfs.Mem
	acked   map[logKey]int64
	alive   map[TopicID]bool
	dead    map[TopicID]bool
	commits int // that were tried
}

type crashRun struct {
	t        *testing.T
	mode     Durability
	seed     uint64
	rng      *rand.Rand
	cfg      Config
	s        *Store
	m        *model
	topics   []TopicID
	seqs     map[logKey]map[int64]int32
	next     byte
	promises []promise
}

func TestCrashSync(t *testing.T) { testCrash(t, Sync, false) }

// TestCrashOS: a killed process loses nothing that was appended.
func TestCrashOS(t *testing.T) { testCrash(t, OS, false) }

// TestPowerCutOS: without syncs a power cut may lose what is not in a
// checkpoint, but what is left must open and be whole batches in order.
func TestPowerCutOS(t *testing.T) { testCrash(t, OS, true) }

func testCrash(t *testing.T, mode Durability, lossy bool) {
	n := 14
	if lossy || testing.Short() {
		n = 3
	}
	seeds := seedsOf(n)
	points := 0
	for _, seed := range seeds {
		r := newCrashRun(t, mode, seed, lossy)
		r.work()
		points += r.verifyAll(lossy)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d crash points", points)
}

func newCrashRun(t *testing.T, mode Durability, seed uint64, lossy bool) *crashRun {
	r := &crashRun{
		t: t, mode: mode, seed: seed, rng: rand.New(rand.NewPCG(seed, uint64(mode))),
		seqs: map[logKey]map[int64]int32{},
		m: &model{
			logs: map[logKey][][]byte{}, ends: map[logKey]int64{}, acked: map[logKey]int64{},
			alive: map[TopicID]bool{}, dead: map[TopicID]bool{},
		},
	}
	mem := vfs.NewMem()
	faulty := vfs.Inject(mem)
	var mu sync.Mutex
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		mu.Lock()
		defer mu.Unlock()
		kill := mode == OS && !lossy || mode == Sync && n%4 == 0
		// What was promised is noted first: what is promised meanwhile may or
		// may not be in the clone.
		p := r.promised(n)
		p.fs = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(n))), vfs.CrashOptions{KeepUnsynced: kill})
		r.m.mu.Lock()
		p.commits = len(r.m.commits)
		r.m.mu.Unlock()
		r.promises = append(r.promises, p)
	}
	r.cfg = smallConfig(faulty)
	r.cfg.Durability = mode
	r.cfg.SegmentBytes, r.cfg.JournalFileBytes, r.cfg.CheckpointBytes = 2<<10, 16<<10, 6<<10
	r.cfg.MaxOpenFiles = 5
	return r
}

func (r *crashRun) promised(n int) promise {
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	p := promise{op: n, acked: maps.Clone(m.acked), alive: maps.Clone(m.alive), dead: maps.Clone(m.dead)}
	if r.s == nil {
		return p
	}
	for key := range m.logs { // what was shown counts as promised
		if part := r.s.Partition(key.topic, key.n); part != nil {
			p.acked[key] = max(p.acked[key], part.Offsets().High)
		}
	}
	return p
}

// work runs the workload: one goroutine, so that the model knows every offset.
func (r *crashRun) work() {
	s, err := Open(r.cfg)
	if err == nil {
		err = s.Recover(nil)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.m.mu.Lock()
	r.s = s
	r.m.mu.Unlock()
	r.create()
	r.create()
	for range 90 {
		switch d := r.rng.IntN(100); {
		case d < 3 && len(r.topics) < 4:
			r.create()
		case d < 5 && len(r.topics) > 1:
			r.remove()
		case d < 25:
			r.commit(2 + r.rng.IntN(3))
		case d < 30:
			r.repeat()
		default:
			r.commit(1)
		}
	}
	r.settle()
	if err := s.Close(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// build makes a batch for a partition and notes it in the model.
func (r *crashRun) build(key logKey) batch.Batch {
	var b batch.Batch
	n := 1 + r.rng.IntN(3)
	if r.rng.IntN(2) == 0 {
		pid := int64(r.rng.IntN(3))
		if r.seqs[key] == nil {
			r.seqs[key] = map[int64]int32{}
		}
		b = produced(pid, 0, r.seqs[key][pid], n)
		r.seqs[key][pid] += int32(n)
	} else {
		b = text(n, strings.Repeat("x", r.rng.IntN(300)))
	}
	return b
}

func (r *crashRun) note(c *modelCommit, key logKey, b batch.Batch) {
	stamped := batch.Batch(bytes.Clone(b))
	stamped.SetBaseOffset(r.m.ends[key])
	stamped.SetLeaderEpoch(0)
	c.parts[key] = len(r.m.logs[key])
	r.m.logs[key] = append(r.m.logs[key], stamped)
	r.m.ends[key] = stamped.NextOffset()
}

// submit commits batches, waiting for them now and then only.
func (r *crashRun) submit(batches map[logKey]batch.Batch, wait bool) {
	c := modelCommit{parts: map[logKey]int{}}
	var as []Append
	r.m.mu.Lock()
	for key, b := range batches {
		r.note(&c, key, b)
		as = append(as, Append{Partition: r.s.Partition(key.topic, key.n), Batches: b})
	}
	r.m.commits = append(r.m.commits, c)
	r.m.mu.Unlock()
	lsn, err := r.s.Commit(context.Background(), as)
	if err != nil {
		r.t.Fatalf("seed %d: commit: %v", r.seed, err)
	}
	if wait || r.mode == OS {
		r.ack(lsn)
	}
}

// ack waits for lsn; all that was tried before is promised then.
func (r *crashRun) ack(lsn LSN) {
	if err := r.s.Wait(context.Background(), lsn, Durable); err != nil {
		r.t.Fatalf("seed %d: wait: %v", r.seed, err)
	}
	r.m.mu.Lock()
	maps.Copy(r.m.acked, r.m.ends)
	r.m.mu.Unlock()
}

func (r *crashRun) settle() {
	newest := LSN(0)
	for key := range r.m.logs {
		if p := r.s.Partition(key.topic, key.n); p != nil {
			newest = max(newest, p.LastLSN())
		}
	}
	r.ack(newest)
}

func (r *crashRun) commit(partitions int) {
	batches := map[logKey]batch.Batch{}
	for range partitions {
		key := logKey{r.topics[r.rng.IntN(len(r.topics))], int32(r.rng.IntN(2))}
		if batches[key] == nil {
			batches[key] = r.build(key)
		}
	}
	r.submit(batches, r.rng.IntN(3) == 0)
}

// repeat sends an idempotent batch again.
func (r *crashRun) repeat() {
	key := logKey{r.topics[r.rng.IntN(len(r.topics))], 0}
	log := r.m.logs[key]
	for i := len(log) - 1; i >= 0 && i >= len(log)-3; i-- {
		b := batch.Batch(bytes.Clone(log[i]))
		if !idempotent(b) {
			continue
		}
		as := []Append{{Partition: r.s.Partition(key.topic, key.n), Batches: b}}
		if _, err := r.s.Commit(context.Background(), as); err != nil || !as[0].Duplicate || as[0].Base != batch.Batch(log[i]).BaseOffset() {
			r.t.Fatalf("seed %d: repeated batch: %+v, %v", r.seed, as[0], err)
		}
		return
	}
}

var metaKey = logKey{MetadataTopic, 0}

func (r *crashRun) create() {
	r.next++
	id := TopicID{0: r.next, 1: 7}
	r.submit(map[logKey]batch.Batch{metaKey: text(1, "create "+hex.EncodeToString(id[:]))}, true)
	if err := r.s.CreateTopic(TopicSpec{ID: id, Name: fmt.Sprint("t", r.next), Partitions: 2}); err != nil {
		r.t.Fatal(err)
	}
	r.topics = append(r.topics, id)
	r.m.mu.Lock()
	r.m.alive[id] = true
	r.m.mu.Unlock()
}

func (r *crashRun) remove() {
	k := r.rng.IntN(len(r.topics))
	id := r.topics[k]
	r.topics = append(r.topics[:k], r.topics[k+1:]...)
	r.m.mu.Lock()
	delete(r.m.alive, id)
	r.m.mu.Unlock()
	r.submit(map[logKey]batch.Batch{metaKey: text(1, "delete "+hex.EncodeToString(id[:]))}, true)
	r.m.mu.Lock()
	r.m.dead[id] = true
	r.m.mu.Unlock()
	if err := r.s.DeleteTopic(id); err != nil {
		r.t.Fatal(err)
	}
}

// verifyAll recovers every clone.
func (r *crashRun) verifyAll(lossy bool) int {
	n := 0
	for i := range r.promises {
		p := &r.promises[i]
		if d := p.op - *crashOp; *crashOp != 0 && (d < -4 || d > 4) {
			continue // goroutines may shift an operation by a few places
		}
		n++
		if err := r.verify(p, lossy); err != nil {
			r.t.Errorf("after operation %d: %v\nreplay: go test ./internal/storage -run '%s$' -crash.seed=%d -crash.op=%d",
				p.op, err, r.t.Name(), r.seed, p.op)
			break
		}
	}
	return n
}

// recovered opens a data directory as a broker does.
func recovered(cfg Config) (*Store, map[TopicID]bool, error) {
	s, err := Open(cfg)
	if err != nil {
		return nil, nil, err
	}
	b, err := readAll(s.Metadata(), 0, 1<<20)
	if err != nil {
		return nil, nil, errors.Join(err, s.abandon())
	}
	topics := map[TopicID]bool{}
	for len(b) > 0 {
		one, rest, err := batch.Split(b)
		if err != nil {
			return nil, nil, errors.Join(err, s.abandon())
		}
		b = rest
		for rec, err := range one.Records(1 << 20) {
			if err != nil {
				return nil, nil, errors.Join(err, s.abandon())
			}
			verb, text, _ := strings.Cut(strings.TrimSuffix(string(rec.Value), "/0"), " ")
			var id TopicID
			if _, err := hex.Decode(id[:], []byte(text)); err != nil {
				return nil, nil, errors.Join(err, s.abandon())
			}
			if verb == "create" {
				topics[id] = true
			} else {
				delete(topics, id)
			}
		}
	}
	var specs []TopicSpec
	for id := range topics {
		specs = append(specs, TopicSpec{ID: id, Name: fmt.Sprintf("t%d", id[0]), Partitions: 2})
	}
	if err := s.Recover(specs); err != nil {
		return nil, nil, errors.Join(err, s.abandon())
	}
	return s, topics, nil
}

func (r *crashRun) verify(p *promise, lossy bool) error {
	rng := rand.New(rand.NewPCG(r.seed, uint64(p.op)))
	cfg := r.cfg
	cfg.FS = p.fs
	if rng.IntN(6) == 0 { // crash once more while recovering
		again, err := r.crashInRecovery(cfg, rng, lossy)
		if err != nil {
			return fmt.Errorf("recovery that crashes: %w", err)
		}
		cfg.FS = again
	}
	if lossy && rng.IntN(2) == 0 {
		cfg.Durability = Sync
	}
	s, topics, err := recovered(cfg)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if !lossy {
		for id := range p.alive {
			if !topics[id] {
				err = errors.Join(err, fmt.Errorf("topic %x is lost", id[:2]))
			}
		}
		for id := range p.dead {
			if topics[id] {
				err = errors.Join(err, fmt.Errorf("deleted topic %x is back", id[:2]))
			}
		}
	}
	err = errors.Join(err, r.verifyLogs(s, p, topics, lossy))
	if err == nil {
		err = r.verifyGoesOn(s, topics, lossy)
	}
	return errors.Join(err, s.Close(context.Background()))
}

// crashInRecovery returns the file system after a crash somewhere in a recovery.
func (r *crashRun) crashInRecovery(cfg Config, rng *rand.Rand, lossy bool) (*vfs.Mem, error) {
	mem := cfg.FS.(*vfs.Mem)
	faulty := vfs.Inject(mem)
	at := 1 + rng.IntN(12)
	var clone *vfs.Mem
	var mu sync.Mutex
	take := func() {
		if clone == nil {
			clone = mem.CrashClone(rng, vfs.CrashOptions{KeepUnsynced: r.mode == OS && !lossy})
		}
	}
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		mu.Lock()
		defer mu.Unlock()
		if n >= at {
			take()
		}
	}
	cfg.FS = faulty
	s, _, err := recovered(cfg)
	if err != nil {
		return nil, err
	}
	mu.Lock()
	take()
	mu.Unlock()
	return clone, s.Close(context.Background())
}

func (r *crashRun) verifyLogs(s *Store, p *promise, topics map[TopicID]bool, lossy bool) error {
	present := map[logKey]int{}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	for key, tried := range r.m.logs {
		if key != metaKey && !topics[key.topic] {
			continue
		}
		got, err := readAll(s.Partition(key.topic, key.n), 0, 700)
		if err != nil {
			return fmt.Errorf("read %x-%d: %w", key.topic[:2], key.n, err)
		}
		k, end := 0, int64(0)
		for len(got) > 0 {
			if k == len(tried) || !bytes.HasPrefix(got, tried[k]) {
				return fmt.Errorf("%x-%d: batch %d at offset %d is not the one that was appended there", key.topic[:2], key.n, k, end)
			}
			end = batch.Batch(tried[k]).NextOffset()
			got = got[len(tried[k]):]
			k++
		}
		present[key] = k
		if end < p.acked[key] && !lossy {
			return fmt.Errorf("%x-%d: ends at %d, up to %d was acknowledged or shown", key.topic[:2], key.n, end, p.acked[key])
		}
		if o := s.Partition(key.topic, key.n).Offsets(); o.End != end || o.High != end {
			return fmt.Errorf("%x-%d: offsets %+v, %d can be read", key.topic[:2], key.n, o, end)
		}
	}
	if lossy {
		return nil
	}
	for i, c := range r.m.commits {
		in, out := 0, 0
		for key, k := range c.parts {
			if n, ok := present[key]; !ok {
				continue // the topic was deleted, or its creation is not there
			} else if k < n {
				in++
			} else {
				out++
			}
		}
		if in > 0 && out > 0 {
			return fmt.Errorf("commit %d is torn: on %d of its partitions, not on %d", i, in, out)
		}
	}
	return nil
}

// verifyGoesOn repeats the newest batches of producers and appends another one.
func (r *crashRun) verifyGoesOn(s *Store, topics map[TopicID]bool, lossy bool) error {
	for key, log := range r.m.logs {
		if !topics[key.topic] {
			continue
		}
		part := s.Partition(key.topic, key.n)
		end := part.Offsets().End
		lasts := map[int64]batch.Batch{}
		for _, b := range log {
			if b := batch.Batch(b); b.NextOffset() <= end && idempotent(b) {
				lasts[b.ProducerID()] = b
			}
		}
		for _, b := range lasts {
			as := []Append{{Partition: part, Batches: bytes.Clone(b)}}
			if _, err := s.Commit(context.Background(), as); err != nil || !as[0].Duplicate || as[0].Base != b.BaseOffset() {
				return fmt.Errorf("%x-%d: repeated batch at %d: %+v, %w", key.topic[:2], key.n, b.BaseOffset(), as[0], err)
			}
		}
		as := []Append{{Partition: part, Batches: text(1, "more")}}
		lsn, err := s.Commit(context.Background(), as)
		if err == nil {
			err = s.Wait(context.Background(), lsn, Durable)
		}
		if err != nil || as[0].Base != end || part.Offsets().High != end+1 {
			return fmt.Errorf("%x-%d: append after recovery: base %d, expected %d: %w", key.topic[:2], key.n, as[0].Base, end, err)
		}
	}
	return nil
}

// seedsOf are the seeds of a crash test: the first n, or what the flags say.
func seedsOf(n int) []uint64 {
	if *crashSeed != 0 {
		return []uint64{*crashSeed}
	}
	if *crashSeeds != 0 {
		n = *crashSeeds
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i) + 1
	}
	return seeds
}
