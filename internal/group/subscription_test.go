package group

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzTopics feeds the reader of subscriptions and assignments any bytes. What the
// protocol's own decoder reads it must read alike; what ends too early is bad.
func FuzzTopics(f *testing.F) {
	f.Add(subscription("[a+b]"))
	f.Add(assignment("[a/0+a/1+b/7]"))
	f.Add([]byte{0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 1, 'a'})
	f.Add([]byte{0, 1, 0, 0, 0, 1, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 1, 'a', 0x80, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var topics []string
		r := readTopics(b)
		for name, ok := r.topic(); ok; name, ok = r.topic() {
			topics = append(topics, string(name))
		}
		var sub kmsg.ConsumerMemberMetadata
		// Where a count below zero stands the decoder sees nothing, Kafka an error.
		if sub.ReadFrom(b) == nil && bytes.Equal(sub.AppendTo(nil), b) && (r.err != nil || !slices.Equal(topics, sub.Topics)) {
			t.Errorf("subscription: %q (%v), want %q", topics, r.err, sub.Topics)
		}
		owners, ok := ownersOf([]share{{"m", b}})
		var as kmsg.ConsumerMemberAssignment
		if len(b) == 0 || as.ReadFrom(b) != nil || !bytes.Equal(as.AppendTo(nil), b) {
			return
		}
		want := map[place]string{}
		for _, a := range as.Topics {
			for _, p := range a.Partitions {
				want[place{a.Topic, p}] = "m"
			}
		}
		if !ok || len(owners) != len(want) {
			t.Fatalf("assignment: %v (%v), want %v", owners, ok, want)
		}
		for p := range want {
			if owners[p] != "m" {
				t.Errorf("nobody owns %v", p)
			}
		}
	})
}

// TestTopicsAllocateNothing: counts that lie cost nothing.
func TestTopicsAllocateNothing(t *testing.T) {
	lie := binary.BigEndian.AppendUint32([]byte{0, 0}, 1<<31-1)
	lie = append(lie, 0, 1, 'a')
	lie = binary.BigEndian.AppendUint32(lie, 1<<30)
	if n := testing.AllocsPerRun(100, func() {
		r := readTopics(lie)
		for _, ok := r.topic(); ok; _, ok = r.topic() {
			r.partitions()
		}
		if r.err == nil {
			t.Error("it is good")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMoved: what counts as moved between two generations.
func TestMoved(t *testing.T) {
	type members map[string]string // id, or "i:" and instance, → assignment
	for _, c := range []struct {
		name          string
		before, after members
		want          int
	}{
		{"the first assignment", nil, members{"a": "[t/0+t/1]"}, 0},
		{"nothing", members{"a": "[t/0]", "b": "[t/1]"}, members{"a": "[t/0]", "b": "[t/1]"}, 0},
		{"to a new member", members{"a": "[t/0+t/1]"}, members{"a": "[t/0]", "b": "[t/1]"}, 1},
		{"from one that is gone", members{"a": "[t/0]", "b": "[t/1+u/1]"}, members{"a": "[t/0+t/1+u/1]"}, 2},
		{"given up, for now", members{"a": "[t/0+t/1]"}, members{"a": "[t/0]", "b": "[]"}, 1},
		{"new partitions", members{"a": "[t/0]"}, members{"a": "[t/0+t/1]", "b": "[u/0]"}, 0},
		{"to the next process of an instance", members{"i:x": "[t/0]"}, members{"i:x": "[t/0]"}, 0},
		{"to nobody", members{"a": "[t/0]"}, members{"a": ""}, 1},
		{"unreadable before", members{"a": "[t/0]", "b": "?"}, members{"a": "[t/0]"}, -1},
		{"unreadable after", members{"a": "[t/0]"}, members{"a": "?"}, -1},
	} {
		core := New(Config{})
		g := core.lookup("g")
		g.protocolType = consumerProtocol
		set := func(list members) {
			g.members = nil
			for id, what := range list {
				m := &member{id: id, assignment: assignment(what)}
				if what == "" {
					m.assignment = nil
				}
				if id[0] == 'i' {
					m.id, m.instance = fmt.Sprint(len(g.members)), kmsg.StringPtr(id)
				}
				g.members = append(g.members, m)
			}
		}
		set(c.before)
		g.state = Stable
		if c.before != nil {
			core.keepOwned(g)
		}
		g.state = PreparingRebalance
		set(c.after)
		if got := core.moved(g); got != c.want {
			t.Errorf("%s: %d moved, want %d", c.name, got, c.want)
		}
		if core.Held() != 0 {
			t.Errorf("%s: %d bytes are still counted", c.name, core.Held())
		}
	}
}

// TestMovedIsBounded: large assignments are not looked into, nor kept.
func TestMovedIsBounded(t *testing.T) {
	core := New(Config{MaxGroupBytes: 4 << 20})
	g := core.lookup("g")
	g.protocolType, g.state = consumerProtocol, Stable
	g.members = []*member{{id: "a", assignment: bytes.Repeat([]byte{1}, maxReadable+1)}}
	core.keepOwned(g)
	if core.Held() != 0 || !g.owned.opaque {
		t.Errorf("%d bytes are kept", core.Held())
	}
	if n := core.moved(g); n != -1 {
		t.Errorf("%d moved", n)
	}
}

// TestChangesInWords: what a join that differs from the last one is called.
func TestChangesInWords(t *testing.T) {
	of := func(list ...string) []protocol {
		var p []protocol
		for i := 0; i < len(list); i += 2 {
			p = append(p, protocol{list[i], subscription(list[i+1])})
		}
		return p
	}
	g := New(Config{}).lookup("g")
	g.protocolType = consumerProtocol
	for _, c := range []struct {
		was, is []protocol
		kind    EventKind
		words   string
	}{
		{of("range", "[b+a]"), of("range", "[a+c+b]"), EventSubscriptionChanged, "subscribes to a, b, c, was a, b"},
		{of("range", "[a]"), of("range", "[]"), EventSubscriptionChanged, "subscribes to nothing, was a"},
		{of("range", "[a]"), of("range", "[a]", "rr", "[a]"), EventSubscriptionChanged, "supports range, rr, was range"},
		{of("range", "owned 1"), of("range", "owned 2"), EventRejoined, "with other metadata of its assignor"},
	} {
		m := &member{protocols: c.was}
		if kind, words := g.change(m, c.is); kind != c.kind || words != c.words {
			t.Errorf("%s: %q, want %s: %q", kind, words, c.kind, c.words)
		}
	}
	e := (&member{id: "m"}).event(time.Time{}, g, EventLeft, because("by itself", kmsg.StringPtr("the consumer is being closed")))
	if e.Reason != `by itself: "the consumer is being closed"` {
		t.Errorf("reason %s", e.Reason)
	}
}
