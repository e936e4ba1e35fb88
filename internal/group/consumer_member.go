package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// setConsumer takes over what a heartbeat says of its member; null is "as before".
func setConsumer(m *consumer, from Client, req *kmsg.ConsumerGroupHeartbeatRequest) {
	m.client, m.classic = from, nil
	if req.InstanceID != nil {
		m.instance = req.InstanceID
	}
	if req.RackID != nil {
		m.rack = req.RackID
	}
	if req.RebalanceTimeoutMillis >= 0 {
		m.rebalanceTimeout = time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond
	}
	if req.SubscribedTopicNames != nil {
		m.topics = sortedSet(slices.Clone(req.SubscribedTopicNames))
	}
	if req.SubscribedTopicRegex != nil {
		m.regex = *req.SubscribedTopicRegex
	}
	if req.ServerAssignor != nil {
		m.assignor = *req.ServerAssignor
	}
}

// subscribed records what is new of a member, and says why its group needs a new
// epoch; "" if it needs none. x is its expression, if that is new to the group.
func (c *Core) subscribed(now time.Time, g *group, was, m *consumer, isNew bool, x *Expression) string {
	if !isNew && m.sameAs(was) {
		return ""
	}
	c.recordMember(g, m)
	g.consumer.resubscribed()
	names, regexes := !slices.Equal(was.topics, m.topics), was.regex != m.regex
	if regexes {
		c.dropRegex(g, was.regex)
		c.resolve(now, g, m.regex, x)
	}
	switch {
	case isNew:
		c.noteConsumer(now, g, m, EventJoined, "subscribes to "+m.wants())
		return "member " + m.id + " joined"
	case names || regexes:
		c.noteConsumer(now, g, m, EventSubscriptionChanged, fmt.Sprintf("subscribes to %s, was %s", m.wants(), was.wants()))
		return "member " + m.id + " subscribes to other topics"
	}
	return ""
}

// sameAs tells whether a member says the same of itself as before.
func (m *consumer) sameAs(was *consumer) bool {
	return text(m.instance) == text(was.instance) && text(m.rack) == text(was.rack) && m.client == was.client &&
		m.rebalanceTimeout == was.rebalanceTimeout && slices.Equal(m.topics, was.topics) && m.regex == was.regex &&
		m.assignor == was.assignor && m.classic.equal(was.classic)
}

// wants is what a member subscribes to, for people.
func (m *consumer) wants() string {
	list := m.topics
	if m.regex != "" {
		list = append(slices.Clone(list), "/"+m.regex+"/")
	}
	if len(list) == 0 {
		return "nothing"
	}
	return clip(strings.ToValidUTF8(strings.Join(list, ", "), "?"))
}

// resolve takes in a regular expression with its topics, if it is new to the group.
func (c *Core) resolve(now time.Time, g *group, s string, x *Expression) {
	if x = c.newExpression(g, &s, x); x == nil || x.regex == nil {
		return // a file may hold anything; what is no expression matches nothing
	}
	r := x.regex
	r.since = now.UnixMilli()
	g.consumer.regexes[s] = r
	c.weighRegex(g, r)
	g.consumer.resubscribed()
	c.record(memberKey(keyConsumerRegex, g.id, s), regexValue(r))
}

// dropRegex forgets a regular expression when nobody subscribes to it any more.
func (c *Core) dropRegex(g *group, s string) {
	r := g.consumer.regexes[s]
	if r == nil {
		return
	}
	for _, m := range g.consumer.members {
		if m.regex == s {
			return
		}
	}
	delete(g.consumer.regexes, s)
	c.reweigh(g, &r.held, 0)
	g.consumer.resubscribed()
	c.record(memberKey(keyConsumerRegex, g.id, s), nil)
}

// replaceConsumer gives the place of a static member, with its partitions and its
// target, to its next process.
func (c *Core) replaceConsumer(now time.Time, g *group, old *consumer, id string) *consumer {
	cg := g.consumer
	m := c.newConsumer(g, id)
	m.instance, m.rack, m.client, m.rebalanceTimeout = old.instance, old.rack, old.client, old.rebalanceTimeout
	m.topics, m.regex, m.assignor, m.classic = old.topics, old.regex, old.assignor, old.classic
	m.state, m.target, m.previous = old.state, old.target, 0
	assigned, revoking := old.assigned, old.revoking
	c.removeConsumer(g, old)
	c.enter(g, m, nil)
	cg.own(m, assigned, revoking)
	c.eraseMember(g, old.id)
	c.recordMember(g, m)
	c.record(memberKey(keyConsumerTarget, g.id, m.id), targetValue(m.target))
	c.recordCurrent(g, m)
	c.weighConsumer(g, m)
	c.noteConsumer(now, g, m, EventReplaced, "took the place of member "+old.id)
	return m
}

// removeConsumer takes a member out, with all that it has.
func (c *Core) removeConsumer(g *group, m *consumer) {
	cg := g.consumer
	cg.own(m, nil, nil)
	c.stopTimers(m)
	c.reweigh(g, &m.held, 0)
	if cg.members[m.id] == m {
		delete(cg.members, m.id)
		c.consumers--
		cg.moved()
		cg.resubscribed()
	}
	if m.instance != nil && cg.static[*m.instance] == m {
		delete(cg.static, *m.instance)
	}
}

// armConsumer begins a member's session anew.
func (c *Core) armConsumer(now time.Time, g *group, m *consumer) {
	session := c.groupConfig(g.id).SessionTimeout
	if m.classic != nil {
		session = m.classic.sessionTimeout
	}
	c.timers.set(&m.session, now.Add(session))
}
