package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// retryJoin is the shortest time after which a rebalance to which nobody has
// come yet is looked at again.
const retryJoin = time.Second

// rebalance begins a new round, or lets one that is under way go on when the
// last member has joined. why is for the timeline.
func (c *Core) rebalance(now time.Time, g *group, why string) {
	if g.state == PreparingRebalance {
		c.maybeBegin(now, g)
		return
	}
	c.noteGroup(now, g, EventRebalanceBegan, why)
	if g.state != CompletingRebalance {
		g.began = now
	}
	c.keepOwned(g)
	if g.state == CompletingRebalance {
		for _, m := range g.members {
			m.assignment = nil
			c.weigh(g, m)
			if m.sync != nil {
				c.answerSync(g, m, rebalanceInProgress)
				c.armSession(now, m)
			}
		}
	}
	c.timers.stop(&g.syncTimer)
	c.timers.stop(&g.expiry)
	g.fromEmpty = g.state == Empty
	g.state = PreparingRebalance
	switch {
	case g.fromEmpty && c.cfg.InitialRebalanceDelay > 0:
		g.grown = false
		g.delayLeft = max(0, g.rebalanceTimeout()-c.cfg.InitialRebalanceDelay)
		c.timers.set(&g.joinTimer, now.Add(c.cfg.InitialRebalanceDelay))
	case g.fromEmpty || g.allJoined():
		c.begin(now, g)
	default:
		c.timers.set(&g.joinTimer, now.Add(g.rebalanceTimeout()))
	}
}

// maybeBegin starts the generation when nobody is waited for any more. The
// initial delay is waited out whoever is there.
func (c *Core) maybeBegin(now time.Time, g *group) {
	if g.state == PreparingRebalance && !g.fromEmpty && g.allJoined() {
		c.begin(now, g)
	}
}

// joinTimeout ends the time to join. The initial delay is extended as long as
// members keep coming, up to the rebalance timeout.
func (c *Core) joinTimeout(now time.Time, g *group) {
	if g.fromEmpty && g.grown && g.delayLeft > 0 {
		g.grown = false
		delay := min(c.cfg.InitialRebalanceDelay, g.delayLeft)
		g.delayLeft = max(0, g.delayLeft-c.cfg.InitialRebalanceDelay)
		c.timers.set(&g.joinTimer, now.Add(delay))
		return
	}
	c.begin(now, g)
}

// begin starts the next generation with those that have joined. Dynamic members
// that have not are out; static ones stay until their session ends, so that a
// restart of their process costs no rebalance.
func (c *Core) begin(now time.Time, g *group) {
	c.timers.stop(&g.joinTimer)
	within := g.rebalanceTimeout()
	for _, m := range append([]*member(nil), g.members...) {
		if m.join == nil && m.instance == nil {
			c.remove(g, m)
			e := m.event(now, g, EventTimedOut, fmt.Sprintf("did not join again within the rebalance timeout of %v", within))
			e.Duration = now.Sub(g.began)
			c.note(g, e)
		}
	}
	if len(g.members) > 0 && !c.electLeader(now, g) {
		c.timers.set(&g.joinTimer, now.Add(max(retryJoin, g.rebalanceTimeout())))
		return
	}
	g.generation++
	if len(g.members) == 0 {
		g.state, g.protocol, g.leader = Empty, "", ""
		g.since = now.Truncate(time.Millisecond)
		c.forgetOwned(g)
		c.persist(g)
		c.noteGroup(now, g, EventEmpty, "nobody is left")
		c.expire(now, g)
		return
	}
	g.protocol = g.selectProtocol()
	g.state = CompletingRebalance
	for _, m := range g.members {
		if m.join != nil {
			p := *m.join
			m.join = nil
			c.reply(p.tok, g.joinAnswer(p.version, m))
		}
		m.fresh, m.unsynced, m.epoch = false, true, 0
		c.armSession(now, m)
	}
	c.timers.set(&g.syncTimer, now.Add(g.rebalanceTimeout()))
}

// electLeader makes sure that the leader is one that has joined; false if
// nobody has.
func (c *Core) electLeader(now time.Time, g *group) bool {
	if m := g.byID[g.leader]; m != nil && m.join != nil {
		return true
	}
	for _, m := range g.members {
		if m.join != nil {
			g.leader = m.id
			c.noteMember(now, g, m, EventLeaderElected, "the last leader did not join again")
			return true
		}
	}
	return false
}

