package storage

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// cleanStore opens a store on a disk of its own, with a topic that is compacted.
func cleanStore(t *testing.T, change ...func(*Clean)) (*Store, *Partition, *hands) {
	t.Helper()
	cfg, c := cleanConfig(vfs.NewMem())
	s := mustOpen(t, cfg, compacted(change...))
	t.Cleanup(func() { mustClose(t, s) })
	return s, s.Partition(ordersID, 0), c
}

// round seals what was put and cleans.
func round(t *testing.T, s *Store, p *Partition) {
	t.Helper()
	seals(t, s, p)
	mustClean(t, s)
}

// TestCleanTombstones: a tombstone takes what is older at once, and goes itself
// when delete.retention.ms has passed since it was first cleaned (KIP-534).
func TestCleanTombstones(t *testing.T) {
	s, p, c := cleanStore(t)
	put(t, s, p, pairs(1000, pair{"a", "old"}, pair{"b", "stays"}))
	put(t, s, p, pairs(2000, pair{"a", ""}))
	round(t, s, p)
	if rs := stored(t, p); !slices.Equal(has(rs, "a"), []string{""}) || !slices.Equal(has(rs, "b"), []string{"stays"}) {
		t.Fatalf("after the first cleaning: %v", rs)
	}
	if r := stored(t, p)[1]; r.Offset != 2 || r.Timestamp != 2000 {
		t.Fatalf("the tombstone is now %+v", r)
	}
	c.advance(999 * time.Millisecond)
	round(t, s, p)
	if rs := stored(t, p); len(has(rs, "a")) != 1 {
		t.Fatalf("the tombstone went too early: %v", rs)
	}
	c.advance(time.Millisecond)
	round(t, s, p)
	if rs := stored(t, p); len(has(rs, "a")) != 0 || !slices.Equal(has(rs, "b"), []string{"stays"}) {
		t.Fatalf("the tombstone is still there: %v", rs)
	}
}

// TestCleanMinLag: nothing younger than min.compaction.lag.ms is cleaned, nor
// what follows it.
func TestCleanMinLag(t *testing.T) {
	s, p, c := cleanStore(t, func(r *Clean) { r.MinLagMillis = 5000 })
	now := c.now().UnixMilli()
	put(t, s, p, pairs(now-6000, pair{"a", "1"}, pair{"a", "2"}, pair{"x", strings.Repeat("x", 900)}))
	put(t, s, p, pairs(now-1000, pair{"a", "3"}, pair{"a", "4"}, pair{"y", strings.Repeat("y", 900)}))
	round(t, s, p)
	if got := has(stored(t, p), "a"); !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Fatalf("young records were cleaned, or old ones not: %q", got)
	}
	c.advance(5 * time.Second)
	mustClean(t, s)
	if got := has(stored(t, p), "a"); !slices.Equal(got, []string{"4"}) {
		t.Fatalf("after the lag: %q", got)
	}
}

// TestCleanDirtyRatio: a log is left alone until its dirty share is larger than
// min.cleanable.dirty.ratio.
func TestCleanDirtyRatio(t *testing.T) {
	s, p, _ := cleanStore(t, func(r *Clean) { r.MinDirtyRatio = 0.6 })
	for i := range 4 {
		put(t, s, p, pairs(1000, pair{fmt.Sprint("k", i), strings.Repeat("v", 900)}))
	}
	round(t, s, p) // all is dirty
	put(t, s, p, pairs(1000, pair{"a", "1"}, pair{"a", "2"}))
	round(t, s, p) // less than a half is
	if got := has(stored(t, p), "a"); len(got) != 2 {
		t.Fatalf("cleaned below the ratio: %q", got)
	}
	for range 8 {
		put(t, s, p, pairs(1000, pair{"k0", strings.Repeat("v", 900)}))
	}
	round(t, s, p)
	if got := has(stored(t, p), "a"); !slices.Equal(got, []string{"2"}) {
		t.Fatalf("not cleaned above the ratio: %q", got)
	}
}

