package storage

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// TestRule8StaleBatchIsCut: what lies behind the last batch of a log in os mode may
// be whole and yet not of this log's next offset, as an older write that a crash
// brought back. A start cuts there, and goes on at the offset that comes next.
func TestRule8StaleBatchIsCut(t *testing.T) {
	for _, offset := range []int64{0, 1, 2, 4, 1 << 40} {
		cfg := smallConfig(vfs.NewMem())
		cfg.Durability = OS
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		for range 3 {
			put(t, s, p, text(1, "record"))
		}
		want, name := mustRead(t, p, 0), p.active().log.name
		clone := killed(cfg.FS.(*vfs.Mem))
		mustClose(t, s)
		f, err := clone.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		stale := text(1, "stale")
		stale.SetBaseOffset(offset)
		if _, err := f.WriteAt(stale, int64(len(want))); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.FS = clone
		s = mustOpen(t, cfg, orders)
		p = s.Partition(ordersID, 0)
		if got := mustRead(t, p, 0); !bytes.Equal(got, want) || p.Offsets().End != 3 {
			t.Errorf("a batch at offset %d behind the end: %d bytes, want %d; %+v", offset, len(got), len(want), p.Offsets())
		}
		if info, err := clone.Stat(name); err != nil || info.Size != int64(len(want)) {
			t.Errorf("a batch at offset %d behind the end: the file is %+v, %v", offset, info, err)
		}
		if a := put(t, s, p, text(1, "next")); a.Base != 3 {
			t.Errorf("appends at %d", a.Base)
		}
		mustClose(t, s)
	}
}

// TestOpenTransactionsOutliveTheLimit: when there are too many producers, those with
// an open transaction stay, though they are idle longest.
func TestOpenTransactionsOutliveTheLimit(t *testing.T) {
	cfg, clock := clocked(vfs.NewMem())
	cfg.MaxProducers = 40
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	for pid := range int64(15) {
		put(t, s, p, inTxn(pid, 0, 0, 1))
	}
	for pid := range int64(500) {
		clock.advance(time.Millisecond)
		put(t, s, p, produced(100+pid, 0, 0, 1))
	}
	for pid := range int64(15) {
		if w, ok := p.ActiveProducer(pid); !ok || w.TxnStart != pid {
			t.Errorf("producer %d: %+v, %t", pid, w, ok)
		}
	}
	if n := s.Producers(); n > cfg.MaxProducers {
		t.Errorf("%d producers, the limit is %d", n, cfg.MaxProducers)
	}
}

// TestMaxTimestampStopsAtHigh: a larger timestamp that is not durable hides no
// smaller one, in whatever segment that stands.
func TestMaxTimestampStopsAtHigh(t *testing.T) {
	fs := newHeldSync()
	s := mustOpen(t, smallConfig(fs), orders)
	p := s.Partition(ordersID, 0)
	fill := strings.Repeat("x", 2500)
	put(t, s, p, textAt(1, fill, 100)) // a segment of its own
	put(t, s, p, textAt(1, fill, 300))
	put(t, s, p, textAt(1, "in the segment of the one before", 200))
	fs.hold()
	for _, value := range []string{"in the last segment", fill} {
		if _, _, err := commit(s, p, textAt(1, value, 900)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.state.segments); n != 3 {
		t.Fatalf("%d segments", n)
	}
	if o, ts, _, err := p.MaxTimestamp(); o != 1 || ts != 300 || err != nil {
		t.Errorf("time %d at offset %d, %v", ts, o, err)
	}
	fs.free()
	mustClose(t, s)
}

// TestRule10CleaningWaitsForACheckpoint: what no durable checkpoint holds is not
// cleaned, however dirty it is.
func TestRule10CleaningWaitsForACheckpoint(t *testing.T) {
	cfg, _ := cleanConfig(vfs.NewMem())
	cfg.CheckpointBytes, cfg.MaxOpenFiles = 1<<30, 1000 // so that none comes by itself
	s := mustOpen(t, cfg, TopicSpec{ID: ordersID, Name: "orders", Partitions: 1, Clean: Clean{Compact: true}})
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	for range 20 {
		put(t, s, p, pairs(1000, pair{"key", strings.Repeat("v", 300)}))
	}
	if segs, _, behind := p.cleanable(); len(segs) > 0 || !behind {
		t.Errorf("%d segments may be cleaned before a checkpoint; one would help: %t", len(segs), behind)
	}
	if err := s.checkpoint(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if segs, _, behind := p.cleanable(); len(segs) < 2 || behind {
		t.Errorf("%d segments may be cleaned after a checkpoint; another would help: %t", len(segs), behind)
	}
}

// TestRule9StopsBeforeTheJournal: appends stop when less is free than the journal's
// next file needs, though the reserve stands and every write would still succeed.
func TestRule9StopsBeforeTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(8 << 20)
		cfg := smallConfig(mem)
		cfg.BallastBytes, cfg.JournalFileBytes = 256<<10, 512<<10
		s := mustOpen(t, cfg, orders)
		defer mustClose(t, s)
		put(t, s, s.Partition(ordersID, 0), text(1, "x"))
		time.Sleep(2 * retrySpace)
		filler, err := mem.Create("other data")
		if err != nil {
			t.Fatal(err)
		}
		defer filler.Close()
		u, _ := mem.Usage("data")
		if err := filler.Preallocate(0, u.Free-300<<10); err != nil {
			t.Fatal(err)
		}
		s.space.look()
		time.Sleep(2 * retrySpace)
		if _, _, err := commit(s, s.Partition(ordersID, 0), text(1, "x")); !errors.Is(err, ErrNoSpace) {
			t.Errorf("with less than a journal file free: %v", err)
		}
		if _, err := mem.Stat(cfg.Dir + "/ballast"); err != nil {
			t.Errorf("the reserve: %v", err)
		}
		if err := filler.Truncate(0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		put(t, s, s.Partition(ordersID, 0), text(1, "x"))
	})
}
