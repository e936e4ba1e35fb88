package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// The test below runs appends, log starts that move, retention and checkpoints,
// and takes a clone of the file system after every operation, as the crash test
// does. The record of a new start is played by startRun.told: it is noted, that is
// durable, before SetStart. Each clone is recovered with what was told before it,
// and must have: the start no lower; all that was acknowledged from there on, and
// nothing else; every producer's window, though the batches may be gone; and after
// one more clean stop no file that belongs to no segment.

const startParts = 2

// startModel is what a partition must hold.
type startModel struct {
	batches []batch.Batch // all that were appended, offsets stamped
	end     int64         // acknowledged
	told    int64         // the newest start that is durable elsewhere
	next    map[int64]int32
}

type startClone struct {
	op     int
	fs     *vfs.Mem
	before [startParts]int64 // told when the clone was taken at the latest
	ends   [startParts]int64 // acknowledged or shown before it
}

type startRun struct {
	t      *testing.T
	mode   Durability
	lossy  bool // power cuts in os mode
	seed   uint64
	rng    *rand.Rand
	cfg    Config
	s      *Store
	mu     sync.Mutex
	model  [startParts]startModel
	clones []startClone
}

func TestLogStartCrashSync(t *testing.T) { testStartCrash(t, Sync, false) }
func TestLogStartCrashOS(t *testing.T)   { testStartCrash(t, OS, false) }

// TestLogStartPowerCutOS: what is left opens, and no log starts below what is
// known of its start.
func TestLogStartPowerCutOS(t *testing.T) { testStartCrash(t, OS, true) }

func testStartCrash(t *testing.T, mode Durability, lossy bool) {
	n := 8
	if testing.Short() || lossy {
		n = 3
	}
	seeds := seedsOf(n)
	points := 0
	for _, seed := range seeds {
		r := &startRun{t: t, mode: mode, lossy: lossy, seed: seed, rng: rand.New(rand.NewPCG(seed, 11))}
		r.work()
		for i := range r.clones {
			c := &r.clones[i]
			if d := c.op - *crashOp; *crashOp != 0 && (d < -4 || d > 4) {
				continue
			}
			points++
			if err := r.verify(c); err != nil {
				t.Fatalf("after operation %d: %v\nreplay: go test ./internal/storage -run '%s$' -crash.seed=%d -crash.op=%d",
					c.op, err, t.Name(), seed, c.op)
			}
		}
	}
	t.Logf("%d crash points", points)
}

func (r *startRun) spec(starts ...int64) TopicSpec {
	return TopicSpec{ID: ordersID, Name: "orders", Partitions: startParts, Starts: starts}
}

func (r *startRun) work() {
	mem := vfs.NewMem()
	faulty := vfs.Inject(mem)
	var taking sync.Mutex
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		taking.Lock()
		defer taking.Unlock()
		c := startClone{op: n}
		r.mu.Lock()
		for i := range r.model {
			c.before[i], c.ends[i] = r.model[i].told, r.model[i].end
			if r.s != nil {
				c.ends[i] = max(c.ends[i], r.s.Partition(ordersID, int32(i)).Offsets().High)
			}
		}
		r.mu.Unlock()
		kill := r.mode == OS && !r.lossy || r.mode == Sync && n%4 == 0
		c.fs = mem.CrashClone(rand.New(rand.NewPCG(r.seed, uint64(n))), vfs.CrashOptions{KeepUnsynced: kill})
		r.clones = append(r.clones, c)
	}
	r.cfg = smallConfig(faulty)
	r.cfg.Durability = r.mode
	r.cfg.SegmentBytes, r.cfg.JournalFileBytes, r.cfg.CheckpointBytes, r.cfg.MaxOpenFiles = 1<<10, 16<<10, 6<<10, 5
	s := mustOpen(r.t, r.cfg, r.spec())
	r.mu.Lock()
	r.s = s
	r.mu.Unlock()
	for range 120 {
		n := r.rng.IntN(startParts)
		switch d := r.rng.IntN(100); {
		case d < 8:
			r.move(n, r.between(n))
		case d < 10:
			r.move(n, s.Partition(ordersID, int32(n)).Offsets().High)
		case d < 16:
			start, ok, err := s.Partition(ordersID, int32(n)).Expired(Retention{Millis: -1, Bytes: int64(r.rng.IntN(3000))}, time.Now())
			if err != nil {
				r.t.Fatal(err)
			}
			if ok {
				r.move(n, start)
			}
		default:
			r.append(n)
		}
	}
	mustClose(r.t, s)
}

func (r *startRun) between(n int) int64 {
	o := r.s.Partition(ordersID, int32(n)).Offsets()
	return o.Start + r.rng.Int64N(o.High-o.Start+1)
}

func (r *startRun) move(n int, start int64) {
	r.mu.Lock()
	r.model[n].told = max(r.model[n].told, start)
	r.mu.Unlock()
	if _, err := r.s.Partition(ordersID, int32(n)).SetStart(start); err != nil {
		r.t.Fatal(err)
	}
}

