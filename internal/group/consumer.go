package group

import (
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir/internal/assignor"
)

// States that only consumer groups (KIP-848) have. They are Empty and Stable, too.
const (
	Assigning   State = "Assigning"   // the target assignment is older than the group
	Reconciling State = "Reconciling" // members are on their way to their target
)

// holdings are partitions by topic, each with the epoch at which it was given to the
// member. A value never changes; it is replaced.
type holdings map[assignor.TopicID]map[int32]int32

// targets are partitions by topic, ascending. A value never changes.
type targets map[assignor.TopicID][]int32

// memberState is where a member of a consumer group stands, by Kafka's numbers.
type memberState int8

const (
	memberStable     memberState = 0 // it has what it shall have
	memberUnrevoked  memberState = 1 // it has still to let partitions go
	memberUnreleased memberState = 2 // it waits for partitions that others have
)

// Epochs of a heartbeat that are none of a member.
const (
	epochJoin        = 0
	epochLeave       = -1
	epochStaticLeave = -2 // a static member that will come back
)

// consumerGroup is the membership of a group of the next protocol (KIP-848). The
// group's epoch counts what changed what members shall have; the target assignment
// has the epoch for which it was made; each member follows at its own pace.
type consumerGroup struct {
	epoch           int32
	assignmentEpoch int32
	assignedAt      time.Time // when the target assignment was made; zero: never
	hash            int64     // of the subscribed topics as they were at this epoch
	members         map[string]*consumer
	static          map[string]*consumer
	owners          map[assignor.TopicID]map[int32]*consumer // who has a partition, or has still to let it go
	regexes         map[string]*regex
	assignTimer     timer // the next assignment must not come earlier
	lost            int   // partitions of members that went since the last assignment
	replayed        bool  // made from records, and not ready yet
	derived         derived
}

// consumer is one member of a consumer group. It speaks the consumer protocol, or
// the classic one if classic is set.
type consumer struct {
	id               string
	instance         *string // nil: dynamic
	rack             *string
	client           Client
	rebalanceTimeout time.Duration
	topics           []string // sorted, each once
	regex            string   // "": none
	assignor         string   // "": any
	classic          *classicMember

	epoch, previous int32
	state           memberState
	assigned        holdings // what it may use
	revoking        holdings // what it has still to let go
	target          targets

	known     bool  // its metadata were read, not only its assignment
	held      int64 // bytes of memory that are counted
	heard     time.Time
	session   timer
	rebalance timer // has not let go in time
	join      timer // of the classic protocol: has not joined again in time
	sync      timer // of the classic protocol: has not asked for its assignment
}

// classicMember is what a member of a consumer group has besides, as long as it
// speaks the classic protocol. A value never changes.
type classicMember struct {
	sessionTimeout time.Duration
	protocols      []protocol // the most wanted first
}

// reconciled tells whether a member has reached the target of an epoch.
func (m *consumer) reconciled(epoch int32) bool { return m.state == memberStable && m.epoch == epoch }

func newConsumerGroup(c *Core, g *group) *consumerGroup {
	cg := &consumerGroup{
		members: map[string]*consumer{}, static: map[string]*consumer{},
		owners: map[assignor.TopicID]map[int32]*consumer{}, regexes: map[string]*regex{},
	}
	cg.assignTimer.fire = func(now time.Time) { c.assignConsumers(now, g) }
	return cg
}

// newConsumer makes a member that is not in the group yet.
func (c *Core) newConsumer(g *group, id string) *consumer {
	m := &consumer{id: id, previous: -1, known: true}
	m.session.fire = func(now time.Time) { c.consumerTimeout(now, g, m, "was not heard of for its session timeout") }
	m.rebalance.fire = func(now time.Time) {
		c.consumerTimeout(now, g, m, "did not let its partitions go within its rebalance timeout")
	}
	m.join.fire = func(now time.Time) { c.consumerTimeout(now, g, m, "did not join again within its rebalance timeout") }
	m.sync.fire = func(now time.Time) {
		c.consumerTimeout(now, g, m, "did not ask for its assignment within its rebalance timeout")
	}
	return m
}

// enter takes a member in, or follows it to another instance.
func (c *Core) enter(g *group, m *consumer, instance *string) {
	cg := g.consumer
	if cg.members[m.id] == nil {
		cg.members[m.id] = m
		c.consumers++
		cg.moved()
		cg.resubscribed()
	}
	if instance != nil && cg.static[*instance] == m {
		delete(cg.static, *instance)
	}
	if m.instance != nil {
		cg.static[*m.instance] = m
	}
}

