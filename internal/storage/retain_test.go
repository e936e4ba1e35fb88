package storage

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// TestRetentionRules: each row is a rule of Apache Kafka's. Segments are written
// as size@largest timestamp; now is 1000.
func TestRetentionRules(t *testing.T) {
	for name, tc := range map[string]struct {
		r      Retention
		log    string
		stable int64 // 0: all
		want   int
	}{
		"no limit":                                       {Retention{-1, -1}, "10@0 10@0", 0, 0},
		"time: the oldest run goes":                      {Retention{100, -1}, "10@700 10@899 10@900 10@1000", 0, 2},
		"time: exactly the limit stays":                  {Retention{100, -1}, "10@900", 0, 0},
		"time: a young segment keeps those behind it":    {Retention{100, -1}, "10@950 10@0 10@990", 0, 0},
		"time: a timestamp in the future keeps it":       {Retention{100, -1}, "10@5000 10@0", 0, 0},
		"time: the largest timestamp there is":           {Retention{100, -1}, "10@9223372036854775807 10@0", 0, 0},
		"time: the active one goes when all expired":     {Retention{100, -1}, "10@0 10@1", 0, 2},
		"time: an empty active one stays":                {Retention{100, -1}, "10@0 0@0", 0, 1},
		"time: retention.ms=0 keeps this millisecond":    {Retention{0, -1}, "10@999 10@1000", 0, 1},
		"time: the largest limit keeps all":              {Retention{math.MaxInt64, -1}, "10@0", 0, 0},
		"time: a negative clock difference keeps":        {Retention{0, -1}, "10@1001", 0, 0},
		"stable: what is not shown stays":                {Retention{100, -1}, "10@0 10@0 10@0", 25, 2},
		"size: the log stays at least as large":          {Retention{-1, 25}, "10@0 10@0 10@0", 0, 0},
		"size: exactly the limit may be left":            {Retention{-1, 20}, "10@0 10@0 10@0", 0, 1},
		"size: as many as need be":                       {Retention{-1, 15}, "10@0 10@0 10@0 10@0", 0, 2},
		"size: a large segment that cannot go stops":     {Retention{-1, 15}, "30@0 5@0 5@0", 0, 0},
		"size: retention.bytes=0 takes the active, too":  {Retention{-1, 0}, "10@0 10@0", 0, 2},
		"size: nothing of an empty log":                  {Retention{-1, 0}, "0@0", 0, 0},
		"both: size first, then time from there":         {Retention{100, 30}, "10@990 10@0 10@0 10@995", 0, 3},
		"both: time does not look behind what size left": {Retention{100, 1000}, "10@990 10@0", 0, 0},
		"an empty sealed segment is no obstacle":         {Retention{100, -1}, "0@0 10@0 10@990", 0, 2},
	} {
		var ages []age
		for _, word := range strings.Fields(tc.log) {
			a := age{}
			if _, err := fmt.Sscanf(word, "%d@%d", &a.size, &a.largest); err != nil {
				t.Fatal(err)
			}
			a.next = int64(10 * (len(ages) + 1))
			ages = append(ages, a)
		}
		if tc.stable == 0 {
			tc.stable = math.MaxInt64
		}
		if got := tc.r.expired(ages, tc.stable, 1000); got != tc.want {
			t.Errorf("%s: %d segments go of %q, want %d", name, got, tc.log, tc.want)
		}
	}
}

// TestExpiredActiveSegmentIsRolled: the log goes on in a new one, and the start is
// its base.
func TestExpiredActiveSegmentIsRolled(t *testing.T) {
	cfg, clock := clocked(vfs.NewMem())
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, textAt(3, "old", clock.now().UnixMilli()))
	clock.advance(time.Hour)
	rules := Retention{Millis: 3_600_000 - 2, Bytes: -1} // the third record is 2 ms younger
	if _, ok, err := p.Expired(rules, clock.now()); ok || err != nil {
		t.Fatalf("expired too early: %t, %v", ok, err)
	}
	clock.advance(time.Millisecond)
	start, ok, err := p.Expired(rules, clock.now())
	if !ok || start != 3 || err != nil || len(p.state.segments) != 2 {
		t.Fatalf("start %d, %t, %v, %d segments", start, ok, err, len(p.state.segments))
	}
	a := put(t, s, p, textAt(1, "young", clock.now().UnixMilli()))
	if _, err := p.SetStart(start); err != nil || a.Base != 3 {
		t.Fatal(a.Base, err)
	}
	if o := p.Offsets(); o.Start != 3 || o.End != 4 || len(p.state.segments) != 1 {
		t.Errorf("%+v, %d segments", o, len(p.state.segments))
	}
	if _, ok, _ := p.Expired(rules, clock.now()); ok {
		t.Error("it expires again")
	}
}

