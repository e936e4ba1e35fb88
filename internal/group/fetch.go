package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch is one group of OffsetFetch v1–10 (KIP-709). Null topics are all that
// the group has offsets of. A group that does not exist, and a partition without
// an offset, are no errors: the offset is -1. With requireStable (KIP-447) the offset
// of a partition is not told while a transaction has one pending for it.
func (c *Core) Fetch(req *kmsg.OffsetFetchRequestGroup, requireStable bool) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = req.Group
	resp.Topics = []kmsg.OffsetFetchResponseGroupTopic{}
	g := c.groups[req.Group]
	if g != nil && g.consumer != nil {
		if resp.ErrorCode = g.consumerMayFetch(req.MemberID, req.MemberEpoch); resp.ErrorCode != none {
			return resp
		}
	}
	for _, t := range c.asked(g, req) {
		rt := kmsg.NewOffsetFetchResponseGroupTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, partition := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = partition, -1, -1, kmsg.StringPtr("")
			if g != nil {
				if requireStable && g.isUnstable(t.Topic, partition) {
					rp.ErrorCode = unstableOffsetCommit
				} else if o := g.offsets[t.Topic][partition]; o != nil {
					rp.Offset, rp.LeaderEpoch, rp.Metadata = o.at, o.epoch, kmsg.StringPtr(o.metadata)
				}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// asked are the topics of a request, each once and each partition once: an answer
// must not be larger than what the group holds because it was asked for again.
func (c *Core) asked(g *group, req *kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroupTopic {
	if req.Topics == nil {
		if g == nil {
			return nil
		}
		return g.committed()
	}
	topics := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
	at := make(map[string]int, len(req.Topics))
	seen := map[place]bool{}
	for _, t := range req.Topics {
		i, ok := at[t.Topic]
		if !ok {
			i = len(topics)
			at[t.Topic] = i
			topics = append(topics, t)
			topics[i].Partitions = nil
		}
		for _, partition := range t.Partitions {
			if key := (place{t.Topic, partition}); !seen[key] {
				seen[key] = true
				topics[i].Partitions = append(topics[i].Partitions, partition)
			}
		}
	}
	return topics
}

// FetchBytes is about how much memory the answer to an OffsetFetch of one group
// takes until it is written.
func (c *Core) FetchBytes(req *kmsg.OffsetFetchRequestGroup) int64 {
	const topicBytes, partitionBytes = 128, 128
	n := int64(topicBytes + 3*len(req.Group))
	g := c.groups[req.Group]
	if req.Topics == nil && g != nil {
		for topic, offsets := range g.offsets {
			n += int64(topicBytes + 3*len(topic))
			for _, o := range offsets {
				n += int64(partitionBytes + 3*len(o.metadata))
			}
		}
		return n
	}
	seen := map[place]bool{}
	for _, t := range req.Topics {
		n += int64(topicBytes + 3*len(t.Topic))
		for _, partition := range t.Partitions {
			key := place{t.Topic, partition}
			if seen[key] {
				continue
			}
			seen[key] = true
			n += partitionBytes
			if g == nil {
				continue
			}
			if o := g.offsets[t.Topic][partition]; o != nil {
				n += int64(3 * len(o.metadata))
			}
		}
	}
	return n
}

// committed asks for all that a group has committed.
func (g *group) committed() []kmsg.OffsetFetchRequestGroupTopic {
	list := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.offsets))
	for _, topic := range slices.Sorted(maps.Keys(g.offsets)) {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic = topic
		t.Partitions = slices.Sorted(maps.Keys(g.offsets[topic]))
		for _, o := range g.offsets[topic] {
			t.TopicID = o.topicID
			break
		}
		list = append(list, t)
	}
	return list
}
