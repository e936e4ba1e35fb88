package group

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// text is a string that may be null in the protocol, where null is as good as empty.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// noteMember notes what happened to a member of a classic group.
func (c *Core) noteMember(now time.Time, g *group, m *member, kind EventKind, reason string) {
	c.note(g, m.event(now, g, kind, reason))
}

func (m *member) event(now time.Time, g *group, kind EventKind, reason string) Event {
	return Event{At: now, Kind: kind, Member: m.id, Instance: text(m.instance), Client: m.client.ID, Host: m.client.Host,
		Epoch: g.generation, Reason: reason, Members: len(g.members)}
}

// noteGroup notes what happened to a group as a whole.
func (c *Core) noteGroup(now time.Time, g *group, kind EventKind, reason string) {
	c.note(g, Event{At: now, Kind: kind, Epoch: g.generation, Reason: reason, Members: g.size()})
}

// size is how many members a group of either protocol has.
func (g *group) size() int {
	if g.consumer != nil {
		return len(g.consumer.members)
	}
	return len(g.members)
}

// noteFenced notes that a process showed an instance that another one has by now.
// Two that take it from each other again and again are noted each time; one that
// only repeats its request is not.
func (c *Core) noteFenced(now time.Time, g *group, id, instance, request string) {
	if c.justFenced(g, id) {
		return
	}
	c.note(g, Event{At: now, Kind: EventFenced, Member: clip(id), Instance: instance, Epoch: g.generation,
		Reason:  fmt.Sprintf("%s, but another process is instance %q by now", request, instance),
		Members: g.size()})
}

// justFenced tells whether the last event of a group is that this member was fenced.
func (c *Core) justFenced(g *group, id string) bool {
	t := c.history.of[g.id]
	if t == nil || len(t.events) == 0 {
		return false
	}
	last := &t.events[len(t.events)-1]
	return last.Kind == EventFenced && last.Member == clip(id)
}

// because adds the reason that a client gave (KIP-800) to what the broker saw.
func because(what string, reason *string) string {
	if reason == nil || *reason == "" {
		return what
	}
	return fmt.Sprintf("%s: %q", what, clip(*reason))
}

// change says what a join of a member says that is new: other topics, other
// protocols, or other metadata of its assignor, which are not the broker's to read
// (sticky ones tell there what they own).
func (g *group) change(m *member, to []protocol) (EventKind, string) {
	names := func(list []protocol) string {
		var b []string
		for _, p := range list {
			b = append(b, p.name)
		}
		return strings.Join(b, ", ")
	}
	if was, is := names(m.protocols), names(to); was != is {
		return EventSubscriptionChanged, fmt.Sprintf("supports %s, was %s", is, was)
	}
	if g.usesConsumerProtocol() && len(to) > 0 {
		was, ok := topicsOf(m.protocols[0].metadata)
		is, ok2 := topicsOf(to[0].metadata)
		if ok && ok2 && was != is {
			return EventSubscriptionChanged, fmt.Sprintf("subscribes to %s, was %s", clip(is), clip(was))
		}
	}
	return EventRejoined, "with other metadata of its assignor"
}

// topicsOf are the topics of a subscription, for people.
func topicsOf(metadata []byte) (string, bool) {
	r := readTopics(metadata)
	var list [][]byte
	for name, ok := r.topic(); ok; name, ok = r.topic() {
		list = append(list, name)
	}
	if r.err != nil {
		return "", false
	}
	if len(list) == 0 {
		return "nothing", true
	}
	slices.SortFunc(list, bytes.Compare)
	return strings.ToValidUTF8(string(bytes.Join(list, []byte(", "))), "?"), true
}

// restarted notes, when the groups have been read, that what was before is not known.
func (c *Core) restarted(now time.Time, g *group) {
	kept, what := "the broker started again; the group had no members", "generation"
	if g.consumer != nil {
		what = "epoch"
	}
	if n := g.size(); n > 0 {
		kept = fmt.Sprintf("the broker started again; %s %d stands, and the assignment of %s", what, g.generation, plural(n, "member"))
	}
	c.noteGroup(now, g, EventRestarted, kept)
}

// plural is n things, for people.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
