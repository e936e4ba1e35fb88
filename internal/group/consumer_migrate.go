package group

import (
	"encoding/binary"
	"time"
)

// consumerGroupFor finds or makes the consumer group that a member joins. A classic
// group without members makes way, one with members becomes a consumer group: it is
// upgraded.
func (c *Core) consumerGroupFor(now time.Time, id string) (g *group, upgraded bool) {
	g = c.lookup(id)
	switch {
	case g.consumer != nil:
	case g.state != Empty:
		c.upgrade(now, g)
		return g, true
	default:
		c.clearClassic(g)
		g.consumer = newConsumerGroup(c, g)
		g.protocolType = consumerProtocol
	}
	return g, false
}

// clearClassic takes from a group all that it is as a classic one.
func (c *Core) clearClassic(g *group) {
	for id := range g.pending {
		c.forgetPending(g, id)
	}
	for _, m := range g.members {
		c.timers.stop(&m.session)
	}
	c.timers.stop(&g.joinTimer)
	c.timers.stop(&g.syncTimer)
	c.forgetOwned(g)
	if g.persisted {
		c.record(groupKey(g.id), nil)
	}
	c.reset(g)
}

// mayUpgrade tells whether a classic group with members can become a consumer group:
// they must all be consumers whose words the broker understands.
func (c *Core) mayUpgrade(g *group) *refusal {
	no := func(why string) *refusal {
		return refuse(groupIDNotFound, "Cannot upgrade classic group %s to consumer group because %s.", g.id, why)
	}
	switch {
	case !c.cfg.Consumer.Migration.upgrades():
		return no("online upgrade is disabled")
	case !g.usesConsumerProtocol():
		return no("the group does not use the consumer embedded protocol")
	case len(g.members) > c.cfg.Consumer.MaxSize:
		return no("the group size exceeds the consumer group maximum size")
	}
	var owned holdings
	for _, m := range g.members {
		_, ok := readSubscription(m.subscription(g.protocol), c.cluster)
		p, plain, ok2 := c.readAssignment(m.assignment)
		switch {
		case !ok || !ok2:
			return no("the embedded consumer protocol is malformed")
		case !plain:
			return no("an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade")
		}
		for topic, partitions := range p {
			for partition := range partitions {
				if _, twice := owned[topic][partition]; twice {
					return no("two members have the same partition")
				}
			}
		}
		owned.merge(p)
	}
	return nil
}

// subscription is what the member sent with the group's protocol, or, while there is
// none, with its first.
func (m *member) subscription(protocol string) []byte {
	if b := m.metadata(protocol); b != nil || len(m.protocols) == 0 {
		return b
	}
	return m.protocols[0].metadata
}

// readAssignment reads the assignment of a consumer; plain is false if there is more in
// it than partitions.
func (c *Core) readAssignment(b []byte) (p holdings, plain, ok bool) {
	if len(b) == 0 {
		return nil, true, true
	}
	r := readTopics(b)
	p = holdings{}
	for name, more := r.topic(); more; name, more = r.topic() {
		id, count, exists := c.cluster.Topic(string(name))
		for q := r.partitions(); len(q) >= 4; q = q[4:] {
			if partition := int32(binary.BigEndian.Uint32(q)); exists && partition >= 0 && partition < count {
				p.add(id, partition, 0)
			}
		}
	}
	if r.err != nil {
		return nil, false, false
	}
	return p, r.int32() <= 0, true
}

// upgrade makes a classic group with members a consumer group. They keep what their
// last generation gave them, and go on by the classic protocol. Who waits for a generation
// to begin is told the last one, and by the answer to its SyncGroup to join again: an error
// as the answer to a join is none that all clients expect, some give up all that they have.
func (c *Core) upgrade(now time.Time, g *group) {
	members, generation, protocol := g.members, g.generation, g.protocol
	joins := make([]*parked, len(members))
	for i, m := range members {
		joins[i], m.join = m.join, nil
		c.answerParked(m, rebalanceInProgress)
	}
	c.clearClassic(g)
	g.consumer = newConsumerGroup(c, g)
	g.protocolType, g.persisted = consumerProtocol, true
	cg := g.consumer
	cg.epoch, cg.assignmentEpoch = generation, generation
	said := make([]ownedParts, len(members))
	for i, old := range members {
		s, _ := readSubscription(old.subscription(protocol), c.cluster)
		said[i] = s.owned
		p, _, _ := c.readAssignment(old.assignment)
		m := c.newConsumer(g, old.id)
		m.instance, m.rack, m.client, m.rebalanceTimeout = old.instance, s.rack, old.client, old.rebalanceTimeout
		m.topics, m.classic = s.topics, &classicMember{old.sessionTimeout, old.protocols}
		m.epoch, m.previous, m.target = old.known(generation), old.known(generation), targets{}
		var assigned holdings
		for topic, partitions := range p {
			m.target[topic] = partitionsOf(partitions)
			for partition := range partitions {
				assigned.add(topic, partition, m.epoch)
			}
		}
		c.enter(g, m, nil)
		cg.own(m, assigned, nil)
		m.heard = now
		c.armConsumer(now, g, m)
	}
	for i, old := range members { // now that all have what they were assigned
		m := cg.members[old.id]
		cg.believe(m, said[i])
		c.weighConsumer(g, m)
		if joins[i] != nil {
			c.answerJoin(now, m, *joins[i])
		}
	}
	cg.hash = cg.hashTopics(c.cluster)
	c.recordConsumers(g)
	c.note(g, c.consumerEvent(now, g, EventMigrated, "a member of the consumer protocol joins the classic group"))
	c.restate(now, g)
}