// hasInstance tells whether there is a member of an instance.
func (cg *consumerGroup) hasInstance(instance *string) bool {
	return instance != nil && cg.static[*instance] != nil
}

// sortedMembers are the members by id, where the order is seen from outside.
func (cg *consumerGroup) sortedMembers() []*consumer {
	list := make([]*consumer, 0, len(cg.members))
	for _, id := range slices.Sorted(maps.Keys(cg.members)) {
		list = append(list, cg.members[id])
	}
	return list
}

// own changes what a member has, and who has what.
func (cg *consumerGroup) own(m *consumer, assigned, revoking holdings) {
	cg.disown(m, m.assigned)
	cg.disown(m, m.revoking)
	m.assigned, m.revoking = assigned, revoking
	cg.claim(m, assigned)
	cg.claim(m, revoking)
}

func (cg *consumerGroup) disown(m *consumer, p holdings) {
	for topic, partitions := range p {
		owners := cg.owners[topic]
		for partition := range partitions {
			if owners[partition] == m {
				delete(owners, partition)
			}
		}
		if len(owners) == 0 {
			delete(cg.owners, topic)
		}
	}
}

func (cg *consumerGroup) claim(m *consumer, p holdings) {
	for topic, partitions := range p {
		owners := cg.owners[topic]
		if owners == nil {
			owners = make(map[int32]*consumer, len(partitions))
			cg.owners[topic] = owners
		}
		for partition := range partitions {
			owners[partition] = m
		}
	}
}

// numClassic counts the members that speak the classic protocol.
func (cg *consumerGroup) numClassic() int {
	n := 0
	for _, m := range cg.members {
		if m.classic != nil {
			n++
		}
	}
	return n
}

// size is about how many bytes of memory the member takes.
func (m *consumer) size() int64 {
	const partitionBytes, topicBytes = 48, 96
	n := int64(2*memberBytes + 3*len(m.id) + 2*len(text(m.instance)) + len(text(m.rack)) +
		len(m.client.ID) + len(m.client.Host) + len(m.regex) + len(m.assignor))
	for _, t := range m.topics {
		n += int64(protocolBytes + len(t))
	}
	for _, p := range []holdings{m.assigned, m.revoking} {
		for _, list := range p {
			n += topicBytes + int64(partitionBytes*len(list))
		}
	}
	for _, list := range m.target {
		n += topicBytes + int64(4*len(list))
	}
	if m.classic != nil {
		n += protocolsBytes(m.classic.protocols)
	}
	return n
}

// weighConsumer counts a member anew after it has changed.
func (c *Core) weighConsumer(g *group, m *consumer) {
	c.reweigh(g, &m.held, m.size())
}

// restate follows the group's epochs and members with its state, and tells the
// timeline.
func (c *Core) restate(now time.Time, g *group) {
	cg := g.consumer
	was := g.state
	g.generation, g.protocolType = cg.epoch, consumerProtocol
	g.state = cg.standsAt()
	if g.state == was {
		return
	}
	if was == Stable || was == Empty {
		g.began = now
	}
	if was == Empty {
		c.timers.stop(&g.expiry)
	}
	switch {
	case g.state == Stable:
		g.since = now.Truncate(time.Millisecond)
		e := c.consumerEvent(now, g, EventStable, "all members have what they shall have")
		e.Duration = now.Sub(g.began)
		c.note(g, e)
		c.armExpiry(now, g)
	case g.state == Empty:
		g.since = now.Truncate(time.Millisecond)
		c.note(g, c.consumerEvent(now, g, EventEmpty, "the last member is gone"))
		c.timers.stop(&cg.assignTimer)
		c.expire(now, g)
	case was == Empty:
		c.armExpiry(now, g)
	}
}

// consumerEvent is an event of a consumer group as a whole.
func (c *Core) consumerEvent(now time.Time, g *group, kind EventKind, reason string) Event {
	return Event{At: now, Kind: kind, Epoch: g.consumer.epoch, Reason: reason, Members: len(g.consumer.members)}
}

// noteConsumer notes what happened to a member of a consumer group.
func (c *Core) noteConsumer(now time.Time, g *group, m *consumer, kind EventKind, reason string) {
	e := c.consumerEvent(now, g, kind, reason)
	e.Member, e.Instance, e.Client, e.Host = m.id, text(m.instance), m.client.ID, m.client.Host
	if kind == EventTimedOut {
		e.Duration = now.Sub(m.heard)
	}
	c.note(g, e)
}