// TestRecordsWithoutTimestamp age from the making of their segment on.
func TestRecordsWithoutTimestamp(t *testing.T) {
	cfg, clock := clocked(vfs.NewMem())
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, textAt(1, "timeless", -1))
	rules := Retention{Millis: 1000, Bytes: -1}
	clock.advance(time.Second)
	if _, ok, err := p.Expired(rules, clock.now()); ok || err != nil {
		t.Errorf("at once: %t, %v", ok, err)
	}
	clock.advance(time.Millisecond)
	if start, ok, err := p.Expired(rules, clock.now()); !ok || start != 1 || err != nil {
		t.Errorf("a second later: %d, %t, %v", start, ok, err)
	}
}

// TestSegmentMillis: a record rolls the segment when it is more than segment.ms
// younger than the segment's first batch, also after a restart; a first batch
// without a timestamp counts from the segment's making.
func TestSegmentMillis(t *testing.T) {
	fs := vfs.NewMem()
	cfg, clock := clocked(fs)
	spec := orders
	spec.SegmentMillis = 1000
	s := mustOpen(t, cfg, spec)
	p := s.Partition(ordersID, 0)
	add := func(ts int64, want int, why string) {
		t.Helper()
		put(t, s, p, textAt(1, "x", ts))
		if got := len(p.state.segments); got != want {
			t.Errorf("%s: %d segments, want %d", why, got, want)
		}
	}
	add(5000, 1, "the first")
	add(6000, 1, "exactly segment.ms later")
	clock.advance(time.Hour)
	add(100, 1, "an older one, an hour later by the clock")
	mustClose(t, s)
	s = mustOpen(t, cfg, spec)
	p = s.Partition(ordersID, 0)
	add(6000, 1, "exactly segment.ms later, after a restart")
	add(6001, 2, "more than segment.ms later")
	add(7001, 2, "counted from the new segment's first")
	add(9000, 3, "and again")
	add(math.MinInt64, 3, "before all time")
	add(math.MaxInt64, 4, "far in the future")
	mustClose(t, s)

	spec.ID, cfg.Dir = TopicID{9}, "other"
	s = mustOpen(t, cfg, spec)
	defer func() { mustClose(t, s) }()
	p = s.Partition(spec.ID, 0)
	add(-1, 1, "without a timestamp")
	clock.advance(time.Second)
	add(9_000_000, 1, "a second later by the clock")
	clock.advance(time.Millisecond)
	add(-1, 2, "more than a second later by the clock")
}

// TestSegmentJitter: segments roll earlier by at most the jitter, partitions at
// different times, and the same after a restart.
func TestSegmentJitter(t *testing.T) {
	cfg, _ := clocked(vfs.NewMem())
	spec := orders
	spec.Partitions, spec.SegmentMillis, spec.SegmentJitterMillis = 50, 10_000, 4000
	drawn := map[int64]bool{}
	for range 2 {
		s := mustOpen(t, cfg, spec)
		for n := range spec.Partitions {
			p := s.Partition(spec.ID, n)
			j := p.topic.rules().rolling.jitter(&segment{p: p, base: 7})
			if j < 0 || j >= 4000 {
				t.Fatalf("jitter %d", j)
			}
			drawn[j] = true
		}
		mustClose(t, s)
	}
	if len(drawn) < 40 || len(drawn) > 50 {
		t.Errorf("50 partitions in two lives drew %d jitters", len(drawn))
	}
	r := rolling{millis: 10, jitterMillis: 1000}
	s := mustOpen(t, cfg, spec)
	defer mustClose(t, s)
	if j := r.jitter(&segment{p: s.Partition(spec.ID, 0), base: 7}); j < 0 || j >= 10 {
		t.Errorf("a jitter above segment.ms: %d", j)
	}
}

// TestSegmentIndexBytes: a segment rolls when its index is full.
func TestSegmentIndexBytes(t *testing.T) {
	cfg, _ := clocked(vfs.NewMem())
	spec := orders
	spec.SegmentIndexBytes = 3 * entryLen
	s := mustOpen(t, cfg, spec)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	for range 40 {
		put(t, s, p, text(1, strings.Repeat("x", 300))) // each makes an entry for the next
	}
	if n := len(p.state.segments); n != 10 {
		t.Errorf("%d segments, want 10 of 4 batches", n)
	}
}
