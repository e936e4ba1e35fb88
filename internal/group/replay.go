package group

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Replay applies one record of the log, in the order of offsets, to a Core that
// serves nobody yet; ReplayEnd is for the markers among them. On an error nothing was
// applied; an *UnknownKeyError may be passed over. The bytes may be reused afterwards.
func (c *Core) Replay(r Record) error {
	e, err := decode(r.Key, r.Value)
	if err != nil {
		return err
	}
	g := c.lookup(e.group)
	switch {
	case e.isOffset && e.offset != nil && r.Txn != nil:
		c.pend(*r.Txn, g, place{e.topic, e.partition}, e.offset)
	case e.isOffset && e.offset != nil:
		c.put(g, place{e.topic, e.partition}, e.offset)
	case e.isOffset:
		c.clear(g, e.topic, e.partition)
	case e.consumer != nil:
		c.replayConsumer(g, e.consumer)
	case g.consumer != nil && e.value == nil:
		// The tombstone of a classic group that has become a consumer group.
	default:
		c.forgetConsumers(g)
		c.reset(g)
		if e.value != nil {
			c.restore(g, e.value)
		}
	}
	c.settle(g)
	return nil
}

// ReplayEnd applies the marker that ends the transaction of a producer.
func (c *Core) ReplayEnd(producerID int64, committed bool) {
	for _, e := range c.endTxn(producerID, committed) {
		c.settle(e.group)
	}
}

// reset forgets the membership, which a group record replaces as a whole.
func (c *Core) reset(g *group) {
	for _, m := range g.members {
		c.reweigh(g, &m.held, 0)
	}
	g.persisted = false
	g.state, g.since, g.generation = Empty, time.Time{}, 0
	g.protocolType, g.protocol, g.leader = "", "", ""
	g.members = nil
	g.byID, g.static, g.support = map[string]*member{}, map[string]string{}, map[string]int{}
}

func (c *Core) restore(g *group, v *kmsg.GroupMetadataValue) {
	g.persisted = true
	g.generation, g.protocolType = v.Generation, v.ProtocolType
	if v.CurrentStateTimestamp >= 0 {
		g.since = time.UnixMilli(v.CurrentStateTimestamp)
	}
	g.protocol = text(v.Protocol)
	for _, vm := range v.Members {
		if g.byID[vm.MemberID] != nil {
			continue // no broker writes that, but a file may hold anything
		}
		m := &member{
			id: vm.MemberID, instance: vm.InstanceID,
			client:         Client{vm.ClientID, vm.ClientHost},
			sessionTimeout: time.Duration(vm.SessionTimeoutMillis) * time.Millisecond,
			protocols:      []protocol{{g.protocol, bytes.Clone(vm.Subscription)}},
			assignment:     bytes.Clone(vm.Assignment),
		}
		m.rebalanceTimeout = m.sessionTimeout
		if v.Version >= 1 && vm.RebalanceTimeoutMillis >= 0 {
			m.rebalanceTimeout = time.Duration(vm.RebalanceTimeoutMillis) * time.Millisecond
		}
		m.session.fire = func(now time.Time) { c.sessionTimeout(now, g, m) }
		g.add(m, v.ProtocolType)
		c.weigh(g, m)
	}
	if len(g.members) == 0 {
		return
	}
	g.state = Stable
	if v.Leader != nil && g.byID[*v.Leader] != nil {
		g.leader = *v.Leader
	}
}

// Ready ends the replay. Members get a whole session to be heard of again, since
// it was the broker that was away; what is empty goes on towards its expiry.
func (c *Core) Ready(now time.Time) {
	for _, g := range c.sorted() {
		if g.consumer != nil {
			c.readyConsumers(now, g)
			continue
		}
		c.restarted(now, g)
		for _, m := range g.members {
			c.armSession(now, m)
		}
		if len(g.members) > c.cfg.MaxSize {
			c.rebalance(now, g, "the group has more members than it may")
		}
		if g.state == Stable {
			c.armExpiry(now, g)
		}
		if g.state == Empty {
			c.timers.set(&g.expiry, now) // looks for what has expired meanwhile
		}
	}
}