// TestCleanMaxLag: what waited for max.compaction.lag.ms is cleaned whatever the
// ratio, and the active segment is sealed for it.
func TestCleanMaxLag(t *testing.T) {
	s, p, c := cleanStore(t, func(r *Clean) { r.MinDirtyRatio, r.MaxLagMillis = 1, 5000 })
	put(t, s, p, pairs(c.now().UnixMilli(), pair{"a", "1"}, pair{"a", "2"}, pair{"b", "1"}))
	mustClean(t, s)
	if got := has(stored(t, p), "a"); len(got) != 2 {
		t.Fatalf("cleaned too early: %q", got)
	}
	c.advance(6 * time.Second)
	mustClean(t, s)
	put(t, s, p, pairs(c.now().UnixMilli(), pair{"c", "1"}))
	mustClean(t, s)
	if got := has(stored(t, p), "a"); !slices.Equal(got, []string{"2"}) {
		t.Fatalf("not cleaned after the lag: %q", got)
	}
}

// TestCleanKeepsProducersNewestBatch: its header stays when its records go, with
// offsets and sequence numbers; older batches of the producer go.
func TestCleanKeepsProducersNewestBatch(t *testing.T) {
	s, p, _ := cleanStore(t)
	batchOf := func(sequence int32) batch.Batch {
		return batch.Build(batch.BuildOptions{Producer: &batch.Producer{ID: 7, Epoch: 2, Sequence: sequence}}, recordsOf(1000, []pair{{"a", "x"}, {"b", "x"}})...)
	}
	put(t, s, p, batchOf(0))
	last := batchOf(2)
	put(t, s, p, last)
	put(t, s, p, pairs(1000, pair{"a", "y"}, pair{"b", "y"}))
	round(t, s, p)
	b, _, err := batch.Split(mustRead(t, p, 0))
	if err != nil || b.Count() != 0 || b.BaseOffset() != 2 || b.NextOffset() != 4 || b.ProducerID() != 7 || b.ProducerEpoch() != 2 || b.BaseSequence() != 2 {
		t.Fatalf("the first batch is %x, %v", b, err)
	}
	if a := put(t, s, p, bytes.Clone(last)); !a.Duplicate || a.Base != 2 {
		t.Fatalf("a duplicate: %+v", a)
	}
	if ts, _, _, err := p.MaxTimestamp(); err != nil || ts < 4 {
		t.Fatalf("largest timestamp at offset %d, %v", ts, err)
	}
	put(t, s, p, batchOf(4))
	round(t, s, p)
	if b, _, _ := batch.Split(mustRead(t, p, 0)); b.BaseOffset() == 2 {
		t.Error("the emptied batch outlived the next one")
	}
}

// packed compresses the records of a batch.
func packed(t *testing.T, b batch.Batch, codec batch.Codec) batch.Batch {
	t.Helper()
	var out bytes.Buffer
	switch records := b[batch.HeaderLen:]; codec {
	case batch.Gzip:
		w := gzip.NewWriter(&out)
		_, err := w.Write(records)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	case batch.LZ4:
		w := lz4.NewWriter(&out)
		_, err := w.Write(records)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	case batch.Zstd:
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(w.EncodeAll(records, nil))
	case batch.Snappy:
		out.Write(snappy.Encode(nil, records))
	default:
		out.Write(records)
	}
	n := append(bytes.Clone(b[:batch.HeaderLen]), out.Bytes()...)
	binary.BigEndian.PutUint32(n[8:], uint32(len(n)-12))
	n[22] |= byte(codec)
	binary.BigEndian.PutUint32(n[17:], crc32c(n[21:]))
	return n
}