func (r *startRun) append(n int) {
	m, p := &r.model[n], r.s.Partition(ordersID, int32(n))
	count := 1 + r.rng.IntN(3)
	b := text(count, strings.Repeat("x", r.rng.IntN(200)))
	if r.rng.IntN(2) == 0 {
		if m.next == nil {
			m.next = map[int64]int32{}
		}
		pid := r.rng.Int64N(4)
		b = produced(pid, 0, m.next[pid], count)
		m.next[pid] += int32(count)
	}
	stamped := batch.Batch(bytes.Clone(b))
	r.mu.Lock()
	base := int64(0)
	if k := len(m.batches); k > 0 {
		base = m.batches[k-1].NextOffset()
	}
	stamped.SetBaseOffset(base)
	m.batches = append(m.batches, stamped)
	r.mu.Unlock()
	lsn, err := r.s.Commit(context.Background(), []Append{{Partition: p, Batches: b}})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.rng.IntN(3) > 0 && r.mode == Sync {
		return // acknowledged later
	}
	if err := r.s.Wait(context.Background(), lsn, Durable); err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	m.end = max(m.end, stamped.NextOffset())
	r.mu.Unlock()
}

func (r *startRun) verify(c *startClone) error {
	cfg := r.cfg
	cfg.FS = c.fs
	rng := rand.New(rand.NewPCG(r.seed, uint64(c.op)))
	if rng.IntN(5) == 0 {
		again, err := r.crashAgain(cfg, c, rng)
		if err != nil {
			return fmt.Errorf("recovery that crashes: %w", err)
		}
		cfg.FS = again
	}
	s, err := r.open(cfg, c)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	for n := range startParts {
		err = errors.Join(err, r.verifyLog(s, n, c))
	}
	segments := 0
	for n := range startParts {
		segments += len(s.Partition(ordersID, int32(n)).state.segments)
	}
	if err = errors.Join(err, s.Close(context.Background())); err != nil {
		return err
	}
	names, _ := cfg.FS.ReadDir(topicDir("data", ordersID))
	logs := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			logs++
		}
	}
	if logs != segments {
		return fmt.Errorf("%d files are left of %d segments: %v", logs, segments, names)
	}
	return nil
}

func (r *startRun) open(cfg Config, c *startClone) (*Store, error) {
	s, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Recover([]TopicSpec{r.spec(c.before[:]...)}); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	return s, nil
}

// crashAgain returns the file system after a crash somewhere in the recovery.
func (r *startRun) crashAgain(cfg Config, c *startClone, rng *rand.Rand) (*vfs.Mem, error) {
	mem := c.fs
	faulty := vfs.Inject(mem)
	at := 1 + rng.IntN(15)
	var mu sync.Mutex
	var clone *vfs.Mem
	take := func() {
		mu.Lock()
		defer mu.Unlock()
		if clone == nil {
			clone = mem.CrashClone(rng, vfs.CrashOptions{KeepUnsynced: r.mode == OS && !r.lossy})
		}
	}
	faulty.OnOp = func(_ vfs.Op, _ string, n int) {
		if n >= at {
			take()
		}
	}
	cfg.FS = faulty
	s, err := r.open(cfg, c)
	if err != nil {
		return nil, err
	}
	take()
	return clone, s.Close(context.Background())
}

// verifyLog compares one partition with its model and lets it go on.
func (r *startRun) verifyLog(s *Store, n int, c *startClone) error {
	m, p := &r.model[n], s.Partition(ordersID, int32(n))
	o := p.Offsets()
	if o.Start < c.before[n] || o.Start > m.told || o.End < o.Start || o.High != o.End {
		return fmt.Errorf("partition %d has offsets %+v, its start was known to be from %d to %d", n, o, c.before[n], m.told)
	}
	if o.End < c.ends[n] && !r.lossy {
		return fmt.Errorf("partition %d ends at %d, up to %d was acknowledged or shown", n, o.End, c.ends[n])
	}
	got, err := readAll(p, o.Start, 700)
	if err != nil {
		return fmt.Errorf("read partition %d from %d: %w", n, o.Start, err)
	}
	lasts := map[int64]batch.Batch{}
	for _, b := range m.batches {
		if b.NextOffset() > o.End {
			break
		}
		if idempotent(b) {
			lasts[b.ProducerID()] = b
		}
		if b.NextOffset() <= o.Start {
			continue
		}
		if len(got) < len(b) || !bytes.Equal(got[21:len(b)], b[21:]) || batch.Batch(got).BaseOffset() != b.BaseOffset() {
			return fmt.Errorf("partition %d has not the batch that was appended at %d", n, b.BaseOffset())
		}
		got = got[len(b):]
	}
	if len(got) > 0 && !r.lossy {
		return fmt.Errorf("partition %d has %d bytes that were never appended", n, len(got))
	}
	if !r.lossy {
		for pid, b := range lasts {
			as := []Append{{Partition: p, Batches: bytes.Clone(b)}}
			if _, err := s.Commit(context.Background(), as); err != nil || !as[0].Duplicate || as[0].Base != b.BaseOffset() {
				return fmt.Errorf("partition %d (start %d): producer %d repeats its batch at %d: %+v, %w", n, o.Start, pid, b.BaseOffset(), as[0].Base, err)
			}
		}
	}
	as := []Append{{Partition: p, Batches: text(1, "more")}}
	lsn, err := s.Commit(context.Background(), as)
	if err == nil {
		err = s.Wait(context.Background(), lsn, Durable)
	}
	if err != nil || as[0].Base != o.End {
		return fmt.Errorf("partition %d goes on at %d, not at %d: %w", n, as[0].Base, o.End, err)
	}
	_, err = p.SetStart(o.End + 1 - int64(n))
	return err
}
