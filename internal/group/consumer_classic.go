package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members of a consumer group may speak the classic protocol, while a group goes from
// one to the other. For them the epoch is a generation, the server assigns what a
// leader would, and nobody waits for anybody: a join is answered at once, and
// REBALANCE_IN_PROGRESS asks for the next one whenever there is a step to make.

// joinConsumers is a JoinGroup of a group that is a consumer group; false if it has to
// be treated as one of a classic group, since it is empty.
func (c *Core) joinConsumers(g *group, j *join) bool {
	cg, req := g.consumer, j.req
	if len(cg.members) == 0 {
		if req.MemberID != "" {
			c.refuseJoin(j, req.MemberID, unknownMemberID)
			return true
		}
		c.consumerErase(g)
		c.forgetConsumers(g)
		return false
	}
	id := req.MemberID
	if id == "" {
		prefix := j.from.ID
		if req.InstanceID != nil {
			prefix = *req.InstanceID
		}
		id = c.cfg.NewMemberID(memberPrefix(prefix))
	}
	code := c.mayJoinConsumers(g, j)
	if code != none {
		c.refuseJoin(j, req.MemberID, code)
		return true
	}
	if givesID(req) {
		c.refuseJoin(j, id, memberIDRequired)
		return true
	}
	c.joinAsClassic(g, j, id)
	return true
}

// mayJoinConsumers finds reasons to refuse a JoinGroup, before anything changes.
func (c *Core) mayJoinConsumers(g *group, j *join) int16 {
	cg, req := g.consumer, j.req
	known := cg.members[req.MemberID] != nil || cg.hasInstance(req.InstanceID)
	classic := cg.numClassic()
	supported := slices.ContainsFunc(j.protocols, func(p protocol) bool { return cg.support(p.name) == classic })
	old := cg.members[req.MemberID]
	switch {
	case len(cg.members) >= c.cfg.Consumer.MaxSize && !known, len(req.MemberID) > MaxID:
		return groupMaxSizeReached
	case req.ProtocolType != consumerProtocol || !supported:
		return inconsistentGroupProtocol
	}
	if req.InstanceID != nil {
		if static := cg.static[*req.InstanceID]; static != nil || req.MemberID != "" {
			switch {
			case req.MemberID == "":
				old = static
			case static == nil:
				return unknownMemberID
			case static.id != req.MemberID:
				return fencedInstanceID
			}
		}
	}
	s, ok := readSubscription(j.protocols[0].metadata, c.cluster)
	switch {
	case !ok:
		return inconsistentGroupProtocol
	case req.MemberID != "" && old == nil && len(s.owned.topics) > 0:
		// It was a member, and has not noticed that its partitions went to others. (Kafka
		// takes it in, and it goes on with them until its SyncGroup.)
		return unknownMemberID
	}
	next := &consumer{id: req.MemberID, client: j.from, topics: s.topics, classic: &classicMember{protocols: j.protocols}}
	n := next.size()
	if old != nil {
		n = protocolsBytes(j.protocols)
		if old.classic != nil {
			n -= protocolsBytes(old.classic.protocols)
		}
	}
	if !c.fits(g, n) {
		return groupMaxSizeReached
	}
	return none
}

// support counts the members of the classic protocol that support an assignor.
func (cg *consumerGroup) support(name string) int {
	n := 0
	for _, m := range cg.members {
		if m.classic != nil && slices.ContainsFunc(m.classic.protocols, func(p protocol) bool { return p.name == name }) {
			n++
		}
	}
	return n
}

// joinAsClassic takes in a member of the classic protocol, or lets it make its step.
func (c *Core) joinAsClassic(g *group, j *join, id string) {
	cg, req, now := g.consumer, j.req, j.now
	m := cg.members[id]
	if req.InstanceID != nil && req.MemberID == "" {
		if old := cg.static[*req.InstanceID]; old != nil {
			if c.mayDowngradeWith(g, old) {
				c.downgradeWith(g, j, old, id)
				return
			}
			m = c.replaceConsumer(now, g, old, id)
		}
	}
	isNew := m == nil
	if isNew {
		m = c.newConsumer(g, id)
	}
	was := *m
	s, _ := readSubscription(j.protocols[0].metadata, c.cluster)
	m.setClassic(j, s)
	c.enter(g, m, was.instance)
	c.timers.stop(&m.rebalance)
	why := c.subscribed(now, g, &was, m, isNew, nil)
	c.weighConsumer(g, m)
	if why != "" {
		c.bump(now, g, why)
	}
	c.reconcile(now, g, m, s.owned, why != "")
	c.timers.stop(&m.join)
	m.heard = now
	c.armConsumer(now, g, m)
	c.restate(now, g)
	c.answerJoin(now, m, j.parked)
}

// answerJoin tells a member of the classic protocol its epoch. It shall come for its
// assignment next.
func (c *Core) answerJoin(now time.Time, m *consumer, p parked) {
	c.timers.set(&m.sync, now.Add(m.rebalanceTimeout))
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version, resp.MemberID, resp.Generation = p.version, m.id, m.epoch
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(consumerProtocol), kmsg.StringPtr(m.classic.protocols[0].name)
	resp.Members = []kmsg.JoinGroupResponseMember{}
	c.reply(p.tok, resp)
}

