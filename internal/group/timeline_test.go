package group

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTimelineKeepsTheLastEvents: of one group the last 100, in order.
func TestTimelineKeepsTheLastEvents(t *testing.T) {
	c := New(Config{})
	g := c.lookup("g")
	if _, ok := c.Timeline("g"); ok {
		t.Error("a group of which nothing was noted has a timeline")
	}
	for i := range maxEvents + 7 {
		c.note(g, Event{At: time.UnixMilli(int64(i)), Kind: EventJoined, Epoch: int32(i)})
	}
	events, ok := c.Timeline("g")
	if !ok || len(events) != maxEvents {
		t.Fatalf("%d events (%v), want %d", len(events), ok, maxEvents)
	}
	for i, e := range events {
		if e.Epoch != int32(i+7) {
			t.Fatalf("event %d is that of epoch %d", i, e.Epoch)
		}
	}
	events[0].Reason = "changed by the caller"
	if again, _ := c.Timeline("g"); again[0].Reason != "" {
		t.Error("the caller was given the timeline itself")
	}
	checkHistory(t, c)
}

// TestTimelineIsBounded: clients cannot fill memory with events, neither by long
// strings nor by many groups; those that are gone make room first, then those
// that are silent longest; what has just happened is there.
func TestTimelineIsBounded(t *testing.T) {
	c := New(Config{})
	c.history.max = 20_000
	gone := c.lookup("gone")
	c.note(gone, Event{Kind: EventLeft})
	old := c.lookup("old")
	c.note(old, Event{Kind: EventJoined})
	c.groupGone("gone")
	if _, ok := c.Timeline("gone"); !ok {
		t.Error("the timeline of a group is gone with it although there is room")
	}
	for i := range 1000 {
		g := c.lookup(fmt.Sprintf("g%d", i))
		c.note(g, Event{Kind: EventJoined, Client: strings.Repeat("é", 20_000), Reason: strings.Repeat("r", 30_000)})
		if c.history.bytes > 20_000 {
			t.Fatalf("%d bytes after %d groups", c.history.bytes, i+1)
		}
		if events, ok := c.Timeline(g.id); !ok || len(events) != 1 || len(events[0].Client) > maxEventText {
			t.Fatalf("the newest event is not there, or too long: %v", events)
		}
		_, hasGone := c.Timeline("gone")
		if _, hasOld := c.Timeline("old"); hasGone && !hasOld {
			t.Fatal("a group that is there was forgotten before one that is gone")
		}
	}
	if _, ok := c.Timeline("old"); ok {
		t.Error("the group that was silent longest is still remembered")
	}
	checkHistory(t, c)
	big := c.lookup("big")
	c.note(big, Event{Kind: EventJoined, Member: strings.Repeat("m", 25_000)})
	if events, _ := c.Timeline("big"); len(events) != 1 {
		t.Error("the newest event did not stay")
	}
	if len(c.history.of) != 1 {
		t.Errorf("%d groups are remembered beside one that is over the bound", len(c.history.of)-1)
	}
	checkHistory(t, c)
}

// checkHistory counts anew what the history has counted.
func checkHistory(t *testing.T, c *Core) {
	t.Helper()
	h, bytes := &c.history, int64(0)
	for _, tl := range h.of {
		bytes += tl.size()
		for i := range tl.events {
			bytes += tl.events[i].size()
		}
	}
	if bytes != h.bytes {
		t.Errorf("%d bytes are counted, the timelines take %d", h.bytes, bytes)
	}
	if n := h.live.Len() + h.gone.Len(); n != len(h.of) {
		t.Errorf("%d timelines in order, %d in all", n, len(h.of))
	}
}