// TestCleanKeepsTheCodec: what is made anew is compressed as before, what did not
// change is the same byte for byte.
func TestCleanKeepsTheCodec(t *testing.T) {
	for codec := batch.None; codec <= batch.Zstd; codec++ {
		s, p, _ := cleanStore(t)
		put(t, s, p, packed(t, pairs(1000, pair{"a", "1"}, pair{"b", strings.Repeat("b", 90)}, pair{"c", "3"}), codec))
		whole := packed(t, pairs(1000, pair{"d", "1"}, pair{"e", "2"}), codec)
		put(t, s, p, whole)
		put(t, s, p, packed(t, pairs(1000, pair{"a", "2"}), codec))
		round(t, s, p)
		first, rest, err := batch.Split(mustRead(t, p, 0))
		if err != nil || first.Codec() != codec || first.Count() != 2 || first.LastOffsetDelta() != 2 {
			t.Fatalf("%s: %x, %v", codec, first, err)
		}
		if !bytes.HasPrefix(rest, whole) {
			t.Errorf("%s: a batch in which nothing changed is not the same", codec)
		}
		if rs := stored(t, p); !slices.Equal(has(rs, "a"), []string{"2"}) || rs[1].Offset != 2 || string(rs[1].Value) != "3" {
			t.Fatalf("%s: %v", codec, rs)
		}
	}
}

// TestCleanTransactions: aborted records go and hide none, committed ones count
// like others, and a marker goes when nothing of its transaction is left and
// delete.retention.ms has passed.
func TestCleanTransactions(t *testing.T) {
	s, p, c := cleanStore(t)
	in := func(pid int64, ps ...pair) batch.Batch {
		return batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: pid, Sequence: -1}}, recordsOf(1000, ps)...)
	}
	markers := func() (n int) {
		for rest := mustRead(t, p, p.Offsets().Start); len(rest) > 0; {
			b, more, err := batch.Split(rest)
			if err != nil {
				t.Fatal(err)
			}
			if rest = more; b.Control() {
				n++
			}
		}
		return n
	}
	put(t, s, p, pairs(1000, pair{"a", "before"}, pair{"b", "before"}))
	put(t, s, p, in(1, pair{"a", "aborted"}, pair{"c", "aborted"}))
	put(t, s, p, in(2, pair{"b", "committed"}))
	put(t, s, p, marker(1, 0, false))
	put(t, s, p, marker(2, 0, true))
	end := p.Offsets().End
	round(t, s, p)
	rs := stored(t, p)
	if a, b, none := has(rs, "a"), has(rs, "b"), has(rs, "c"); !slices.Equal(a, []string{"before"}) || !slices.Equal(b, []string{"committed"}) || none != nil {
		t.Fatalf("a %q, b %q, c %q", a, b, none)
	}
	if got, err := p.Aborted(0, end); err != nil || len(got) != 1 || markers() != 2 {
		t.Fatalf("a reader may still need the list: %+v %v, %d markers", got, err, markers())
	}
	for range 2 { // once the horizon is set, once it has passed
		put(t, s, p, pairs(1000, pair{"d", "x"}))
		round(t, s, p)
		c.advance(2 * time.Second)
	}
	put(t, s, p, pairs(1000, pair{"d", "x"}))
	round(t, s, p)
	if got, err := p.Aborted(0, end); err != nil || len(got) != 0 || markers() != 1 {
		t.Fatalf("%+v %v, %d markers", got, err, markers())
	}
}

// TestCleanRecordsWithoutKey: they are from before the topic was compacted.
func TestCleanRecordsWithoutKey(t *testing.T) {
	s, p, _ := cleanStore(t)
	put(t, s, p, text(3, "no key"))
	put(t, s, p, pairs(1000, pair{"a", "1"}))
	round(t, s, p)
	if rs := stored(t, p); len(has(rs, "")) != 0 || len(has(rs, "a")) != 1 {
		t.Fatal(rs)
	}
	if e, err := p.Read(0, 1000, p.Offsets().High); err != nil || e.Len() == 0 {
		t.Fatalf("a read before the first record: %d bytes, %v", e.Len(), err)
	} else {
		e.Release()
	}
}

