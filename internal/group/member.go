package group

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sync is SyncGroup v0–5 (KIP-345, KIP-559). The answer comes through Take, at
// once or when the leader has assigned.
func (c *Core) Sync(now time.Time, tok Token, req *kmsg.SyncGroupRequest) {
	p := parked{tok, req.Version}
	refuse := func(code int16) { c.reply(tok, syncRefusal(req.Version, code)) }
	if req.Group == "" {
		refuse(invalidGroupID)
		return
	}
	g := c.groups[req.Group]
	if g == nil {
		refuse(unknownMemberID)
		return
	}
	if g.consumer != nil {
		c.syncConsumer(now, g, tok, req)
		return
	}
	code := g.check(req.MemberID, req.InstanceID)
	c.maybeFenced(now, g, code, req.MemberID, req.InstanceID, "SyncGroup")
	m := g.byID[req.MemberID]
	switch {
	case code != none:
		refuse(code)
		return
	case req.Generation != m.known(g.generation):
		refuse(illegalGeneration)
		return
	case differs(req.ProtocolType, g.protocolType), differs(req.Protocol, g.protocol):
		refuse(inconsistentGroupProtocol)
		return
	}
	switch g.state {
	case Empty:
		refuse(unknownMemberID)
	case PreparingRebalance:
		refuse(rebalanceInProgress)
	case CompletingRebalance:
		c.answerParked(m, rebalanceInProgress)
		m.sync = &p
		c.synced(g, m)
		if g.leader == m.id {
			c.assign(now, g, req.GroupAssignment)
		}
	case Stable:
		c.synced(g, m)
		c.armSession(now, m)
		c.reply(tok, g.syncAnswer(req.Version, m))
	}
}

func (c *Core) synced(g *group, m *member) {
	m.unsynced = false
	if g.allSynced() {
		c.timers.stop(&g.syncTimer)
	}
}

// differs tells whether a member names something, and not what there is.
func differs(asked *string, is string) bool { return asked != nil && *asked != is }

// assign takes the leader's assignment; who is not in it gets nothing.
func (c *Core) assign(now time.Time, g *group, list []kmsg.SyncGroupRequestGroupAssignment) {
	fits := c.take(g, list)
	code := none
	since := g.since
	g.since = now.Truncate(time.Millisecond)
	if !fits || !c.persist(g) {
		// Memory or the log cannot hold it, so it must not be given out.
		code, g.since = unknownServerError, since
		c.take(g, nil)
	} else {
		c.becameStable(now, g)
	}
	for _, m := range g.members {
		if m.sync != nil {
			c.answerSync(g, m, code)
			c.armSession(now, m)
		}
	}
	if code != none {
		c.rebalance(now, g, "the assignment was too large to be kept")
	}
}

// take gives the members their assignments, unless there is no room for them.
func (c *Core) take(g *group, list []kmsg.SyncGroupRequestGroupAssignment) bool {
	given := make(map[string][]byte, len(g.members))
	for _, a := range list {
		if g.byID[a.MemberID] != nil {
			given[a.MemberID] = a.MemberAssignment
		}
	}
	more := int64(0)
	for _, m := range g.members {
		more += int64(len(given[m.id]) - len(m.assignment))
	}
	if !c.fits(g, more) {
		return false
	}
	for _, m := range g.members {
		m.assignment = bytes.Clone(given[m.id])
		c.weigh(g, m)
	}
	return true
}

// Heartbeat is Heartbeat v0–4 (KIP-345).
func (c *Core) Heartbeat(now time.Time, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = req.Version
	resp.ErrorCode = c.heartbeat(now, req)
	return resp
}

func (c *Core) heartbeat(now time.Time, req *kmsg.HeartbeatRequest) int16 {
	if req.Group == "" {
		return invalidGroupID
	}
	g := c.groups[req.Group]
	if g == nil {
		return unknownMemberID
	}
	if g.consumer != nil {
		return c.heartbeatConsumer(now, g, req)
	}
	if code := g.check(req.MemberID, req.InstanceID); code != none {
		c.maybeFenced(now, g, code, req.MemberID, req.InstanceID, "Heartbeat")
		return code
	}
	m := g.byID[req.MemberID]
	if req.Generation != m.known(g.generation) {
		return illegalGeneration
	}
	c.touch(now, g, m)
	if g.state == PreparingRebalance {
		return rebalanceInProgress
	}
	return none
}

// touch extends a session. A new member that has seen no generation keeps its
// longer time.
func (c *Core) touch(now time.Time, g *group, m *member) {
	if !m.fresh {
		c.armSession(now, m)
	}
}

// Leave is LeaveGroup v0–5 (KIP-345: several at once, static ones by instance
// id alone; KIP-800).
func (c *Core) Leave(now time.Time, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = req.Version
	if req.Group == "" {
		resp.ErrorCode = invalidGroupID
		return resp
	}
	leaving := req.Members
	if req.Version < 3 {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = req.MemberID
		leaving = []kmsg.LeaveGroupRequestMember{m}
	}
	g := c.groups[req.Group]
	before := 0
	if g != nil {
		before = len(g.members)
	}
	resp.Members = []kmsg.LeaveGroupResponseMember{}
	if g != nil && g.consumer != nil {
		c.leaveConsumers(now, g, leaving, resp)
		g, leaving = nil, nil
	}
	for _, l := range leaving {
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID, rm.ErrorCode = l.MemberID, l.InstanceID, unknownMemberID
		if g != nil {
			rm.ErrorCode = c.leave(now, g, &l)
		}
		resp.Members = append(resp.Members, rm)
	}
	if g != nil {
		if len(g.members) < before {
			c.rebalance(now, g, "members left")
		}
		c.maybeBegin(now, g) // a round may have waited for a pending member that left
		c.settle(g)
	}
	if req.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	return resp
}

// leave takes out one member, by its id or, as an administrator does, by its
// instance alone.
func (c *Core) leave(now time.Time, g *group, l *kmsg.LeaveGroupRequestMember) int16 {
	id, what := l.MemberID, "by itself"
	if id == "" && l.InstanceID != nil {
		id, what = g.static[*l.InstanceID], "removed by its instance id"
	}
	if g.pending[id] != nil {
		c.forgetPending(g, id)
		return none
	}
	if code := g.check(id, l.InstanceID); code != none {
		c.maybeFenced(now, g, code, id, l.InstanceID, "LeaveGroup")
		return code
	}
	m := g.byID[id]
	c.remove(g, m)
	c.noteMember(now, g, m, EventLeft, because(what, l.Reason))
	return none
}