// believe has a member own what it says that it has, where nobody else does: a classic
// group in the middle of a rebalance has forgotten what cooperative members go on with.
func (cg *consumerGroup) believe(m *consumer, owned ownedParts) {
	var assigned holdings
	for topic, partitions := range owned.topics {
		for p := range partitions {
			if cg.owners[topic][p] == nil {
				assigned.add(topic, p, m.epoch)
			}
		}
	}
	if assigned == nil {
		return
	}
	assigned.merge(m.assigned)
	cg.own(m, assigned, nil)
}

// mayDowngrade tells whether a consumer group becomes a classic one when these members
// are gone: all that stay speak the classic protocol.
func (c *Core) mayDowngrade(g *group, gone []*consumer) bool {
	cg := g.consumer
	others, leaves := cg.numClassic(), false
	for _, m := range gone {
		if m.classic != nil {
			others--
		} else {
			leaves = true
		}
	}
	stay := len(cg.members) - len(gone)
	return leaves && stay > 0 && others == stay && c.cfg.Consumer.Migration.downgrades() && stay <= c.cfg.MaxSize
}

// mayDowngradeWith tells the same when the next process of a static member speaks the
// classic protocol.
func (c *Core) mayDowngradeWith(g *group, old *consumer) bool {
	cg := g.consumer
	return old.classic == nil && cg.numClassic() == len(cg.members)-1 &&
		c.cfg.Consumer.Migration.downgrades() && len(cg.members) <= c.cfg.MaxSize
}

// downgrade makes a consumer group a classic one, without the members that are gone,
// and has it rebalance.
func (c *Core) downgrade(now time.Time, g *group, gone []*consumer) {
	c.toClassic(now, g, gone)
	c.rebalance(now, g, "the last member of the consumer protocol is gone")
}

// toClassic turns the membership into one of a classic group that is stable in the
// generation of the group's epoch. That is not in the log before it is the caller's
// last word: a broker that starts again in the middle of the rebalance that follows
// most often must not find a stable group, whose static members would not notice.
func (c *Core) toClassic(now time.Time, g *group, gone []*consumer) {
	cg := g.consumer
	list, generation := cg.sortedMembers(), cg.epoch
	left := map[*consumer]bool{}
	for _, m := range gone {
		left[m] = true
	}
	c.consumerErase(g)
	c.note(g, c.consumerEvent(now, g, EventMigrated, "only members of the classic protocol are left"))
	c.forgetConsumers(g)
	for _, m := range list {
		if left[m] {
			continue
		}
		old := &member{id: m.id, instance: m.instance, client: m.client, rebalanceTimeout: m.rebalanceTimeout,
			sessionTimeout: m.classic.sessionTimeout, protocols: m.classic.protocols, assignment: c.classicAssignment(m),
			epoch: m.epoch}
		old.session.fire = func(now time.Time) { c.sessionTimeout(now, g, old) }
		g.add(old, consumerProtocol)
		c.weigh(g, old)
		c.armSession(now, old)
	}
	g.generation, g.state, g.since = generation, Stable, now.Truncate(time.Millisecond)
	g.protocol = g.selectProtocol()
}

// downgradeWith makes a consumer group a classic one because its last member of the
// consumer protocol, a static one, comes back with the classic protocol.
func (c *Core) downgradeWith(g *group, j *join, old *consumer, id string) {
	now := j.now
	m := c.replaceConsumer(now, g, old, id)
	s, _ := readSubscription(j.protocols[0].metadata, c.cluster)
	was := *m
	m.setClassic(j, s)
	why := c.subscribed(now, g, &was, m, false, nil)
	if why == "" {
		c.reconcile(now, g, m, s.owned, false)
		if g.consumer.standsAt() != Stable {
			why = "the group was on its way to another assignment when it became a classic one"
		}
	}
	c.toClassic(now, g, nil)
	x := g.byID[id]
	if why != "" || !c.persist(g) {
		x.join = &j.parked
		c.rebalance(now, g, why)
		return
	}
	c.reply(j.tok, g.joinAnswer(j.version, x))
}