// TestCleanAllGoes: a whole segment goes, at the start of the log and in it, and
// reads in the gap find what follows.
func TestCleanAllGoes(t *testing.T) {
	s, p, _ := cleanStore(t)
	for range 4 {
		put(t, s, p, pairs(1000, pair{"a", strings.Repeat("1", 900)}))
	}
	put(t, s, p, pairs(1000, pair{"b", strings.Repeat("2", 900)}))
	for range 4 {
		put(t, s, p, pairs(1000, pair{"a", strings.Repeat("3", 900)}))
	}
	round(t, s, p)
	for offset := range p.Offsets().High {
		e, err := p.Read(offset, 1, p.Offsets().High)
		if err != nil || e.Len() == 0 {
			t.Fatalf("at %d: %d bytes, %v", offset, e.Len(), err)
		}
		h := make([]byte, e.Len())
		if _, err := e.ReadAt(h, 0); err != nil {
			t.Fatal(err)
		}
		if b := batch.Batch(h); b.NextOffset() <= offset || offset <= 4 && b.BaseOffset() != 4 {
			t.Fatalf("at %d: the batch at %d", offset, b.BaseOffset())
		}
		e.Release()
	}
	if offset, _, _, ok, err := p.OffsetForTime(0); err != nil || !ok || offset != 4 {
		t.Fatalf("the first record is at %d, %t, %v", offset, ok, err)
	}
}

// TestCleanInSteps: a map that is too small for the keys ends each pass early, and
// never takes more memory; all is cleaned in the end.
func TestCleanInSteps(t *testing.T) {
	cfg, _ := cleanConfig(vfs.NewMem())
	cfg.CleanMapBytes = minSlots * keyOffsetBytes
	s := mustOpen(t, cfg, compacted())
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	const keys = 500
	for i := range 2 * keys {
		put(t, s, p, pairs(1000, pair{fmt.Sprint("k", i%keys), fmt.Sprint(i)}))
	}
	round(t, s, p)
	rs := stored(t, p)
	for i := range keys {
		if got := has(rs, fmt.Sprint("k", i)); !slices.Equal(got, []string{fmt.Sprint(keys + i)}) {
			t.Fatalf("k%d: %q", i, got)
		}
	}
}

func TestKeyMapIsBounded(t *testing.T) {
	m := newKeyMap(1000*keyOffsetBytes, 1<<40)
	if len(m.slots) != 1000 {
		t.Fatalf("%d slots", len(m.slots))
	}
	n := 0
	for m.put(fmt.Append(nil, n), int64(n)) {
		n++
	}
	if n != 900 {
		t.Fatalf("%d keys, want nine tenths of the slots", n)
	}
	if !m.put([]byte("7"), 5000) || m.newest([]byte("7")) != 5000 || m.newest([]byte("8")) != 8 || m.newest([]byte("new")) != -1 {
		t.Fatal("a known key in a full map")
	}
	if small := newKeyMap(32<<20, 10); len(small.slots) > 100 {
		t.Fatalf("%d slots for ten keys", len(small.slots))
	}
}

// TestCleanUnderReaders: an extent that is held stays readable after its segment
// was replaced and its files would be gone; new reads see the new segment.
func TestCleanUnderReaders(t *testing.T) {
	s, p, _ := cleanStore(t)
	first := pairs(1000, pair{"a", "old"}, pair{"b", "1"})
	put(t, s, p, first)
	put(t, s, p, pairs(1000, pair{"a", "new"}))
	seals(t, s, p)
	e, err := p.Read(0, 1, p.Offsets().High)
	if err != nil {
		t.Fatal(err)
	}
	mustClean(t, s)
	checkpointed(s)
	s.reap(s.cfg.Now())
	got := make([]byte, e.Len())
	if _, err := e.ReadAt(got, 0); err != nil || !bytes.Equal(got, first) {
		t.Fatalf("the held extent: %x, %v", got, err)
	}
	name := e.seg.log.name
	e.Release()
	if _, err := s.cfg.FS.Stat(name); err == nil {
		t.Error("the replaced file is there after the last reader left")
	}
	if got := has(stored(t, p), "a"); !slices.Equal(got, []string{"new"}) {
		t.Fatal(got)
	}
}

