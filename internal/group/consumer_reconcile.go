package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/weirstream/weir/internal/assignor"
)

// A member goes from the assignment it has to its target in steps. First it is told
// to let go what it shall not have, and stays in its epoch until it says that it has
// (memberUnrevoked). Then it takes the epoch of the target, and of the new partitions
// those that nobody has (memberUnreleased while others still have some).

// ownedParts are the partitions that a member says it has; said is false if it did
// not say.
type ownedParts struct {
	topics map[assignor.TopicID]map[int32]bool
	said   bool
}

func ownedOf(req *kmsg.ConsumerGroupHeartbeatRequest) ownedParts {
	if req.Topics == nil {
		return ownedParts{}
	}
	o := ownedParts{topics: map[assignor.TopicID]map[int32]bool{}, said: true}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			o.add(t.TopicID, p)
		}
	}
	return o
}

func (o *ownedParts) add(topic assignor.TopicID, partition int32) {
	if o.topics[topic] == nil {
		o.topics[topic] = map[int32]bool{}
	}
	o.topics[topic][partition] = true
}

// within tells whether all that the member has is in p.
func (o *ownedParts) within(p holdings) bool {
	for topic, partitions := range o.topics {
		for partition := range partitions {
			if _, ok := p[topic][partition]; !ok {
				return false
			}
		}
	}
	return o.said
}

// holdsAny tells whether the member may still have one of p.
func (o *ownedParts) holdsAny(p holdings) bool {
	if !o.said {
		return true
	}
	for topic, partitions := range p {
		for partition := range partitions {
			if o.topics[topic][partition] {
				return true
			}
		}
	}
	return false
}

// reconcile takes a member a step towards its target, if it can, and tells whether
// anything changed. changed says that its subscription did: what it does not want
// any more is taken from it at once.
func (c *Core) reconcile(now time.Time, g *group, m *consumer, owned ownedParts, changed bool) bool {
	cg := g.consumer
	if m.reconciled(cg.assignmentEpoch) && !changed {
		return false
	}
	s := step{c: c, cg: cg, m: m, owned: owned}
	switch m.state {
	case memberStable:
		if m.epoch == cg.assignmentEpoch {
			s.shrink()
		} else {
			s.next()
		}
	case memberUnrevoked:
		if !owned.holdsAny(m.revoking) {
			s.next()
		} else if changed {
			s.shrink()
		}
	case memberUnreleased:
		s.next()
	}
	if !s.taken {
		return false
	}
	c.weighConsumer(g, m)
	c.recordCurrent(g, m)
	if m.classic == nil && m.state == memberUnrevoked {
		c.timers.set(&m.rebalance, now.Add(m.rebalanceTimeout))
	} else {
		c.timers.stop(&m.rebalance)
	}
	return true
}

// step is one step of a member.
type step struct {
	c     *Core
	cg    *consumerGroup
	m     *consumer
	owned ownedParts
	taken bool
}

// wants are the ids of the topics that the member subscribes to.
func (s *step) wants() map[assignor.TopicID]bool {
	ids := map[assignor.TopicID]bool{}
	for name := range s.cg.subscribesTo(s.m) {
		if id, _, ok := s.c.cluster.Topic(name); ok {
			ids[id] = true
		}
	}
	return ids
}

// shrink takes what the member does not subscribe to any more.
func (s *step) shrink() {
	wants := s.wants()
	keep, revoke := holdings{}, holdings{}
	revoke.merge(s.m.revoking)
	for topic, partitions := range s.m.assigned {
		if wants[topic] {
			keep[topic] = partitions
		} else {
			revoke.merge(holdings{topic: partitions})
		}
	}
	switch {
	case len(keep) == len(s.m.assigned):
	case s.owned.holdsAny(revoke):
		s.take(memberUnrevoked, s.m.epoch, keep, revoke)
	default:
		s.take(s.m.state, s.m.epoch, keep, s.m.revoking)
	}
}

// next computes the next assignment of the member.
func (s *step) next() {
	wants := s.wants()
	keep, revoke, give := holdings{}, holdings{}, holdings{}
	for topic, partitions := range s.m.assigned {
		wanted := map[int32]bool{}
		if wants[topic] {
			for _, p := range s.m.target[topic] {
				wanted[p] = true
			}
		}
		for p, epoch := range partitions {
			if wanted[p] {
				keep.add(topic, p, epoch)
			} else {
				revoke.add(topic, p, epoch)
			}
		}
	}
	unreleased := false
	for topic, partitions := range s.m.target {
		if !wants[topic] {
			continue
		}
		for _, p := range partitions {
			_, has := s.m.assigned[topic][p]
			owner := s.cg.owners[topic][p]
			switch {
			case has:
			case owner != nil && owner != s.m:
				unreleased = true
			default:
				give.add(topic, p, s.cg.assignmentEpoch)
			}
		}
	}
	if len(revoke) > 0 && s.owned.holdsAny(revoke) {
		s.take(memberUnrevoked, s.m.epoch, keep, revoke)
		return
	}
	keep.merge(give)
	state := memberStable
	if unreleased {
		state = memberUnreleased
	}
	s.take(state, s.cg.assignmentEpoch, keep, nil)
}

// take makes the step, unless the member stands there already.
func (s *step) take(state memberState, epoch int32, assigned, revoking holdings) {
	m := s.m
	if m.state == state && m.epoch == epoch && assigned.equal(m.assigned) && revoking.equal(m.revoking) {
		return
	}
	s.taken = true
	if epoch != m.epoch {
		m.previous = m.epoch
	}
	m.epoch, m.state = epoch, state
	s.cg.moved()
	s.cg.own(m, assigned, revoking)
}

// add changes p, which nobody else may have seen yet.
func (p *holdings) add(topic assignor.TopicID, partition, epoch int32) {
	if *p == nil {
		*p = holdings{}
	}
	if (*p)[topic] == nil {
		(*p)[topic] = map[int32]int32{}
	}
	(*p)[topic][partition] = epoch
}

// merge adds all of q.
func (p *holdings) merge(q holdings) {
	for topic, partitions := range q {
		for partition, epoch := range partitions {
			p.add(topic, partition, epoch)
		}
	}
}

func (p holdings) equal(q holdings) bool {
	if len(p) != len(q) {
		return false
	}
	for topic, partitions := range p {
		other := q[topic]
		if len(partitions) != len(other) {
			return false
		}
		for partition, epoch := range partitions {
			if e, ok := other[partition]; !ok || e != epoch {
				return false
			}
		}
	}
	return true
}

// sameParts tells whether p and q are the same partitions, whatever their epochs.
func sameParts(p, q holdings) bool {
	if len(p) != len(q) {
		return false
	}
	for topic, partitions := range p {
		if len(partitions) != len(q[topic]) {
			return false
		}
		for partition := range partitions {
			if _, ok := q[topic][partition]; !ok {
				return false
			}
		}
	}
	return true
}
