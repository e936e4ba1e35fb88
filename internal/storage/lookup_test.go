package storage

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// TestOffsetForTime compares with a walk over all records, whose timestamps are
// in no order.
func TestOffsetForTime(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	if o, ts, _, err := p.MaxTimestamp(); o != -1 || ts != -1 || err != nil {
		t.Fatalf("empty log: MaxTimestamp %d, %d, %v", o, ts, err)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	var all []batch.Record
	for i := range 150 {
		rs := make([]batch.Record, 1+rng.IntN(3))
		for k := range rs {
			rs[k] = batch.Record{Timestamp: int64(10*i + rng.IntN(120)), Value: make([]byte, rng.IntN(100))}
		}
		a := put(t, s, p, batch.Build(batch.BuildOptions{}, rs...))
		for k := range rs {
			rs[k].Offset = a.Base + int64(k)
		}
		all = append(all, rs...)
	}
	check := func() {
		t.Helper()
		largest := all[0]
		for _, r := range all {
			if r.Timestamp > largest.Timestamp {
				largest = r
			}
		}
		if o, ts, _, err := p.MaxTimestamp(); err != nil || o != largest.Offset || ts != largest.Timestamp {
			t.Fatalf("MaxTimestamp: %d at %d, %v; want %d at %d", ts, o, err, largest.Timestamp, largest.Offset)
		}
		for at := int64(-5); at < largest.Timestamp+5; at += 7 {
			want := int64(-1)
			for _, r := range all {
				if r.Timestamp >= at {
					want = r.Offset
					break
				}
			}
			o, ts, _, ok, err := p.OffsetForTime(at)
			if err != nil || ok != (want >= 0) || ok && (o != want || ts < at) {
				t.Fatalf("time %d: offset %d (%d) %t %v, want %d", at, o, ts, ok, err, want)
			}
		}
	}
	check()
	mustClose(t, s)
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p = s.Partition(ordersID, 0)
	check()
}

// TestLookupsStopAtHigh: a record that is not durable yet is not found.
func TestLookupsStopAtHigh(t *testing.T) {
	fs := newHeldSync()
	s := mustOpen(t, smallConfig(fs), orders)
	p := s.Partition(ordersID, 0)
	put(t, s, p, textAt(1, "durable", 100))
	fs.hold()
	as := []Append{{Partition: p, Batches: textAt(1, "not yet", 200)}}
	lsn, err := s.Commit(context.Background(), as)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, ok, err := p.OffsetForTime(150); ok || err != nil {
		t.Errorf("found what is not durable (%v)", err)
	}
	if o, ts, _, err := p.MaxTimestamp(); o != 0 || ts != 100 || err != nil {
		t.Errorf("MaxTimestamp: %d at %d, %v", ts, o, err)
	}
	if o := p.Offsets(); o.High != 1 || o.End != 2 || o.Stable != 1 {
		t.Errorf("offsets %+v", o)
	}
	e, err := p.Read(0, 1000, 2)
	if err != nil || e.Len() != len(textAt(1, "durable", 100)) {
		t.Errorf("read %d bytes, %v", e.Len(), err)
	}
	e.Release()
	fs.free()
	if err := s.Wait(context.Background(), lsn, Durable); err != nil {
		t.Fatal(err)
	}
	if o, _, _, ok, err := p.OffsetForTime(150); !ok || o != 1 || err != nil {
		t.Errorf("offset %d %t %v", o, ok, err)
	}
	mustClose(t, s)
}

// readHook is a file system that calls a function once, before a log is read.
type readHook struct {
	vfs.FS
	once atomic.Pointer[func()]
}

func (h *readHook) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &hookedFile{f, h}, nil
}

func (h *readHook) Create(name string) (vfs.File, error) {
	f, err := h.FS.Create(name)
	return h.wrap(name, f, err)
}

func (h *readHook) Open(name string) (vfs.File, error) {
	f, err := h.FS.Open(name)
	return h.wrap(name, f, err)
}

type hookedFile struct {
	vfs.File
	h *readHook
}

func (f *hookedFile) ReadAt(b []byte, at int64) (int, error) {
	if do := f.h.once.Swap(nil); do != nil {
		(*do)()
	}
	return f.File.ReadAt(b, at)
}