// TestCleanReadersAndProducersGoOn: readers of the whole log and a producer work
// while it is cleaned again and again; nobody meets an error.
func TestCleanReadersAndProducersGoOn(t *testing.T) {
	s, p, _ := cleanStore(t)
	for i := range 25 {
		var all sync.WaitGroup
		all.Go(func() {
			if err := s.CleanNow(context.Background()); err != nil {
				t.Error(err)
			}
		})
		end := p.Offsets().High
		for range 2 {
			all.Go(func() {
				if err := walkTo(p, end); err != nil {
					t.Errorf("round %d: %v", i, err)
				}
				if _, _, _, _, err := p.OffsetForTime(3); err != nil {
					t.Errorf("round %d: %v", i, err)
				}
			})
		}
		for k := range 30 {
			put(t, s, p, pairs(int64(i), pair{fmt.Sprint("k", k%11), strings.Repeat("v", 100)}))
		}
		all.Wait()
	}
}

// walkTo reads a log from its start to end.
func walkTo(p *Partition, end int64) error {
	for at := int64(0); at < end; {
		e, err := p.Read(at, 700, end)
		if err != nil {
			return fmt.Errorf("read at %d: %w", at, err)
		}
		b := make([]byte, e.Len())
		_, err = e.ReadAt(b, 0)
		e.Release()
		if err != nil || len(b) == 0 {
			return fmt.Errorf("%d bytes at %d, below %d: %w", len(b), at, end, err)
		}
		for len(b) > 0 {
			one, rest, err := batch.Split(b)
			if err != nil {
				return err
			}
			at, b = one.NextOffset(), rest
		}
	}
	return nil
}

// TestPace is the I/O budget, on a clock that is set by hand.
func TestPace(t *testing.T) {
	now := time.UnixMilli(0)
	p := pace{perSecond: 1000}
	if d := p.take(50, now); d != 0 {
		t.Errorf("a pause earns a little: waits %s", d)
	}
	if d := p.take(1000, now); d != 950*time.Millisecond {
		t.Errorf("waits %s", d)
	}
	now = now.Add(time.Hour)
	if d := p.take(2000, now); d != 1900*time.Millisecond {
		t.Errorf("an hour earned more than the slack: waits %s", d)
	}
	if d := (&pace{}).take(1<<40, now); d != 0 {
		t.Errorf("no limit waits %s", d)
	}
}

// TestCleanHoldsItsBudget: in virtual time, what is read and written takes as long
// as the budget says, and producers do not wait for it.
func TestCleanHoldsItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := cleanConfig(vfs.NewMem())
		cfg.Now, cfg.CleanBytesPerSecond = time.Now, 1000
		s := mustOpen(t, cfg, compacted())
		defer mustClose(t, s)
		p := s.Partition(ordersID, 0)
		for i := range 20 {
			put(t, s, p, pairs(1000, pair{fmt.Sprint("k", i%5), strings.Repeat("v", 900)}))
		}
		seals(t, s, p)
		begun := time.Now()
		done := make(chan error)
		go func() { done <- s.CleanNow(t.Context()) }()
		synctest.Wait()
		put(t, s, p, pairs(1000, pair{"other", "1"}))
		if d := time.Since(begun); d != 0 {
			t.Errorf("a producer waited %s", d)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		// About 20 KB are read twice, a quarter of it is written.
		if d := time.Since(begun); d < 35*time.Second || d > 60*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

// TestCleanOnAFullDisk: what was begun is given up and removed, nothing is lost,
// and the next round does it.
func TestCleanOnAFullDisk(t *testing.T) {
	faulty := vfs.Inject(vfs.NewMem())
	cfg, _ := cleanConfig(faulty)
	s := mustOpen(t, cfg, compacted())
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, pairs(1000, pair{"a", "1"}, pair{"b", "1"}))
	put(t, s, p, pairs(1000, pair{"a", "2"}))
	seals(t, s, p)
	checkpointed(s)
	faulty.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*-1.log", Err: syscall.ENOSPC})
	if err := s.CleanNow(context.Background()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if s.Err() != nil || len(has(stored(t, p), "a")) != 2 {
		t.Fatal(s.Err())
	}
	names, err := faulty.ReadDir(topicDir("data", ordersID))
	if err != nil || slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, "-1.log") }) {
		t.Fatalf("%q, %v", names, err)
	}
	faulty.Clear()
	s.space.low.Store(false)
	mustClean(t, s)
	if got := has(stored(t, p), "a"); !slices.Equal(got, []string{"2"}) {
		t.Fatal(got)
	}
}

