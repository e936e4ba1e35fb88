package storage

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// TestGoodBeforeBad flips a byte of each batch in turn: whoever reads from any
// offset before it meets the error at most once, and then gets the good batches
// up to it or, where the index cannot say which batch is bad, up to its entry.
func TestGoodBeforeBad(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	batches := fill(t, s, s.Partition(ordersID, 0), 40)
	end := s.Partition(ordersID, 0).state.segments[1].base
	mustClose(t, s)
	name := filepath.Join(topicDir("data", ordersID), segmentName(0, 0)+".log")
	at := int64(0)
	for k, b := range batches {
		if b.NextOffset() > end {
			break
		}
		flip(t, fs, name, at+int64(len(b))-1) // the last byte of its records
		s := mustOpen(t, cfg, orders)
		checkGood(t, s.Partition(ordersID, 0), batches[:k], end)
		if k+1 < len(batches) && batches[k+1].BaseOffset() < end {
			if err := readFrom(s.Partition(ordersID, 0), batches[k+1].BaseOffset(), end); err != nil {
				t.Errorf("behind bad batch %d: %v", k, err)
			}
		}
		mustClose(t, s)
		flip(t, fs, name, at+int64(len(b))-1)
		at += int64(len(b))
	}
}

// checkGood reads from the first offset until the bad batch behind good.
func checkGood(t *testing.T, p *Partition, good []batch.Batch, end int64) {
	t.Helper()
	var c *CorruptError
	if err := readFrom(p, 0, end); !errors.As(err, &c) {
		t.Fatalf("%d good batches: %v", len(good), err)
	}
	want := 0
	for _, b := range good {
		want += len(b)
	}
	e, err := p.Read(0, 1<<20, end)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	if len(good) > 0 && e.Len() != want {
		t.Errorf("%d good batches: %d bytes are given, want %d", len(good), e.Len(), want)
	}
	if _, err := e.ReadAt(make([]byte, e.Len()), 0); errors.As(err, &c) != (len(good) == 0) {
		t.Errorf("%d good batches: %v", len(good), err)
	}
}

// readFrom reads from an offset to the end in one piece.
func readFrom(p *Partition, from, end int64) error {
	e, err := p.Read(from, 1<<20, end)
	if err != nil {
		return err
	}
	defer e.Release()
	_, err = e.ReadAt(make([]byte, e.Len()), 0)
	return err
}

// TestCorruptErrorTellsItsPlace: as much of it as is known, and no more.
func TestCorruptErrorTellsItsPlace(t *testing.T) {
	for want, e := range map[string]CorruptError{
		"corrupt data in f at byte 7 (offset 3): why": {File: "f", Position: 7, Offset: 3, Reason: "why"},
		"corrupt data in f at byte 0 (offset 0): why": {File: "f", Reason: "why"},
		"corrupt data in f at byte 7: why":            {File: "f", Position: 7, Offset: -1, Reason: "why"},
		"corrupt data in f: why":                      {File: "f", Offset: -1, Reason: "why"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestAppendsGoOnPastDamage: a damaged active segment refuses appends as long as a
// record of the log is left, and no longer.
func TestAppendsGoOnPastDamage(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		synctest.Test(t, func(t *testing.T) {
			mem := vfs.NewMem()
			cfg := smallConfig(mem)
			cfg.Durability = mode
			active := damageActive(t, cfg, mem)
			s := mustOpen(t, cfg, orders)
			p := s.Partition(ordersID, 0)
			end := p.Offsets().End
			refused := func(when string) {
				t.Helper()
				if _, _, err := commit(s, p, text(1, "x")); !errors.As(err, new(*CorruptError)) {
					t.Errorf("%s: %v", when, err)
				}
			}
			refused("all records there")
			mustStart(t, p, end-1)
			refused("one record left")
			mustStart(t, p, end)
			appendPast(t, s, p, func() {})
			after := killed(mem)
			mustClose(t, s)
			for _, fs := range []*vfs.Mem{mem, after} {
				readPast(t, cfg, fs, end, 3)
			}
			if _, err := mem.Stat(active); err == nil {
				t.Error("the damaged segment is still there")
			}
		})
	}
}

// TestAppendsGoOnPastDamageCrash: whatever crash comes while the damaged segment is
// replaced, what was acknowledged is there, and appends go on as before. In os mode
// a start after a kill refuses what is damaged and in use.
func TestAppendsGoOnPastDamageCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		faulty := vfs.Inject(mem)
		cfg := smallConfig(faulty)
		damageActive(t, cfg, mem)
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		end := p.Offsets().End
		mustStart(t, p, end)
		type crash struct {
			fs    *vfs.Mem
			acked int64
		}
		var mu sync.Mutex
		var crashes []crash
		acked, over := int64(0), false
		faulty.OnOp = func(_ vfs.Op, _ string, n int) {
			mu.Lock()
			defer mu.Unlock()
			if !over {
				crashes = append(crashes, crash{killed(mem), acked}, crash{powerCut(mem, uint64(n)), acked})
			}
		}
		appendPast(t, s, p, func() {
			mu.Lock()
			acked++
			mu.Unlock()
		})
		mu.Lock()
		over = true
		mu.Unlock()
		mustClose(t, s)
		if len(crashes) < 20 {
			t.Fatalf("%d crashes", len(crashes))
		}
		for _, c := range crashes {
			readPast(t, cfg, c.fs, end, c.acked)
		}
	})
}

// damageActive fills a log and damages the last batch of its active segment.
func damageActive(t *testing.T, cfg Config, mem *vfs.Mem) (name string) {
	t.Helper()
	s := mustOpen(t, cfg, orders)
	batches := fill(t, s, s.Partition(ordersID, 0), 60)
	seg := s.Partition(ordersID, 0).active()
	name = seg.log.name
	last := seg.size.Load() - int64(len(batches[len(batches)-1]))
	mustClose(t, s)
	flipBit(t, mem, name, last+8, 5) // its length
	return name
}

func mustStart(t *testing.T, p *Partition, offset int64) {
	t.Helper()
	if _, err := p.SetStart(offset); err != nil {
		t.Fatal(err)
	}
}

// appendPast appends one record after another to a log that has nothing left but a
// damaged segment; before a checkpoint it may not.
func appendPast(t *testing.T, s *Store, p *Partition, done func()) {
	t.Helper()
	if _, _, err := commit(s, p, text(1, "x")); !errors.Is(err, ErrHeld) {
		t.Fatalf("before a checkpoint: %v", err)
	}
	synctest.Wait() // it is written
	for range 3 {
		put(t, s, p, text(1, "good"))
		done()
	}
}

// readPast opens what a crash left of a log whose records below start were deleted,
// and appends as soon as it may.
func readPast(t *testing.T, cfg Config, fs *vfs.Mem, start, records int64) {
	t.Helper()
	cfg.FS = fs
	deleted := orders
	deleted.Starts = []int64{start, 0, 0}
	s := mustOpen(t, cfg, deleted)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	o := p.Offsets()
	if o.Start != start || o.End < start+records || o.End > start+3 || o.High != o.End {
		t.Errorf("offsets %+v, want %d records from %d", o, records, start)
	}
	if got := strings.Count(string(mustRead(t, p, start)), "good/"); int64(got) != o.End-start {
		t.Errorf("%d records of %d", got, o.End-start)
	}
	if _, _, err := commit(s, p, text(1, "x")); err != nil && !errors.Is(err, ErrHeld) {
		t.Error(err)
	}
	synctest.Wait()
	put(t, s, p, text(1, "good"))
}
