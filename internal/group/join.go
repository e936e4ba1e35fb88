package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newMemberTimeout is how long a new member may wait for its first generation.
// It cannot send heartbeats before it knows its id, and a connection that is
// gone is not seen while its request is parked.
const newMemberTimeout = 5 * time.Minute

// join is a JoinGroup on its way through the rules.
type join struct {
	parked
	now       time.Time
	from      Client
	req       *kmsg.JoinGroupRequest
	protocols []protocol
}

// Join is JoinGroup v0–9 (KIP-62, KIP-345, KIP-394, KIP-559, KIP-814). The
// answer comes through Take, at once or when the generation begins.
func (c *Core) Join(now time.Time, tok Token, from Client, req *kmsg.JoinGroupRequest) {
	j := &join{parked{tok, req.Version}, now, from, req, protocolsOf(req)}
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	switch {
	case req.Group == "" || len(req.Group) > MaxID:
		c.refuseJoin(j, req.MemberID, invalidGroupID)
		return
	case tooLong(req):
		c.refuseJoin(j, req.MemberID, invalidRequest)
		return
	case session < c.cfg.MinSessionTimeout || session > c.cfg.MaxSessionTimeout:
		c.refuseJoin(j, req.MemberID, invalidSessionTimeout)
		return
	}
	g := c.groups[req.Group]
	switch {
	case g == nil && req.MemberID != "":
		c.refuseJoin(j, req.MemberID, unknownMemberID)
		return
	case g == nil && c.full:
		c.refuseJoin(j, "", groupMaxSizeReached)
		return
	case g == nil:
		g = c.lookup(req.Group)
	case g.consumer != nil && c.joinConsumers(g, j):
		return
	}
	switch {
	case !c.hasRoom(g, req):
		c.refuseJoin(j, "", groupMaxSizeReached)
		c.evict(now, g, req.MemberID)
	case !c.joinFits(g, j):
		c.refuseJoin(j, req.MemberID, groupMaxSizeReached)
	case !g.supports(req):
		c.refuseJoin(j, req.MemberID, inconsistentGroupProtocol)
	case req.MemberID == "":
		c.joinNew(g, j)
	default:
		c.joinKnown(g, j)
	}
	c.settle(g)
}

// tooLong tells whether a string of the request does not fit a record: the
// compact strings of v6 and later can be longer than the log's.
func tooLong(req *kmsg.JoinGroupRequest) bool {
	long := len(req.ProtocolType) > maxString || req.InstanceID != nil && len(*req.InstanceID) > MaxID
	for _, p := range req.Protocols {
		long = long || len(p.Name) > maxString
	}
	return long
}

// hasRoom tells whether the group may grow by the sender. While members join,
// those of the last generation that have not come back do not count.
func (c *Core) hasRoom(g *group, req *kmsg.JoinGroupRequest) bool {
	if givesID(req) && len(g.pending) >= c.cfg.MaxSize {
		return false
	}
	m := g.byID[req.MemberID]
	switch g.state {
	case PreparingRebalance:
		return m != nil && m.join != nil || g.joined() < c.cfg.MaxSize
	case CompletingRebalance, Stable:
		replaces := req.InstanceID != nil && g.static[*req.InstanceID] != ""
		return m != nil || replaces || len(g.members) < c.cfg.MaxSize
	}
	return true
}

// givesID tells whether the answer to a join is an id to join with (KIP-394).
func givesID(req *kmsg.JoinGroupRequest) bool {
	return req.MemberID == "" && req.InstanceID == nil && req.Version >= 4
}

// evict removes a member of the last generation that came back too late.
func (c *Core) evict(now time.Time, g *group, memberID string) {
	c.forgetPending(g, memberID)
	if m := g.byID[memberID]; m != nil {
		c.remove(g, m)
		c.noteMember(now, g, m, EventTimedOut, "came back after the group was full")
	}
	c.maybeBegin(now, g)
}

func (c *Core) refuseJoin(j *join, memberID string, code int16) {
	c.reply(j.tok, joinRefusal(j.version, memberID, code))
}

func joinRefusal(version int16, memberID string, code int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version, resp.MemberID, resp.ErrorCode, resp.Generation = version, memberID, code, -1
	return resp
}

func (c *Core) joinNew(g *group, j *join) {
	prefix := j.from.ID
	if j.req.InstanceID != nil {
		prefix = *j.req.InstanceID
	}
	id := c.cfg.NewMemberID(memberPrefix(prefix))
	switch {
	case j.req.InstanceID != nil && g.static[*j.req.InstanceID] != "":
		c.replaceStatic(g, g.byID[g.static[*j.req.InstanceID]], id, j)
	case givesID(j.req):
		// KIP-394: a client that never comes back with its id costs an id, not a
		// member that all others wait for.
		t := &timer{fire: func(now time.Time) { c.pendingTimeout(now, g, id) }}
		g.pending[id] = t
		c.hold(g, pendingBytes(id))
		c.timers.set(t, j.now.Add(time.Duration(j.req.SessionTimeoutMillis)*time.Millisecond))
		c.refuseJoin(j, id, memberIDRequired)
	default:
		c.addMember(g, id, j)
	}
}