// setClassic takes over what a JoinGroup says of its member.
func (m *consumer) setClassic(j *join, s wanted) {
	m.client, m.topics, m.regex = j.from, s.topics, ""
	if j.req.InstanceID != nil {
		m.instance = j.req.InstanceID
	}
	if s.rack != nil {
		m.rack = s.rack
	}
	session := time.Duration(j.req.SessionTimeoutMillis) * time.Millisecond
	m.rebalanceTimeout = session // v0 has no other
	if j.version >= 1 {
		m.rebalanceTimeout = max(0, time.Duration(j.req.RebalanceTimeoutMillis)*time.Millisecond)
	}
	m.classic = &classicMember{sessionTimeout: session, protocols: j.protocols}
}

// classicConsumer finds the member that a request of the classic protocol is of.
func (cg *consumerGroup) classicConsumer(id string, instance *string) (*consumer, int16) {
	m := cg.members[id]
	if instance != nil {
		if m = cg.static[*instance]; m != nil && m.id != id {
			return nil, fencedInstanceID
		}
	}
	if m == nil || m.classic == nil {
		return nil, unknownMemberID
	}
	return m, none
}

// syncConsumer is a SyncGroup of a member of a consumer group.
func (c *Core) syncConsumer(now time.Time, g *group, tok Token, req *kmsg.SyncGroupRequest) {
	cg := g.consumer
	m, code := cg.classicConsumer(req.MemberID, req.InstanceID)
	switch {
	case code != none:
	case req.Generation != m.epoch:
		code = illegalGeneration
	case differs(req.ProtocolType, consumerProtocol), differs(req.Protocol, m.classic.protocols[0].name):
		code = inconsistentGroupProtocol
	case cg.epoch > m.epoch && m.state != memberUnrevoked:
		c.expectJoin(now, m)
		code = rebalanceInProgress
	}
	if code != none {
		c.reply(tok, syncRefusal(req.Version, code))
		return
	}
	c.timers.stop(&m.sync)
	m.heard = now
	c.armConsumer(now, g, m)
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.MemberAssignment = req.Version, c.classicAssignment(m)
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(consumerProtocol), kmsg.StringPtr(m.classic.protocols[0].name)
	c.reply(tok, resp)
}

// classicAssignment is what a member may use, as a leader would have told it.
func (c *Core) classicAssignment(m *consumer) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	a.Version = min(3, max(0, readTopics(m.classic.protocols[0].metadata).version))
	for _, topic := range sortedTopics(m.assigned) {
		name, ok := c.cluster.TopicName(topic)
		if !ok {
			continue
		}
		t := kmsg.NewConsumerMemberAssignmentTopic()
		t.Topic, t.Partitions = name, partitionsOf(m.assigned[topic])
		a.Topics = append(a.Topics, t)
	}
	return a.AppendTo(nil)
}

// expectJoin gives a member its rebalance timeout to join again, once.
func (c *Core) expectJoin(now time.Time, m *consumer) {
	if !m.join.armed() {
		c.timers.set(&m.join, now.Add(m.rebalanceTimeout))
	}
}

// heartbeatConsumer is a Heartbeat of a member of a consumer group.
func (c *Core) heartbeatConsumer(now time.Time, g *group, req *kmsg.HeartbeatRequest) int16 {
	cg := g.consumer
	m, code := cg.classicConsumer(req.MemberID, req.InstanceID)
	switch {
	case code != none:
		return code
	case req.Generation != m.epoch:
		return illegalGeneration
	}
	m.heard = now
	c.armConsumer(now, g, m)
	if m.epoch < cg.epoch || m.state == memberUnrevoked || m.state == memberUnreleased && !cg.waits(m) {
		c.expectJoin(now, m)
		return rebalanceInProgress
	}
	return none
}

// waits tells whether another member has still a partition that m shall have.
func (cg *consumerGroup) waits(m *consumer) bool {
	for topic, partitions := range m.target {
		for _, p := range partitions {
			if owner := cg.owners[topic][p]; owner != nil && owner != m {
				return true
			}
		}
	}
	return false
}

// leaveConsumers is a LeaveGroup of a consumer group, whose members it may name
// whatever their protocol.
func (c *Core) leaveConsumers(now time.Time, g *group, list []kmsg.LeaveGroupRequestMember, resp *kmsg.LeaveGroupResponse) {
	cg := g.consumer
	var gone []*consumer
	reason := "LeaveGroup"
	for _, l := range list {
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID = l.MemberID, l.InstanceID
		m := cg.members[l.MemberID]
		if l.InstanceID != nil {
			if m = cg.static[*l.InstanceID]; m != nil && l.MemberID != "" && m.id != l.MemberID {
				m, rm.ErrorCode = nil, fencedInstanceID
			}
		}
		switch {
		case m != nil && !slices.Contains(gone, m):
			gone = append(gone, m)
			reason = because(reason, l.Reason)
		case m == nil && rm.ErrorCode == none:
			rm.ErrorCode = unknownMemberID
		}
		resp.Members = append(resp.Members, rm)
	}
	if len(gone) > 1 {
		reason = fmt.Sprintf("LeaveGroup of %s", plural(len(gone), "member"))
	}
	c.fenceConsumers(now, g, gone, EventLeft, reason)
}
