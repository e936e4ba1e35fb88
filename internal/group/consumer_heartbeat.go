package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusal is an answer to a request that changed nothing.
type refusal struct {
	code    int16
	message string
}

func refuse(code int16, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// ConsumerHeartbeat is ConsumerGroupHeartbeat v0–1 (KIP-848, KIP-1082). It may make
// records, which must be durable before the answer leaves.
func (c *Core) ConsumerHeartbeat(now time.Time, from Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version = req.Version
	err := c.checkHeartbeat(req)
	switch {
	case err != nil:
	case req.MemberEpoch < 0:
		err = c.consumerLeave(now, req, resp)
	default:
		err = c.consumerBeat(now, from, req, resp)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = err.code, &err.message
	}
	return resp
}

// checkHeartbeat looks at the request alone.
func (c *Core) checkHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	empty := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	invalid := func(message string) *refusal { return &refusal{invalidRequest, message} }
	needsID := req.Version >= 1 || req.MemberEpoch > 0 || req.MemberEpoch == epochLeave || req.MemberEpoch == epochStaticLeave
	switch {
	case empty(&req.Group):
		return invalid("GroupId can't be empty.")
	case needsID && empty(&req.MemberID):
		return invalid("MemberId can't be empty.")
	case empty(req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case empty(req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch < epochStaticLeave:
		return invalid("MemberEpoch is invalid.")
	case req.MemberEpoch == epochJoin && req.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case req.MemberEpoch == epochJoin && (req.Topics == nil || len(req.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case req.MemberEpoch == epochJoin && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case req.RebalanceTimeoutMillis < -1:
		return invalid("RebalanceTimeoutMs is invalid.")
	}
	if len(req.Group) > maxID {
		return refuse(invalidGroupID, "GroupId is longer than %d bytes.", maxID)
	}
	for _, s := range []*string{&req.MemberID, req.InstanceID, req.RackID} {
		if s != nil && len(*s) > maxID {
			return refuse(invalidRequest, "An id is longer than %d bytes.", maxID)
		}
	}
	if a := req.ServerAssignor; a != nil && !slices.Contains(c.cfg.Consumer.Assignors, *a) {
		return refuse(unsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			clip(*a), strings.Join(c.cfg.Consumer.Assignors, ", "))
	}
	return nil
}

// consumerBeat is a heartbeat of a member that joins or stays.
func (c *Core) consumerBeat(now time.Time, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	id := req.MemberID
	g := c.groups[req.Group]
	if err := c.mayBeat(now, g, from, req); err != nil {
		return err
	}
	if id == "" {
		id = c.cfg.NewMemberID(memberPrefix(from.ID))
	}
	g, upgraded := c.consumerGroupFor(now, req.Group)
	cg := g.consumer
	m := cg.members[id]
	if req.InstanceID != nil && cg.static[*req.InstanceID] != nil {
		if m = cg.static[*req.InstanceID]; m.id != id {
			m = c.replaceConsumer(now, g, m, id)
		}
	}
	isNew := m == nil
	if isNew {
		m = c.newConsumer(g, id)
	}
	was := *m
	setConsumer(m, from, req)
	c.enter(g, m, was.instance)
	c.timers.stop(&m.join)
	c.timers.stop(&m.sync)
	why := c.subscribed(now, g, &was, m, isNew)
	c.weighConsumer(g, m)
	if upgraded && why == "" {
		// What the classic group was about to assign is nobody's.
		why = "member " + m.id + " speaks the consumer protocol now"
	}
	if why != "" {
		c.bump(now, g, why)
	}
	c.reconcile(now, g, m, ownedOf(req), why != "")
	m.heard = now
	c.armConsumer(now, g, m)
	c.restate(now, g)

	resp.MemberID, resp.MemberEpoch = &m.id, m.epoch
	resp.HeartbeatIntervalMillis = int32(c.heartbeatInterval(g).Milliseconds())
	full := req.RebalanceTimeoutMillis != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.Topics != nil
	if full || req.MemberEpoch != was.epoch || !sameParts(was.assigned, m.assigned) {
		resp.Assignment = assignmentOf(m)
	}
	return nil
}

// mayBeat finds reasons to refuse a heartbeat, before anything changes.
func (c *Core) mayBeat(now time.Time, g *group, from Client, req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	if err := c.mayBeIn(g, req); err != nil {
		return err
	}
	if r := req.SubscribedTopicRegex; r != nil && *r != "" {
		if _, err := compileRegex(*r); err != nil {
			return refuse(invalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", clip(*r), clip(err.Error()))
		}
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
	if !c.beatFits(g, m, from, req) {
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
// the member said before.
func (c *Core) beatFits(g *group, m *consumer, from Client, req *kmsg.ConsumerGroupHeartbeatRequest) bool {
	next := consumer{id: req.MemberID}
	if m != nil {
		next = *m
	}
	setConsumer(&next, from, req)
	n := next.size()
	if m != nil {
		n -= m.size()
	}
	if g == nil {
		g = &group{}
	}
	return c.fits(g, n)
}

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
// epoch; "" if it needs none.
func (c *Core) subscribed(now time.Time, g *group, was, m *consumer, isNew bool) string {
	if !isNew && m.sameAs(was) {
		return ""
	}
	c.recordMember(g, m)
	names, regexes := !slices.Equal(was.topics, m.topics), was.regex != m.regex
	if regexes {
		c.dropRegex(g, was.regex)
		c.resolve(now, g, m.regex)
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
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
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

// resolve finds the topics of a regular expression that is new to the group.
func (c *Core) resolve(now time.Time, g *group, s string) {
	if s == "" || g.consumer.regexes[s] != nil {
		return
	}
	pattern, err := compileRegex(s)
	if err != nil {
		return // a file may hold anything; it matches nothing then
	}
	r := &regex{pattern: pattern, since: now.UnixMilli()}
	r.topics = r.match(c.cluster.TopicNames())
	g.consumer.regexes[s] = r
	c.record(memberKey(keyConsumerRegex, g.id, s), regexValue(r))
}

// dropRegex forgets a regular expression when nobody subscribes to it any more.
func (c *Core) dropRegex(g *group, s string) {
	if g.consumer.regexes[s] == nil {
		return
	}
	for _, m := range g.consumer.members {
		if m.regex == s {
			return
		}
	}
	delete(g.consumer.regexes, s)
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
	c.hold(g, -m.held)
	m.held = 0
	if cg.members[m.id] == m {
		delete(cg.members, m.id)
		c.consumers--
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

// assignmentOf is what a member may use, as it is told.
func assignmentOf(m *consumer) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	a.Topics = []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{}
	for _, topic := range sortedTopics(m.assigned) {
		t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
		t.TopicID, t.Partitions = topic, partitionsOf(m.assigned[topic])
		a.Topics = append(a.Topics, t)
	}
	return &a
}
