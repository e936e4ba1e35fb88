package broker

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveUnread has four clients ask for answers that they do not read, behind what
// before asks for, and then leaves the budget no room for another one.
func leaveUnread(t *testing.T, b *Broker, before []byte) {
	t.Helper()
	mustCreate(t, b, 1000)
	for range 4 {
		c := dialInBubble(t, b)
		go func() {
			if _, err := c.Write(before); err != nil {
				return
			}
			for range 3 {
				if _, err := c.Write(aboutT()); err != nil {
					return
				}
			}
		}()
	}
	synctest.Wait()
	used := b.answers.inUse()
	if used < 256<<10 {
		t.Fatalf("%d bytes are counted", used)
	}
	b.answers.mu.Lock()
	b.answers.total = used + 100<<10
	b.answers.mu.Unlock()
}

// wantAnswer asks for a large answer and tells how long it took.
func wantAnswer(t *testing.T, b *Broker) time.Duration {
	t.Helper()
	c := dialInBubble(t, b)
	defer c.Close()
	begun := time.Now()
	mustWrite(t, c, aboutT())
	if resp := decodeAnswer(t, c, kmsg.NewPtrMetadataResponse(), 7); len(resp.Topics[0].Partitions) != 1000 {
		t.Error("not the answer")
	}
	return time.Since(begun)
}

// TestStalledReadersGoWhenOthersWait, however long they may be idle: clients that
// read nothing kept all others from large answers for connections.max.idle.ms.
func TestStalledReadersGoWhenOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		leaveUnread(t, b, nil)
		if took := wantAnswer(t, b); took < stallAfter || took > stallAfter+lookAgain {
			t.Errorf("an answer after %v", took)
		}
		synctest.Wait()
		if n := b.answers.inUse(); n != 0 {
			t.Errorf("%d bytes are counted", n)
		}
		if took := wantAnswer(t, b); took != 0 {
			t.Errorf("the next answer after %v", took)
		}
	})
}

// TestAnswersBehindALongPoll are kept by nobody when others wait: 64 clients with
// 4 MiB each could have held the budget for 24 days.
func TestAnswersBehindALongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		made, _, err := b.metadata.create(context.Background(), "polled", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		poll := sessionRequest(12, made.ID, finalEpoch)
		poll.Topics[0].Topic, poll.MinBytes, poll.MaxWaitMillis = "polled", 1, math.MaxInt32
		leaveUnread(t, b, encode(poll, 1))
		time.Sleep(time.Minute) // nobody minds
		if n := openConns(b); n != 4 {
			t.Fatalf("%d connections are left when nobody waits", n)
		}
		if took := wantAnswer(t, b); took != 0 {
			t.Errorf("an answer after %v", took)
		}
	})
}

// TestSlowIsNotStalled: who takes 20 KiB of a large answer each second keeps its
// connection, though the answer takes longer than stallAfter.
func TestSlowIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		mustCreate(t, b, 8000)
		slow := dialInBubble(t, b)
		defer slow.Close()
		mustWrite(t, slow, aboutT())
		synctest.Wait()
		for range 12 {
			time.Sleep(time.Second)
			b.closeStalled()
			if _, err := io.ReadFull(slow, make([]byte, 20<<10)); err != nil {
				t.Fatalf("a slow client: %v", err)
			}
		}
	})
}

// TestTakingIsToldByTheSystem: a client whose writes do not end is stalled once it took
// less than pieceBytes for stallAfter, and at once if it took nothing for as long.
func TestTakingIsToldByTheSystem(t *testing.T) {
	type look struct {
		at      time.Duration
		acked   uint64
		quiet   time.Duration
		stalled bool
	}
	const s = time.Second
	for name, looks := range map[string][]look{
		"takes nothing":           {{100 * s, 9000, 5 * s, true}},
		"stopped a moment ago":    {{100 * s, 9000, 4 * s, false}, {104 * s, 9000, 8 * s, false}, {105 * s, 9000, 9 * s, true}},
		"slow":                    {{100 * s, 0, s, false}, {104 * s, 64 << 10, 0, false}, {108 * s, 128 << 10, 3 * s, false}, {112 * s, 200 << 10, 0, false}},
		"too slow":                {{100 * s, 0, s, false}, {104 * s, 60 << 10, 0, false}, {105 * s, 64<<10 - 1, 0, true}},
		"stopped since long":      {{100 * s, 0, s, false}, {900 * s, 8 << 20, 700 * s, true}},
		"nothing since long":      {{100 * s, 0, s, false}, {900 * s, 0, s, true}},
		"slow after a long while": {{100 * s, 0, s, false}, {900 * s, 8 << 20, s, false}, {904 * s, 8<<20 + 64<<10, s, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var c taking
			for _, l := range looks {
				if got := c.stalled(int64(l.at), sent{l.acked, l.quiet}); got != l.stalled {
					t.Errorf("at %v: stalled is %t", l.at, got)
				}
			}
		})
	}
}

// TestClientNamesItselfAnew while others tell why its connection is closed; the race
// detector minds if the name can be torn.
func TestClientNamesItselfAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		nc := dialInBubble(t, b)
		b.mu.Lock()
		c := slices.Collect(maps.Keys(b.mu.conns))[0]
		b.mu.Unlock()
		var told sync.WaitGroup
		told.Go(func() {
			for range 100 {
				b.logClosed(c, errStalled)
			}
		})
		for _, name := range []string{"a", "bb", "ccc"} {
			mustWrite(t, nc, kmsg.NewRequestFormatter(kmsg.FormatterClientID(name)).AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1))
			readAnswer(t, nc)
		}
		told.Wait()
		if got := *c.clientID.Load(); got != "ccc" {
			t.Errorf("the client is called %q", got)
		}
		nc.Close()
	})
}

// TestRoomIsMadeBeforeRefusing: who must not wait for memory has stalled clients closed,
// too, before it is refused; nothing stays counted.
func TestRoomIsMadeBeforeRefusing(t *testing.T) {
	answers := newBudget(100 << 10)
	c := &call{ctx: t.Context(), conn: &conn{b: &Broker{answers: answers}}, slot: &slot{ready: make(chan struct{}, 2)}}
	var pressed int
	fill := func() {
		if !answers.try(answers.total - answers.inUse()) {
			t.Fatal("cannot be filled")
		}
		stalled := answers.inUse()
		answers.press = func() {
			pressed++
			answers.release(stalled)
			stalled = 0
		}
	}
	fill()
	if err := c.tryReserve(60 << 10); err != nil || pressed != 1 {
		t.Errorf("a part of an answer: %v, pressed %d times", err, pressed)
	}
	c.slot.buf = make([]byte, 10<<10)
	c.conn.answered(c.slot) // less than it has for itself
	fill()
	c.slot.buf = make([]byte, 50<<10)
	c.conn.answered(c.slot)
	if c.slot.refused != nil || pressed != 2 {
		t.Errorf("an answer: %v, pressed %d times", c.slot.refused, pressed)
	}
	c.conn.uncount(60 << 10)
	if used := answers.inUse(); used != 0 {
		t.Errorf("%d bytes are counted", used)
	}
	fill()
	answers.press = func() { pressed++ }
	if err := c.tryReserve(60 << 10); !errors.Is(err, errNoRoom) {
		t.Errorf("nobody is stalled: %v", err)
	}
}
