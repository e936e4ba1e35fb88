package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerLeave is a heartbeat of a member that goes: for good, or a static one that
// will be back, whose partitions stay its own until its session ends. A static one may
// leave its instance out, as in other heartbeats: clients do, though Kafka refuses it.
func (c *Core) consumerLeave(now time.Time, req *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	g := c.groups[req.Group]
	switch {
	case req.MemberEpoch == epochStaticLeave && req.InstanceID == nil && !g.hasStatic(req.MemberID):
		return refuse(invalidRequest, "InstanceId can't be null.")
	case g == nil:
		return refuse(groupIDNotFound, "Group %s not found.", req.Group)
	case g.consumer == nil:
		return refuse(groupIDNotFound, "Group %s is not a consumer group.", req.Group)
	}
	m := g.consumer.members[req.MemberID]
	if req.InstanceID != nil {
		switch m = g.consumer.static[*req.InstanceID]; {
		case m == nil:
			return refuse(unknownMemberID, "Instance id %s is unknown.", *req.InstanceID)
		case m.id != req.MemberID:
			c.noteFenced(now, g, req.MemberID, *req.InstanceID, "leave")
			return refuse(fencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", req.MemberID, *req.InstanceID, m.id)
		}
	}
	if m == nil {
		return refuse(unknownMemberID, "Member %s is not a member of group %s.", req.MemberID, req.Group)
	}
	resp.MemberID, resp.MemberEpoch = &m.id, req.MemberEpoch
	if req.MemberEpoch == epochLeave {
		c.fenceConsumers(now, g, []*consumer{m}, EventLeft, "left by itself")
		return nil
	}
	g.consumer.own(m, m.assigned, nil)
	m.epoch = epochStaticLeave
	g.consumer.moved()
	c.timers.stop(&m.rebalance)
	c.weighConsumer(g, m)
	c.recordCurrent(g, m)
	c.noteConsumer(now, g, m, EventLeft, "left, to be back before its session ends")
	c.restate(now, g)
	return nil
}

// hasStatic tells whether a group, if there is one, has a static member of this id.
func (g *group) hasStatic(id string) bool {
	if g == nil || g.consumer == nil {
		return false
	}
	m := g.consumer.members[id]
	return m != nil && m.instance != nil
}

// consumerTimeout removes a member that was waited for long enough.
func (c *Core) consumerTimeout(now time.Time, g *group, m *consumer, why string) {
	c.fenceConsumers(now, g, []*consumer{m}, EventTimedOut, why)
}

// fenceConsumers takes members out of a group. If only members that speak the classic
// protocol stay, the group is theirs.
func (c *Core) fenceConsumers(now time.Time, g *group, gone []*consumer, kind EventKind, why string) {
	cg := g.consumer
	if len(gone) == 0 {
		return
	}
	downgrade := c.mayDowngrade(g, gone)
	for _, m := range gone {
		c.noteConsumer(now, g, m, kind, why)
	}
	if downgrade {
		c.downgrade(now, g, gone)
		return
	}
	for _, m := range gone {
		cg.lost += m.target.count()
		c.removeConsumer(g, m)
		c.eraseMember(g, m.id)
	}
	for _, m := range gone {
		c.dropRegex(g, m.regex)
	}
	reason := plural(len(gone), "member") + " are gone"
	if len(gone) == 1 {
		reason = "member " + gone[0].id + " is gone"
	}
	c.bump(now, g, reason)
	c.restate(now, g)
}

// heartbeatInterval is what a member is told. The configured one bounds it; below it
// joins and moves of partitions need not wait five seconds where that costs little. A
// Core with few members lets them come often, one with many at a steady rate: all
// Cores of a broker together see some thousands of heartbeats a second at most, four
// times as many while all their groups reconcile.
func (c *Core) heartbeatInterval(g *group) time.Duration {
	const (
		perSecond = 64
		shortest  = 500 * time.Millisecond
		hasty     = 200 * time.Millisecond
	)
	every := max(shortest, time.Duration(c.consumers)*time.Second/perSecond)
	if g.consumer.busy() {
		every = max(hasty, every/4)
	}
	return min(every, c.groupConfig(g.id).HeartbeatInterval)
}

func partitionsOf[V any](m map[int32]V) []int32 { return slices.Sorted(maps.Keys(m)) }