// TestCleanFailingDisk: whatever fails while a log is cleaned, the log of the next
// life is the old one or the new one; the first failed write or sync is final.
func TestCleanFailingDisk(t *testing.T) {
	finals := 0
	for k := 1; ; k++ {
		mem := vfs.NewMem()
		faulty := vfs.Inject(mem)
		cfg, _ := cleanConfig(faulty)
		s := mustOpen(t, cfg, compacted())
		p := s.Partition(ordersID, 0)
		for i := range 20 {
			put(t, s, p, pairs(1000, pair{fmt.Sprint("k", i%3), fmt.Sprint(i)}))
		}
		seals(t, s, p)
		checkpointed(s)
		before := faulty.Count(vfs.OpAny)
		faulty.Add(vfs.Rule{From: k, Count: 1, Err: syscall.EIO, Match: func(name string) bool { return strings.Contains(name, "topics") }})
		err := s.CleanNow(context.Background())
		met := faulty.Count(vfs.OpAny) - before
		faulty.Clear()
		if err != nil && s.Err() != nil {
			finals++
		}
		if s.Err() == nil {
			checkpointed(s)
		}
		cfg.FS = mem.CrashClone(rand.New(rand.NewPCG(uint64(k), 1)), vfs.CrashOptions{})
		_ = s.Close(context.Background())
		again := mustOpen(t, cfg, compacted())
		rs := stored(t, again.Partition(ordersID, 0))
		for i := range 3 {
			if got := has(rs, fmt.Sprint("k", i)); len(got) == 0 || got[len(got)-1] != fmt.Sprint([]int{18, 19, 17}[i]) {
				t.Fatalf("operation %d failed (%v): k%d has %q", k, err, i, got)
			}
		}
		mustClose(t, again)
		if k > met {
			break
		}
	}
	if finals < 5 {
		t.Errorf("%d failures were final", finals)
	}
}

// TestCleanLeavesADamagedLogAlone: it is not copied, so that the damage stays to
// be seen; other logs are cleaned.
func TestCleanLeavesADamagedLogAlone(t *testing.T) {
	fs := vfs.NewMem()
	cfg, _ := cleanConfig(fs)
	s := mustOpen(t, cfg, compacted())
	for n := range int32(2) {
		p := s.Partition(ordersID, n)
		put(t, s, p, pairs(1000, pair{"a", "1"}, pair{"a", "2"}))
		seals(t, s, p)
	}
	mustClose(t, s)
	flipBit(t, fs, filepath.Join(topicDir("data", ordersID), segmentName(0, 0)+".log"), 70, 1)
	s = mustOpen(t, cfg, compacted())
	defer mustClose(t, s)
	mustClean(t, s)
	mustClean(t, s)
	corrupt := (*CorruptError)(nil)
	if _, err := readAll(s.Partition(ordersID, 0), 0, 1000); !errors.As(err, &corrupt) {
		t.Errorf("the damage is not seen any more: %v", err)
	}
	if got := has(stored(t, s.Partition(ordersID, 1)), "a"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("the other log: %q", got)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// TestCleanOfATopicThatIsDeleted: the cleaner gives up, and nothing of it is left.
func TestCleanOfATopicThatIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := cleanConfig(vfs.NewMem())
		cfg.Now, cfg.CleanBytesPerSecond = time.Now, 1000
		s := mustOpen(t, cfg, compacted())
		defer mustClose(t, s)
		p := s.Partition(ordersID, 0)
		for i := range 20 {
			put(t, s, p, pairs(1000, pair{fmt.Sprint("k", i%5), strings.Repeat("v", 900)}))
		}
		seals(t, s, p)
		done := make(chan error)
		go func() { done <- s.CleanNow(t.Context()) }()
		time.Sleep(25 * time.Second) // it is copying
		if err := s.DeleteTopic(ordersID); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if names, err := cfg.FS.ReadDir(topicDir("data", ordersID)); err == nil {
			t.Errorf("left over: %q", names)
		}
	})
}