func (c *Core) joinKnown(g *group, j *join) {
	id := j.req.MemberID
	if g.pending[id] != nil && j.req.InstanceID == nil {
		c.addMember(g, id, j)
		return
	}
	if code := g.check(id, j.req.InstanceID); code != none {
		c.maybeFenced(j.now, g, code, id, j.req.InstanceID, "JoinGroup")
		c.refuseJoin(j, id, code)
		return
	}
	m := g.byID[id]
	same := m.matches(j.protocols)
	kind, what := EventRejoined, ""
	if !same {
		kind, what = g.change(m, j.protocols)
	}
	switch g.state {
	case PreparingRebalance:
		if kind == EventSubscriptionChanged {
			c.noteMember(j.now, g, m, kind, what)
		}
		c.updateMember(g, m, j)
		c.maybeBegin(j.now, g)
	case CompletingRebalance:
		if same {
			// The answer to its first join may have been lost: tell it again.
			c.reply(j.tok, g.joinAnswer(j.version, m))
			return
		}
		c.noteMember(j.now, g, m, kind, because(what, j.req.Reason))
		c.updateMember(g, m, j)
		c.rebalance(j.now, g, "a member joined again with changes")
	case Stable:
		if same && g.leader != id {
			c.reply(j.tok, g.joinAnswer(j.version, m))
			return
		}
		// The leader asks for a new round when topics have changed, which its own
		// protocols do not show.
		why := "a member joined again with changes"
		if same {
			what, why = "as it was", "the leader asked for it, as it does when topics have changed"
		}
		c.noteMember(j.now, g, m, kind, because(what, j.req.Reason))
		c.updateMember(g, m, j)
		c.rebalance(j.now, g, why)
	}
}

func (c *Core) addMember(g *group, id string, j *join) {
	m := &member{id: id, instance: j.req.InstanceID, client: j.from, fresh: true}
	m.session.fire = func(now time.Time) { c.sessionTimeout(now, g, m) }
	m.set(j)
	m.join = &parked{j.tok, j.version}
	if g.state == PreparingRebalance && g.fromEmpty {
		g.grown = true
	}
	c.forgetPending(g, id)
	g.add(m, j.req.ProtocolType)
	c.weigh(g, m)
	c.timers.set(&m.session, j.now.Add(newMemberTimeout))
	c.noteMember(j.now, g, m, EventJoined, because("a new member", j.req.Reason))
	c.rebalance(j.now, g, "a new member joined")
}

// set takes over what a join says of its member.
func (m *member) set(j *join) {
	m.protocols = j.protocols
	m.sessionTimeout = time.Duration(j.req.SessionTimeoutMillis) * time.Millisecond
	m.rebalanceTimeout = m.sessionTimeout // v0 has no other
	if j.version >= 1 {
		m.rebalanceTimeout = max(0, time.Duration(j.req.RebalanceTimeoutMillis)*time.Millisecond)
	}
}

// updateMember parks a join of a member. One that was parked before is
// answered: its client has given up on it, or asks twice.
func (c *Core) updateMember(g *group, m *member, j *join) {
	c.answerParked(m, rebalanceInProgress)
	g.count(m, -1)
	m.set(j)
	g.count(m, 1)
	c.weigh(g, m)
	m.join = &parked{j.tok, j.version}
}

// replaceStatic gives the place of a static member to its next process, which
// does not know the id of the last one. A stable group stays stable, unless the
// protocols of the new one change what the group would choose.
func (c *Core) replaceStatic(g *group, old *member, id string, j *join) {
	formerLeader, formerID := g.leader, old.id
	c.answerParked(old, fencedInstanceID)
	g.count(old, -1)
	delete(g.byID, old.id)
	if g.leader == old.id {
		g.leader = id
	}
	old.id = id
	g.byID[id] = old
	g.static[*old.instance] = id
	old.set(j)
	old.fresh = false // its client was told the id of a member: it is no stray request
	g.count(old, 1)
	c.weigh(g, old)
	c.armSession(j.now, old)
	c.noteMember(j.now, g, old, EventReplaced, because(fmt.Sprintf("took the place of %s", clip(formerID)), j.req.Reason))

	if g.state != Stable || g.selectProtocol() != g.protocol {
		old.join = &parked{j.tok, j.version}
		c.rebalance(j.now, g, "a static member came back while the group was not stable, or with other protocols")
		return
	}
	c.persist(g)
	resp := g.joinAnswer(j.version, old)
	if j.version >= 9 {
		// KIP-814: the leader learns the members, to watch their topics, but must
		// not assign anew.
		resp.SkipAssignment = g.leader == id
	} else {
		// An older client that is told it leads would assign anew; it is not told.
		resp.LeaderID = formerLeader
		resp.Members = []kmsg.JoinGroupResponseMember{}
	}
	c.reply(j.tok, resp)
}

// joinAnswer is what a member is told of the generation; the leader also learns
// who the others are.
func (g *group) joinAnswer(version int16, m *member) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version, resp.MemberID, resp.Generation = version, m.id, g.generation
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(g.protocolType), kmsg.StringPtr(g.protocol)
	resp.LeaderID = g.leader
	resp.Members = []kmsg.JoinGroupResponseMember{}
	if m.id == g.leader {
		for _, x := range g.members {
			rm := kmsg.NewJoinGroupResponseMember()
			rm.MemberID, rm.InstanceID, rm.ProtocolMetadata = x.id, x.instance, x.metadata(g.protocol)
			resp.Members = append(resp.Members, rm)
		}
	}
	return resp
}
