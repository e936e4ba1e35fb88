package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/weirstream/weir/internal/assignor"
)

// Versions of the keys of consumer groups' records, which say of what they are. All
// values have version 0.
const (
	keyConsumerGroup       = 3  // a group's epoch
	keyConsumerPartitions  = 4  // before Kafka 4.1; passed over
	keyConsumerMember      = 5  // what a member said of itself
	keyConsumerTargetEpoch = 6  // the epoch of the target assignment
	keyConsumerTarget      = 7  // of one member
	keyConsumerCurrent     = 8  // the epoch, state and assignment of one member
	keyConsumerRegex       = 16 // a regular expression of the group and its topics
)

// consumerKey is the key of a record of a group as a whole.
func consumerKey(kind int16, group string) []byte {
	var e encoder
	e.int16(kind)
	e.oldText(group)
	return e.b
}

// memberKey is the key of a record of a member, or of a regular expression.
func memberKey(kind int16, group, member string) []byte {
	e := encoder{consumerKey(kind, group)}
	e.oldText(member)
	return e.b
}

func (e *encoder) oldText(s string) {
	e.int16(int16(len(s)))
	e.b = append(e.b, s...)
}

func groupEpochValue(cg *consumerGroup) []byte {
	var e, hash encoder
	e.int16(0)
	e.int32(cg.epoch)
	if cg.hash == 0 {
		e.tags(0)
		return e.b
	}
	hash.int64(cg.hash)
	e.tags(1)
	e.tag(0, hash.b)
	return e.b
}

func memberValue(m *consumer) []byte {
	var e encoder
	e.int16(0)
	e.nullable(m.instance)
	e.nullable(m.rack)
	e.string(m.client.ID)
	e.string(m.client.Host)
	e.length(len(m.topics))
	for _, t := range m.topics {
		e.string(t)
	}
	e.string(m.regex)
	e.int32(int32(m.rebalanceTimeout.Milliseconds()))
	if m.assignor == "" {
		e.nullable(nil)
	} else {
		e.string(m.assignor)
	}
	if m.classic == nil {
		e.tags(0)
		return e.b
	}
	var x encoder
	x.int8(1) // a nullable struct that is there
	x.int32(int32(m.classic.sessionTimeout.Milliseconds()))
	x.length(len(m.classic.protocols))
	for _, p := range m.classic.protocols {
		x.string(p.name)
		x.bytes(p.metadata)
		x.tags(0)
	}
	x.tags(0)
	e.tags(1)
	e.tag(0, x.b)
	return e.b
}

func targetEpochValue(cg *consumerGroup) []byte {
	var e, at encoder
	e.int16(0)
	e.int32(cg.assignmentEpoch)
	at.int64(cg.assignedAt.UnixMilli())
	e.tags(1)
	e.tag(0, at.b)
	return e.b
}

func targetValue(t targets) []byte {
	var e encoder
	e.int16(0)
	e.length(len(t))
	for _, topic := range sortedTopics(t) {
		e.b = append(e.b, topic[:]...)
		e.int32s(t[topic])
		e.tags(0)
	}
	e.tags(0)
	return e.b
}

func currentValue(m *consumer) []byte {
	var e encoder
	e.int16(0)
	e.int32(m.epoch)
	e.int32(m.previous)
	e.int8(int8(m.state))
	e.holdings(m.assigned)
	e.holdings(m.revoking)
	e.tags(0)
	return e.b
}

func (e *encoder) holdings(p holdings) {
	e.length(len(p))
	for _, topic := range sortedTopics(p) {
		e.b = append(e.b, topic[:]...)
		partitions := slices.Sorted(maps.Keys(p[topic]))
		epochs := make([]int32, len(partitions))
		for i, partition := range partitions {
			epochs[i] = p[topic][partition]
		}
		e.int32s(partitions)
		var x encoder
		x.int32s(epochs)
		e.tags(1)
		e.tag(0, x.b)
	}
}

func regexValue(r *regex) []byte {
	var e encoder
	e.int16(0)
	e.length(len(r.topics))
	for _, t := range r.topics {
		e.string(t)
	}
	e.int64(0) // the version of Kafka's metadata image
	e.int64(r.since)
	e.tags(0)
	return e.b
}

func sortedTopics[V any](m map[assignor.TopicID]V) []assignor.TopicID {
	return slices.SortedFunc(maps.Keys(m), func(a, b assignor.TopicID) int { return cmp.Compare(string(a[:]), string(b[:])) })
}

func (c *Core) recordMember(g *group, m *consumer) {
	c.record(memberKey(keyConsumerMember, g.id, m.id), memberValue(m))
}

func (c *Core) recordCurrent(g *group, m *consumer) {
	c.record(memberKey(keyConsumerCurrent, g.id, m.id), currentValue(m))
}

// recordConsumers makes the records of a group that has no regular expressions, in
// Kafka's order.
func (c *Core) recordConsumers(g *group) {
	cg := g.consumer
	list := cg.sortedMembers()
	for _, m := range list {
		c.recordMember(g, m)
	}
	c.record(consumerKey(keyConsumerGroup, g.id), groupEpochValue(cg))
	for _, m := range list {
		c.record(memberKey(keyConsumerTarget, g.id, m.id), targetValue(m.target))
	}
	c.record(consumerKey(keyConsumerTargetEpoch, g.id), targetEpochValue(cg))
	for _, m := range list {
		c.recordCurrent(g, m)
	}
}

// eraseMember makes the tombstones of a member, in Kafka's order.
func (c *Core) eraseMember(g *group, id string) {
	c.record(memberKey(keyConsumerCurrent, g.id, id), nil)
	c.record(memberKey(keyConsumerTarget, g.id, id), nil)
	c.record(memberKey(keyConsumerMember, g.id, id), nil)
}

// consumerErase makes the tombstones of all records of a group but its offsets.
func (c *Core) consumerErase(g *group) {
	for _, m := range g.consumer.sortedMembers() {
		c.eraseMember(g, m.id)
	}
	for _, s := range slices.Sorted(maps.Keys(g.consumer.regexes)) {
		c.record(memberKey(keyConsumerRegex, g.id, s), nil)
	}
	c.record(consumerKey(keyConsumerTargetEpoch, g.id), nil)
	c.record(consumerKey(keyConsumerGroup, g.id), nil)
}

// equal tells whether two members are alike in what they have of the classic protocol.
func (x *classicMember) equal(y *classicMember) bool {
	if x == nil || y == nil {
		return x == y
	}
	return x.sessionTimeout == y.sessionTimeout && slices.EqualFunc(x.protocols, y.protocols, func(a, b protocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}
