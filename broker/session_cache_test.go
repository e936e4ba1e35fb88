package broker

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// counting gives 1, 2, 3 as random ids, after the words that it is told.
type counting struct {
	first []uint32
	n     uint32
}

func (c *counting) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		binary.BigEndian.PutUint32(b, c.first[0])
		c.first = c.first[1:]
		return len(b), nil
	}
	c.n++
	binary.BigEndian.PutUint32(b, c.n)
	return len(b), nil
}

// cacheTest is a cache with a clock.
type cacheTest struct {
	*sessionCache
	t     *testing.T
	clock time.Time
}

func newCacheTest(t *testing.T, slots int) *cacheTest {
	c := &cacheTest{t: t, clock: time.UnixMilli(0)}
	c.sessionCache = newSessionCache(slots, func() time.Time { return c.clock }, &counting{})
	return c
}

// open makes a session of so many partitions; nil if there is no room.
func (c *cacheTest) open(partitions int) *fetchSession {
	s := &fetchSession{count: partitions}
	if !c.add(s) {
		return nil
	}
	return s
}

func (c *cacheTest) use(s *fetchSession) {
	c.t.Helper()
	if _, code := c.begin(s.id, s.epoch, false, nil); code != 0 {
		c.t.Fatalf("session %d: code %d", s.id, code)
	}
	c.end(s)
}

func (c *cacheTest) wantGone(s *fetchSession, gone bool) {
	c.t.Helper()
	if (c.mu.byID[s.id] == nil) != gone {
		c.t.Errorf("session of %d partitions is gone: %v", s.count, !gone)
	}
}

// TestSessionEviction: Apache Kafka's rules for who makes room.
func TestSessionEviction(t *testing.T) {
	c := newCacheTest(t, 3)
	small, large, other := c.open(2), c.open(20), c.open(5)
	if c.open(100) != nil {
		t.Fatal("young sessions are evicted")
	}
	c.clock = c.clock.Add(sessionStale)
	for _, s := range []*fetchSession{small, large, other} {
		c.use(s)
	}
	if c.open(100) != nil {
		t.Fatal("sessions of exactly two minutes are evicted")
	}
	c.clock = c.clock.Add(time.Millisecond)
	if c.open(100) != nil {
		t.Fatal("how long a session lived was not looked at when it was used")
	}
	for _, s := range []*fetchSession{small, large, other} {
		c.use(s)
	}
	if c.open(2) != nil {
		t.Fatal("a session as large as the new one is evicted")
	}
	if c.room(2) || !c.room(3) {
		t.Error("room is not what add finds")
	}
	next := c.open(3)
	if next == nil {
		t.Fatal("a smaller session is not evicted")
	}
	c.wantGone(small, true)
	c.wantGone(other, false)
	// Now all but the newest are unused for long: the oldest goes, whatever its size.
	c.clock = c.clock.Add(time.Minute)
	c.use(other)
	c.use(next)
	c.clock = c.clock.Add(sessionStale - time.Minute + time.Millisecond)
	if c.open(1) == nil {
		t.Fatal("a session unused for two minutes is not evicted")
	}
	c.wantGone(large, true)
	c.wantGone(other, false)
	c.wantGone(next, false)
}

// TestSessionCacheBytes: sessions are bounded in memory, too.
func TestSessionCacheBytes(t *testing.T) {
	c := newCacheTest(t, 100)
	c.bytes = 3 * (&fetchSession{count: 10}).cost()
	var all []*fetchSession
	for range 3 {
		all = append(all, c.open(10))
	}
	if c.open(10) != nil {
		t.Fatal("more memory than there is")
	}
	c.clock = c.clock.Add(sessionStale + 1)
	if c.open(20) == nil {
		t.Fatal("unused sessions make no room")
	}
	c.wantGone(all[0], true)
	c.wantGone(all[1], true)
	c.wantGone(all[2], false)
	// A session that grows beyond what there is goes itself.
	s := all[2]
	s.count = 1000
	if c.changed(s) {
		t.Error("a session grows beyond the memory there is")
	}
	c.wantGone(s, true)
	if n, parts := c.counts(); n != 1 || parts != 20 || c.mu.used != (&fetchSession{count: 20}).cost() {
		t.Errorf("%d sessions, %d partitions, %d bytes", n, parts, c.mu.used)
	}
}

// TestSessionEvictedWhileBusy: the request that has the session ends as usual.
func TestSessionEvictedWhileBusy(t *testing.T) {
	c := newCacheTest(t, 1)
	s := c.open(1)
	if _, code := c.begin(s.id, 1, false, nil); code != 0 {
		t.Fatal(code)
	}
	c.clock = c.clock.Add(sessionStale + 1)
	if c.open(1) == nil {
		t.Fatal("no room is made")
	}
	if !c.changed(s) {
		t.Error("the request is refused")
	}
	s.attached = true
	c.end(s)
	if s.attached {
		t.Error("the session goes on watching")
	}
}

func TestSessionNumbers(t *testing.T) {
	if nextEpoch(initialEpoch) != 1 || nextEpoch(math.MaxInt32) != 1 || nextEpoch(7) != 8 {
		t.Error("epochs do not go 0, 1, … , 2^31-1, 1")
	}
	c := newCacheTest(t, 10)
	c.random = &counting{first: []uint32{0, 1 << 31, 5, 5, 1<<31 | 5, 6}}
	if a, b := c.open(1), c.open(1); a.id != 5 || b.id != 6 {
		t.Errorf("ids %d and %d, want 5 and 6: 0 means none, the sign is no part, no id twice", a.id, b.id)
	}
	if c := newCacheTest(t, 0); c.open(1) != nil {
		t.Error("a cache without slots has a session")
	}
	c = newCacheTest(t, 1)
	s := c.open(1)
	for range 3 {
		if got, code := c.begin(s.id, s.epoch, true, nil); got != nil || code != kerr.FetchSessionTopicIDError.Code {
			t.Errorf("code %d", code)
		}
	}
	c.use(s)
}
