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
// records, which must be durable before the answer leaves. x is the regular expression of
// the request, up to date with the Cluster that was set last; if it is nil and there is
// one, the Core makes it itself.
func (c *Core) ConsumerHeartbeat(now time.Time, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, x *Expression) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version = req.Version
	err := c.checkHeartbeat(req)
	switch {
	case err != nil:
	case req.MemberEpoch < 0:
		err = c.consumerLeave(now, req, resp)
	default:
		err = c.consumerBeat(now, from, req, x, resp)
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
	if len(req.Group) > MaxID {
		return refuse(invalidGroupID, "GroupId is longer than %d bytes.", MaxID)
	}
	for _, s := range []*string{&req.MemberID, req.InstanceID, req.RackID} {
		if s != nil && len(*s) > MaxID {
			return refuse(invalidRequest, "An id is longer than %d bytes.", MaxID)
		}
	}
	if a := req.ServerAssignor; a != nil && !slices.Contains(c.cfg.Consumer.Assignors, *a) {
		return refuse(unsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			clip(*a), strings.Join(c.cfg.Consumer.Assignors, ", "))
	}
	return nil
}

// consumerBeat is a heartbeat of a member that joins or stays.
func (c *Core) consumerBeat(now time.Time, from Client, req *kmsg.ConsumerGroupHeartbeatRequest, x *Expression,
	resp *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	id := req.MemberID
	g := c.groups[req.Group]
	x = c.newExpression(g, req.SubscribedTopicRegex, x)
	if err := c.mayBeat(now, g, from, req, x); err != nil {
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
	why := c.subscribed(now, g, &was, m, isNew, x)
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

// newExpression is the expression of a request if it is new to the group, else nil.
func (c *Core) newExpression(g *group, s *string, x *Expression) *Expression {
	switch {
	case s == nil || *s == "" || g != nil && g.consumer != nil && g.consumer.regexes[*s] != nil:
		return nil
	case x == nil:
		return NewExpression(*s, c.cluster)
	}
	return x
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
