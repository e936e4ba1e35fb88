package group

import (
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/internal/assignor"
)

// Records of a consumer group come in the order in which they were written, but a
// compacted log has lost those that later ones replaced. So a member's assignment may
// come before its metadata, and who owns what is known only when all have been read.

// replayConsumer applies a record of a consumer group.
func (c *Core) replayConsumer(g *group, x *consumerEntry) {
	if x.tombstone {
		if g.consumer != nil {
			c.replayTombstone(g, x)
		}
		return
	}
	if x.kind == keyConsumerPartitions {
		return
	}
	if g.consumer == nil {
		c.reset(g)
		g.consumer = newConsumerGroup(c, g)
		g.consumer.replayed = true
	}
	g.persisted = true
	cg := g.consumer
	switch x.kind {
	case keyConsumerGroup:
		cg.epoch, cg.hash = x.epoch, x.hash
	case keyConsumerTargetEpoch:
		cg.assignmentEpoch = x.epoch
		if x.at > 0 {
			cg.assignedAt = time.UnixMilli(x.at)
		}
	case keyConsumerRegex:
		r := cg.regexes[x.name] // a long log tells one often, and to compile it takes a while
		if r == nil {
			r, _ = compileRegex(x.name)
		}
		if r != nil {
			r.topics, r.since = sortedSet(x.topics), x.at
			cg.regexes[x.name] = r
		}
	case keyConsumerMember:
		m := c.replayMember(g, x.name)
		m.known = true
		m.instance, m.rack, m.client, m.rebalanceTimeout = x.member.instance, x.member.rack, x.member.client, x.member.rebalanceTimeout
		m.topics, m.regex, m.assignor, m.classic = x.member.topics, x.member.regex, x.member.assignor, x.member.classic
	case keyConsumerTarget:
		c.replayMember(g, x.name).target = x.target
	case keyConsumerCurrent:
		m := c.replayMember(g, x.name)
		m.epoch, m.previous, m.state = x.member.epoch, x.member.previous, x.member.state
		m.assigned, m.revoking = x.member.assigned, x.member.revoking
	}
}

// replayMember finds or makes the member that a record speaks of.
func (c *Core) replayMember(g *group, id string) *consumer {
	m := g.consumer.members[id]
	if m == nil {
		m = c.newConsumer(g, id)
		m.known = false
		g.consumer.members[id] = m
	}
	return m
}

func (c *Core) replayTombstone(g *group, x *consumerEntry) {
	cg := g.consumer
	m := cg.members[x.name]
	switch x.kind {
	case keyConsumerGroup:
		c.forgetConsumers(g)
		return
	case keyConsumerTargetEpoch:
		cg.assignmentEpoch, cg.assignedAt = 0, time.Time{}
		return
	case keyConsumerRegex:
		delete(cg.regexes, x.name)
		return
	}
	if m == nil {
		return
	}
	switch x.kind {
	case keyConsumerMember:
		m.known = false
	case keyConsumerTarget:
		m.target = nil
	case keyConsumerCurrent:
		m.epoch, m.previous, m.state, m.assigned, m.revoking = 0, -1, memberStable, nil, nil
	}
	if !m.known && m.target == nil && m.epoch == 0 {
		delete(cg.members, x.name)
	}
}

// forgetConsumers takes the membership of a consumer group from a group, which is
// then an empty classic one.
func (c *Core) forgetConsumers(g *group) {
	cg := g.consumer
	if cg == nil {
		return
	}
	for _, m := range cg.members {
		c.stopTimers(m)
		c.reweigh(g, &m.held, 0)
	}
	for _, r := range cg.regexes {
		c.reweigh(g, &r.held, 0)
	}
	c.timers.stop(&cg.assignTimer)
	if !cg.replayed {
		c.consumers -= len(cg.members)
	}
	g.consumer, g.persisted = nil, false
	g.state, g.generation, g.protocolType = Empty, 0, ""
}

func (c *Core) stopTimers(m *consumer) {
	for _, t := range []*timer{&m.session, &m.rebalance, &m.join, &m.sync} {
		c.timers.stop(t)
	}
}

// readyConsumers ends the replay of a consumer group. Members get a whole session to
// be heard of again, with the epochs and partitions they had.
func (c *Core) readyConsumers(now time.Time, g *group) {
	cg := g.consumer
	for _, id := range slices.Sorted(maps.Keys(cg.members)) {
		m := cg.members[id]
		if !m.known {
			delete(cg.members, id) // no broker leaves that, but a file may hold anything
			continue
		}
		if m.state < memberStable || m.state > memberUnreleased {
			// Kafka may know another state by then. A step out of this one begins with
			// all that the member may have.
			m.state = memberStable
		}
		if m.instance != nil {
			cg.static[*m.instance] = m
		}
		m.heard = now
		c.consumers++
		c.weighConsumer(g, m)
		c.armConsumer(now, g, m)
		if m.classic == nil && m.state == memberUnrevoked {
			c.timers.set(&m.rebalance, now.Add(m.rebalanceTimeout))
		}
	}
	cg.settleOwners()
	cg.dropRegexes()
	for _, r := range cg.regexes {
		c.weighRegex(g, r)
	}
	cg.replayed = false
	cg.moved()
	cg.resubscribed()
	g.generation, g.protocolType, g.state = cg.epoch, consumerProtocol, cg.standsAt()
	g.began = now
	c.restarted(now, g)
	if g.state == Empty {
		c.timers.set(&g.expiry, now)
		return
	}
	c.armExpiry(now, g)
	for s := range cg.regexes {
		c.unresolved[s] = append(c.unresolved[s], g)
	}
	c.resolveMissing(now, g)
	c.refresh(now, g, func(*regex) bool { return false })
	if cg.epoch > cg.assignmentEpoch && !cg.assignTimer.armed() {
		c.timers.set(&cg.assignTimer, now)
	}
}

// settleOwners finds out who owns what. If a file has a partition twice, who was given
// it last owns it, and the other one is not let go on with it.
func (cg *consumerGroup) settleOwners() {
	type claim struct {
		m     *consumer
		epoch int32
	}
	best := map[assignor.TopicID]map[int32]claim{}
	for _, m := range cg.sortedMembers() {
		for _, p := range []holdings{m.assigned, m.revoking} {
			for topic, partitions := range p {
				if best[topic] == nil {
					best[topic] = map[int32]claim{}
				}
				for partition, epoch := range partitions {
					if b, ok := best[topic][partition]; !ok || epoch > b.epoch {
						best[topic][partition] = claim{m, epoch}
					}
				}
			}
		}
	}
	for _, m := range cg.members {
		mine := func(p holdings) holdings {
			var kept holdings
			for topic, partitions := range p {
				for partition, epoch := range partitions {
					if best[topic][partition].m == m {
						kept.add(topic, partition, epoch)
					}
				}
			}
			return kept
		}
		cg.own(m, mine(m.assigned), mine(m.revoking))
	}
}

// dropRegexes forgets expressions to which nobody subscribes.
func (cg *consumerGroup) dropRegexes() {
	used := map[string]bool{}
	for _, m := range cg.members {
		used[m.regex] = true
	}
	maps.DeleteFunc(cg.regexes, func(s string, _ *regex) bool { return !used[s] })
}

// resolveMissing resolves expressions of which the log holds no topics.
func (c *Core) resolveMissing(now time.Time, g *group) {
	for _, m := range g.consumer.sortedMembers() {
		c.resolve(now, g, m.regex, nil)
	}
}
