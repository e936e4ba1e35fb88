package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroup is one group of DeleteGroups v0–2: the group and its offsets go, if
// it has no members.
func (c *Core) DeleteGroup(now time.Time, id string) int16 {
	g := c.groups[id]
	switch {
	case g == nil:
		return groupIDNotFound
	case g.state != Empty:
		return nonEmptyGroup
	}
	for id := range g.pending {
		c.forgetPending(g, id) // who comes with such an id is not known any more
	}
	offsets := 0
	for _, topic := range g.topicsOf() {
		offsets += c.eraseTopic(g, topic)
	}
	if g.persisted {
		c.eraseGroup(g)
	}
	c.noteGroup(now, g, EventGroupDeleted, "DeleteGroups, with the offsets of "+plural(offsets, "partition"))
	c.settle(g)
	return none
}

// DeleteOffsets is OffsetDelete v0 (KIP-496). exists tells of a partition whether
// there is one. Members of a group of consumers keep the topics they are
// subscribed to; the offsets of other groups go only when they have no members.
func (c *Core) DeleteOffsets(now time.Time, req *kmsg.OffsetDeleteRequest,
	exists func(topic string, partition int32) bool) *kmsg.OffsetDeleteResponse {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Version = req.Version
	g := c.groups[req.Group]
	switch {
	case req.Group == "":
		resp.ErrorCode = invalidGroupID
		return resp
	case g == nil:
		resp.ErrorCode = groupIDNotFound
		return resp
	case g.state != Empty && g.consumer == nil && !g.usesConsumerProtocol():
		resp.ErrorCode = nonEmptyGroup
		return resp
	}
	deleted, needed := 0, g.needed()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition = p.Partition
			switch {
			case !exists(t.Topic, p.Partition):
				rp.ErrorCode = unknownTopicOrPartition
			case needed(t.Topic):
				rp.ErrorCode = groupSubscribedToTopic
			case g.offsets[t.Topic][p.Partition] != nil, g.isUnstable(t.Topic, p.Partition):
				c.erase(g, t.Topic, p.Partition)
				deleted++
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if deleted > 0 {
		c.noteGroup(now, g, EventOffsetsDeleted, "OffsetDelete of "+plural(deleted, "partition"))
		c.expire(now, g)
	}
	return resp
}
