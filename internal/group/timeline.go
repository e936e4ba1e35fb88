package group

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
	"time"
)

// EventKind says what happened to a group.
type EventKind string

// What a timeline tells. Those of members name who; those of rebalances and of
// offsets are about the group.
const (
	EventJoined              EventKind = "joined"               // a new member
	EventRejoined            EventKind = "rejoined"             // a member asked for a new round
	EventReplaced            EventKind = "replaced"             // a static member's next process took its place
	EventLeft                EventKind = "left"                 // by itself, or an administrator removed it
	EventTimedOut            EventKind = "timed out"            // not heard of for its session or rebalance timeout
	EventFenced              EventKind = "fenced"               // it showed an epoch or instance that is not its own any more
	EventSubscriptionChanged EventKind = "subscription changed" // a member wants other topics, or another assignor
	EventMetadataChanged     EventKind = "metadata changed"     // topics or partitions came or went
	EventRebalanceBegan      EventKind = "rebalance began"
	EventLeaderElected       EventKind = "leader elected"
	EventAssignmentComputed  EventKind = "assignment computed"
	EventStable              EventKind = "became stable"
	EventEmpty               EventKind = "became empty"
	EventRestarted           EventKind = "restarted" // the broker was; what was before is not known
	EventMigrated            EventKind = "migrated"  // between the classic and the consumer protocol
	EventOffsetsExpired      EventKind = "offsets expired"
	EventOffsetsDeleted      EventKind = "offsets deleted"
	EventGroupDeleted        EventKind = "group deleted"
)

// Event is one thing that happened to a group. What does not apply is zero.
type Event struct {
	At       time.Time
	Kind     EventKind
	Member   string // member id
	Instance string // of a static member
	Client   string // client id
	Host     string // as Kafka prints it: "/127.0.0.1"
	Epoch    int32  // generation of a classic group, epoch of a consumer group, after the event
	Reason   string // in plain words; what clients gave as theirs (KIP-800) is quoted in it
	// Duration of what ended: of a rebalance when the group became stable, of the
	// silence of a member that timed out.
	Duration time.Duration
	// Moved is, of an assignment, how many partitions were taken from one member,
	// whether another has them by now or not; -1: the broker cannot read it.
	Moved   int
	Members int // how many the group has after the event
}

const (
	maxEvents = 100 // of one group
	// maxTimelines is how many bytes the timelines of one Core take at most. The
	// broker has 50 Cores, so all of them take 32 MiB: every event of 1,300 groups,
	// or the last 13 of 10,000.
	maxTimelines  = 640 << 10
	eventBytes    = 256 // about what an event takes besides its strings
	timelineBytes = 256 // about what a timeline takes besides its events
	maxEventText  = 255 // of each string of an event, but member ids
)

// timeline is what is remembered of one group, the oldest event first.
type timeline struct {
	group  string
	events []Event
	gone   bool // the group is not there any more
	place  *list.Element
}

// history holds the timelines of a Core. When there is no room, groups that are
// gone are forgotten first, then the oldest events of the group whose last event
// is longest ago; the event that was just noted always stays.
type history struct {
	max   int64 // bytes; 0: maxTimelines
	of    map[string]*timeline
	live  list.List // of *timeline, the longest silent first
	gone  list.List
	bytes int64
}

// note adds an event to the timeline of a group. The timeline is not persisted:
// after a restart it begins with EventRestarted.
func (c *Core) note(g *group, e Event) {
	if c.cfg.Noted != nil {
		c.cfg.Noted(e.Kind)
	}
	h := &c.history
	t := h.of[g.id]
	if t == nil {
		if h.of == nil {
			h.of = map[string]*timeline{}
		}
		t = &timeline{group: strings.Clone(g.id)}
		t.place = h.live.PushBack(t)
		h.of[t.group] = t
		h.bytes += t.size()
	}
	c.moveTimeline(t, false)
	for _, s := range []*string{&e.Instance, &e.Client, &e.Host, &e.Reason} {
		*s = clip(*s)
	}
	if len(t.events) == maxEvents {
		c.forgetEvent(t)
	}
	t.events = append(t.events, e)
	h.bytes += e.size()
	limit := cmp.Or(h.max, maxTimelines)
	for h.bytes > limit && c.forgetOldest(t) {
	}
}

// Timeline returns the last events of a group, the oldest first, also of one
// that was deleted not long ago; false if nothing is known of it.
func (c *Core) Timeline(group string) ([]Event, bool) {
	t := c.history.of[group]
	if t == nil {
		return nil, false
	}
	return slices.Clone(t.events), true
}

// moveTimeline makes t the last one of the groups that are there, or are gone.
func (c *Core) moveTimeline(t *timeline, gone bool) {
	h := &c.history
	from, to := &h.live, &h.live
	if t.gone {
		from = &h.gone
	}
	if gone {
		to = &h.gone
	}
	from.Remove(t.place)
	t.gone, t.place = gone, to.PushBack(t)
}

// groupGone keeps the timeline of a group that is not there any more for as long
// as there is room.
func (c *Core) groupGone(id string) {
	if t := c.history.of[id]; t != nil {
		c.moveTimeline(t, true)
	}
}

// forgetOldest makes room, but not at the cost of the newest event of keep; false
// if there is nothing else.
func (c *Core) forgetOldest(keep *timeline) bool {
	h := &c.history
	if first := h.gone.Front(); first != nil {
		c.forgetTimeline(first.Value.(*timeline))
		return true
	}
	t := h.live.Front().Value.(*timeline)
	switch {
	case len(t.events) > 1:
		c.forgetEvent(t)
	case t != keep:
		c.forgetTimeline(t)
	default:
		return false
	}
	return true
}

func (c *Core) forgetEvent(t *timeline) {
	c.history.bytes -= t.events[0].size()
	t.events[0] = Event{}
	t.events = t.events[1:]
}

func (c *Core) forgetTimeline(t *timeline) {
	h := &c.history
	for len(t.events) > 0 {
		c.forgetEvent(t)
	}
	h.bytes -= t.size()
	if t.gone {
		h.gone.Remove(t.place)
	} else {
		h.live.Remove(t.place)
	}
	delete(h.of, t.group)
}

// size is about what a timeline takes besides its events.
func (t *timeline) size() int64 { return int64(timelineBytes + 2*len(t.group)) }

func (e *Event) size() int64 {
	return int64(eventBytes + len(e.Member) + len(e.Instance) + len(e.Client) + len(e.Host) + len(e.Reason))
}

// clip cuts a string of a client, so that it cannot fill a timeline.
func clip(s string) string {
	if len(s) <= maxEventText {
		return s
	}
	return strings.ToValidUTF8(s[:maxEventText-len("…")], "") + "…"
}