// TestMaxTimestampWhileRecordsGo: the record with the largest timestamp goes between
// the look at the segments and the search for it. There are others.
func TestMaxTimestampWhileRecordsGo(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *Store, *Partition){
		"retention":  func(t *testing.T, _ *Store, p *Partition) { mustStart(t, p, p.state.segments[1].base) },
		"compaction": func(t *testing.T, s *Store, _ *Partition) { mustClean(t, s) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := &readHook{FS: vfs.NewMem()}
			cfg, _ := cleanConfig(fs)
			s := mustOpen(t, cfg, compacted())
			defer mustClose(t, s)
			p := s.Partition(ordersID, 0)
			put(t, s, p, pairs(9000, pair{"a", "the latest, and superseded"}))
			seals(t, s, p)
			put(t, s, p, pairs(5000, pair{"b", "the latest that is left"})) // offset 4
			seals(t, s, p)
			put(t, s, p, pairs(2000, pair{"a", "newer and earlier"}))
			seals(t, s, p)
			called := false
			do := func() { called = true; lose(t, s, p) }
			fs.once.Store(&do)
			o, ts, _, err := p.MaxTimestamp()
			if o != 4 || ts != 5000 || err != nil {
				t.Errorf("offset %d with timestamp %d, %v; want 4 with 5000", o, ts, err)
			}
			if !called {
				t.Error("no log was read while the segments were looked at")
			}
		})
	}
}

// TestLookupsWithABatchThatCannotBeOpened: the producer compressed something else, which
// is stored as it came. It is found by its header, and what is around it by its records.
func TestLookupsWithABatchThatCannotBeOpened(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, textAt(2, "before", 100)) // 0, 1
	garbage := textAt(3, "no stream of gzip", 200)
	garbage[22] |= byte(batch.Gzip)
	binary.BigEndian.PutUint32(garbage[17:], crc32.Checksum(garbage[21:], castagnoli))
	put(t, s, p, garbage)                  // 2, 3, 4
	put(t, s, p, textAt(1, "behind", 180)) // 5
	look := func(when string, at, offset, timestamp int64) {
		t.Helper()
		if o, ts, _, ok, err := p.OffsetForTime(at); o != offset || ts != timestamp || !ok || err != nil {
			t.Errorf("%s, time %d: offset %d with timestamp %d, %t, %v; want %d with %d", when, at, o, ts, ok, err, offset, timestamp)
		}
	}
	look("whole", 100, 0, 100)
	look("whole", 150, 2, 202)
	if o, ts, _, err := p.MaxTimestamp(); o != 2 || ts != 202 || err != nil {
		t.Errorf("the largest timestamp: %d at %d, %v", ts, o, err)
	}
	mustStart(t, p, 3)
	look("inside of it", 150, 3, 202)
	if largest, err := p.state.segments[0].maxFrom(3, p.state.high); largest != 202 || err != nil {
		t.Errorf("from inside of it the largest is %d, %v", largest, err)
	}
	mustStart(t, p, 5)
	look("behind it", 150, 5, 180)
	if o, ts, _, err := p.MaxTimestamp(); o != 5 || ts != 180 || err != nil {
		t.Errorf("the largest timestamp behind it: %d at %d, %v", ts, o, err)
	}
}

// stamped is produced with the broker's time.
func stamped(sequence int32, ts int64) batch.Batch {
	b := produced(7, 0, sequence, 1)
	b.SetLogAppendTime(ts)
	return b
}

// TestAppendTime: of any batch that the log holds, durable or not, sealed or not;
// -1 for a producer's own time, between batches, for what is gone or damaged.
func TestAppendTime(t *testing.T) {
	fs := newHeldSync()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	want := func(offset, time int64) {
		t.Helper()
		if got := p.AppendTime(offset); got != time {
			t.Errorf("offset %d: append time %d, want %d", offset, got, time)
		}
	}
	want(0, -1)
	const n = 100
	for i := range int64(n) {
		put(t, s, p, stamped(int32(i), 1000+i))
	}
	put(t, s, p, text(2, "of the producer")) // n, n+1
	fs.hold()
	_, lsn, err := commit(s, p, stamped(n, 5000))
	if err != nil {
		t.Fatal(err)
	}
	check := func(from int64) {
		t.Helper()
		for i := range int64(n) {
			want(i, map[bool]int64{true: 1000 + i, false: -1}[i >= from])
		}
		want(n, -1)
		want(n+1, -1)
		want(n+2, 5000)
		want(n+3, -1)
	}
	check(0)
	fs.free()
	if err := s.Wait(context.Background(), lsn, Durable); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetStart(80); err != nil {
		t.Fatal(err)
	}
	base := p.state.segments[0].base
	if base == 0 || base == n+2 {
		t.Fatalf("the first segment begins at %d: the test needs more than one, and some gone", base)
	}
	check(base)
	mustClose(t, s)
	want(n+2, -1)
	s = mustOpen(t, cfg, orders)
	p = s.Partition(ordersID, 0)
	check(base)
	last := p.active()
	flipBit(t, fs, last.log.name, last.size.Load()-1, 0)
	want(n+2, -1)
	mustClose(t, s)
}