// syncTimeout removes the members that have not asked for their assignment.
func (c *Core) syncTimeout(now time.Time, g *group) {
	within := g.rebalanceTimeout()
	for _, m := range append([]*member(nil), g.members...) {
		if m.unsynced {
			c.remove(g, m)
			c.noteMember(now, g, m, EventTimedOut, fmt.Sprintf("did not ask for its assignment within %v", within))
		}
	}
	c.rebalance(now, g, "members did not ask for their assignment")
}

// sessionTimeout removes a member that was not heard of. One that waits for an
// answer of ours is alive, except that a new one does not wait for ever.
func (c *Core) sessionTimeout(now time.Time, g *group, m *member) {
	if !m.fresh && m.join != nil || m.sync != nil {
		return
	}
	e := m.event(now, g, EventTimedOut, "")
	if m.fresh {
		e.Duration, e.Reason = newMemberTimeout, fmt.Sprintf("waited %v for its first generation", newMemberTimeout)
	} else {
		e.Duration, e.Reason = m.sessionTimeout, fmt.Sprintf("no heartbeat for its session timeout of %v", m.sessionTimeout)
	}
	c.remove(g, m)
	e.Members = len(g.members)
	c.note(g, e)
	c.rebalance(now, g, "a member was not heard of any more")
	c.endWait(now, g)
}

func (c *Core) pendingTimeout(now time.Time, g *group, id string) {
	c.forgetPending(g, id)
	c.endWait(now, g)
	c.settle(g)
}

// endWait ends even the initial delay when somebody is given up on and all others
// have joined, as Kafka has it.
func (c *Core) endWait(now time.Time, g *group) {
	if g.state == PreparingRebalance && g.allJoined() {
		c.begin(now, g)
	}
}

// becameStable ends a rebalance.
func (c *Core) becameStable(now time.Time, g *group) {
	g.state = Stable
	c.armExpiry(now, g)
	moved := c.moved(g)
	if m := g.byID[g.leader]; m != nil {
		e := m.event(now, g, EventAssignmentComputed, fmt.Sprintf("by the leader, with %s", clip(g.protocol)))
		e.Moved = moved
		c.note(g, e)
	}
	c.note(g, Event{At: now, Kind: EventStable, Epoch: g.generation, Duration: now.Sub(g.began), Moved: moved,
		Members: len(g.members), Reason: "all joined and the leader assigned"})
}

// maybeFenced notes a refusal when it is that of a fenced instance.
func (c *Core) maybeFenced(now time.Time, g *group, code int16, id string, instance *string, request string) {
	if code == fencedInstanceID {
		c.noteFenced(now, g, id, *instance, request)
	}
}

func (c *Core) forgetPending(g *group, id string) {
	if t := g.pending[id]; t != nil {
		c.timers.stop(t)
		delete(g.pending, id)
		c.hold(g, -pendingBytes(id))
	}
}

func (c *Core) armSession(now time.Time, m *member) {
	c.timers.set(&m.session, now.Add(m.sessionTimeout))
}

// remove takes a member out and tells it, if it waits.
func (c *Core) remove(g *group, m *member) {
	c.keepOwned(g)
	c.answerParked(m, unknownMemberID)
	c.timers.stop(&m.session)
	c.reweigh(g, &m.held, 0)
	g.drop(m)
}

// answerParked ends what a member waits for with an error.
func (c *Core) answerParked(m *member, code int16) {
	if p := m.join; p != nil {
		m.join = nil
		c.reply(p.tok, joinRefusal(p.version, m.id, code))
	}
	if p := m.sync; p != nil {
		m.sync = nil
		c.reply(p.tok, syncRefusal(p.version, code))
	}
}

// answerSync ends the wait of a member for its assignment.
func (c *Core) answerSync(g *group, m *member, code int16) {
	p := *m.sync
	m.sync = nil
	if code != none {
		c.reply(p.tok, syncRefusal(p.version, code))
		return
	}
	c.reply(p.tok, g.syncAnswer(p.version, m))
}

func syncRefusal(version int16, code int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ErrorCode, resp.MemberAssignment = version, code, []byte{}
	return resp
}

func (g *group) syncAnswer(version int16, m *member) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.MemberAssignment = version, m.assignment
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(g.protocolType), kmsg.StringPtr(g.protocol)
	if resp.MemberAssignment == nil {
		resp.MemberAssignment = []byte{}
	}
	return resp
}
