package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// mayBeat finds reasons to refuse a heartbeat, before anything changes.
func (c *Core) mayBeat(now time.Time, g *group, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, x *Expression) *refusal {
	if err := c.mayBeIn(g, req); err != nil {
		return err
	}
	if x != nil && x.err != nil {
		return refuse(invalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.",
			clip(*req.SubscribedTopicRegex), clip(x.err.Error()))
	}
	var m *consumer
	if g != nil && g.consumer != nil {
		m = g.consumer.members[req.MemberID]
		if req.InstanceID != nil {
			static, err := c.mayBeStatic(now, g, req)
			if err != nil {
				return err
			}
			if static != nil {
				m = static
			}
		}
	}
	if m == nil && req.MemberEpoch != epochJoin {
		return refuse(unknownMemberID, "Member %s is not a member of group %s.", req.MemberID, req.Group)
	}
	if m != nil {
		if err := c.mayHaveEpoch(now, g, m, req); err != nil {
			return err
		}
	}
	if !c.beatFits(g, m, from, req, x) {
		return refuse(groupMaxSizeReached, "There is no memory left for what the members of the group subscribe to.")
	}
	return nil
}

// mayBeIn asks the group alone.
func (c *Core) mayBeIn(g *group, req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	joins := req.MemberEpoch == epochJoin
	size, known := 0, false
	switch {
	case g == nil && !joins:
		return refuse(groupIDNotFound, "Group %s not found.", req.Group)
	case g == nil && c.full:
		return refuse(groupMaxSizeReached, "The broker holds as many groups as it may.")
	case g == nil:
		return nil
	case g.consumer != nil:
		size, known = len(g.consumer.members), g.consumer.members[req.MemberID] != nil || g.consumer.hasInstance(req.InstanceID)
	case !joins:
		return refuse(groupIDNotFound, "Group %s is not a consumer group.", req.Group)
	case g.state != Empty:
		if err := c.mayUpgrade(g); err != nil {
			return err
		}
		size, known = len(g.members), g.byID[req.MemberID] != nil
	}
	if size >= c.cfg.Consumer.MaxSize && !known {
		return refuse(groupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", c.cfg.Consumer.MaxSize)
	}
	return nil
}

// mayBeStatic finds the member that has an instance now. Its next process may take its
// place when it has left, or speaks the classic protocol.
func (c *Core) mayBeStatic(now time.Time, g *group, req *kmsg.ConsumerGroupHeartbeatRequest) (*consumer, *refusal) {
	m := g.consumer.static[*req.InstanceID]
	switch {
	case m == nil && req.MemberEpoch != epochJoin:
		return nil, refuse(unknownMemberID, "Instance id %s is unknown.", *req.InstanceID)
	case m == nil || m.id == req.MemberID:
		return m, nil
	case req.MemberEpoch != epochJoin:
		c.noteFenced(now, g, req.MemberID, *req.InstanceID, "heartbeat")
		return nil, refuse(fencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", req.MemberID, *req.InstanceID, m.id)
	case m.classic == nil && m.epoch != epochStaticLeave:
		return nil, refuse(unreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by member %s.",
			req.MemberID, *req.InstanceID, m.id)
	}
	return m, nil
}

// mayHaveEpoch compares the epoch that a member shows with its own. An answer that
// brought a new epoch may have been lost: then the last one is good, if the member has
// nothing that it should not have.
func (c *Core) mayHaveEpoch(now time.Time, g *group, m *consumer, req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	relation := "greater"
	switch {
	case req.MemberEpoch == epochJoin || req.MemberEpoch == m.epoch:
		return nil
	case req.MemberEpoch < m.epoch:
		owned := ownedOf(req)
		if req.MemberEpoch == m.previous && owned.within(m.assigned) {
			return nil
		}
		relation = "smaller"
	}
	if !c.justFenced(g, m.id) {
		c.noteConsumer(now, g, m, EventFenced, fmt.Sprintf("heartbeat with epoch %d, its epoch is %d", req.MemberEpoch, m.epoch))
	}
	return refuse(fencedMemberEpoch, "The consumer group member has a %s member epoch (%d) than the one known by the group coordinator (%d). "+
		"The member must abandon all its partitions and rejoin.", relation, req.MemberEpoch, m.epoch)
}

// beatFits tells whether there is room for what a heartbeat says, in the place of what
// the member said before, and for an expression that is new to the group.
func (c *Core) beatFits(g *group, m *consumer, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, x *Expression) bool {
	next := consumer{id: req.MemberID}
	if m != nil {
		next = *m
	}
	setConsumer(&next, from, req)
	n := next.size()
	if x != nil {
		n += x.Bytes()
	}
	if m != nil {
		n -= m.size()
	}
	if g == nil {
		g = &group{}
	}
	return c.fits(g, n)
}
