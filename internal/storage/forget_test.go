package storage

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// hands is a clock that stands still until it is moved.
type hands struct{ millis atomic.Int64 }

func (h *hands) now() time.Time          { return time.UnixMilli(h.millis.Load()) }
func (h *hands) advance(d time.Duration) { h.millis.Add(d.Milliseconds()) }

// clocked is a small configuration with a clock of the test's.
func clocked(fs vfs.FS) (Config, *hands) {
	h := &hands{}
	h.millis.Store(1_700_000_000_000)
	cfg := smallConfig(fs)
	cfg.Now = h.now
	return cfg, h
}

// counted is how many windows there really are.
func counted(s *Store) (n int64) {
	s.eachPartition(func(p *Partition) { n += int64(len(p.windows)) })
	return n
}

// TestProducerExpires: a duplicate is known for as long as the producer is, to the
// millisecond; then its batch is that of an unknown producer, which may begin with
// any sequence number (KIP-360).
func TestProducerExpires(t *testing.T) {
	for _, restart := range []string{"none", "clean", "kill"} {
		for _, mode := range []Durability{Sync, OS} {
			fs := vfs.NewMem()
			cfg, clock := clocked(fs)
			cfg.Durability = mode
			cfg.ProducerExpiry = time.Hour
			s := mustOpen(t, cfg, orders)
			b := produced(7, 0, 4, 2)
			put(t, s, s.Partition(ordersID, 0), bytes.Clone(b))
			if err := s.checkpoint(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			clock.advance(time.Hour - time.Millisecond)
			switch restart {
			case "clean":
				mustClose(t, s)
				s = mustOpen(t, cfg, orders)
			case "kill":
				cfg.FS = killed(fs)
				mustClose(t, s)
				s = mustOpen(t, cfg, orders)
			}
			p := s.Partition(ordersID, 0)
			if a := put(t, s, p, bytes.Clone(b)); !a.Duplicate || a.Base != 0 {
				t.Errorf("restart %s: a millisecond before the end: %+v", restart, a)
			}
			clock.advance(time.Millisecond)
			if a := put(t, s, p, bytes.Clone(b)); a.Duplicate || a.Base != 2 {
				t.Errorf("restart %s: when the hour is over: %+v", restart, a)
			}
			if a := put(t, s, p, produced(7, 0, 6, 1)); a.Base != 4 {
				t.Errorf("restart %s: the sequence goes on from there: %+v", restart, a)
			}
			if s.Producers() != 1 || counted(s) != 1 {
				t.Errorf("%d producers, counted %d", counted(s), s.Producers())
			}
			mustClose(t, s)
		}
	}
}

// TestProducersAreForgotten: memory of idle ones is freed though nobody writes.
func TestProducersAreForgotten(t *testing.T) {
	cfg, clock := clocked(vfs.NewMem())
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	for pid := range int64(10) {
		put(t, s, s.Partition(ordersID, int32(pid%3)), produced(pid, 0, 0, 1))
		clock.advance(time.Hour)
	}
	clock.advance(24*time.Hour - 5*time.Hour)
	s.ForgetProducers(clock.now())
	if s.Producers() != 4 || counted(s) != 4 {
		t.Errorf("%d producers are left, counted %d, want 4", counted(s), s.Producers())
	}
	if err := s.DeleteTopic(ordersID); err != nil {
		t.Fatal(err)
	}
	if s.Producers() != 0 {
		t.Errorf("%d producers are counted after their topic was deleted", s.Producers())
	}
}

// TestProducersAreBounded: those that are idle longest go first, over all
// partitions, and never one that wrote just now.
func TestProducersAreBounded(t *testing.T) {
	fs := vfs.NewMem()
	cfg, clock := clocked(fs)
	cfg.MaxProducers = 100
	s := mustOpen(t, cfg, orders)
	send := func(pid int64) Append {
		clock.advance(time.Millisecond)
		return put(t, s, s.Partition(ordersID, int32(pid%3)), produced(pid, 0, 0, 1))
	}
	for pid := range int64(1000) {
		if a := send(pid); a.Duplicate {
			t.Fatalf("producer %d is new: %+v", pid, a)
		}
		if n := s.Producers(); n > 100 || n != counted(s) {
			t.Fatalf("%d producers, counted %d", counted(s), n)
		}
	}
	for pid := int64(1000 - 90); pid < 1000; pid++ {
		if !send(pid).Duplicate {
			t.Errorf("producer %d was forgotten, though 90 others at most wrote after it", pid)
		}
	}
	if send(0).Duplicate {
		t.Error("the oldest producer is still known")
	}
	for pid := range int64(200) { // all in one millisecond
		put(t, s, s.Partition(ordersID, int32(pid%3)), produced(2000+pid, 0, 0, 1))
		if n := s.Producers(); n < 85 || n > 100 {
			t.Fatalf("%d producers are left", n)
		}
	}
	cfg.FS, cfg.MaxProducers = killed(fs), 30
	mustClose(t, s)
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	if n := s.Producers(); n > 30 || n < 20 || n != counted(s) {
		t.Errorf("after a start with a lower limit: %d producers, counted %d", counted(s), n)
	}
}
