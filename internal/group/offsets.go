package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offset is one committed offset.
type offset struct {
	at       int64
	epoch    int32 // leader epoch, -1 if the client gave none
	metadata string
	time     int64    // ms, when it was committed
	expires  int64    // ms, when the client asked for it (v2–v4); -1: by the broker's retention
	topicID  [16]byte // zero if it was committed before topics had ids
}

// Commit is OffsetCommit v2–10 (KIP-211, KIP-320, KIP-345, KIP-447's rules for
// plain commits). Every topic of the request must carry its name and its id,
// whatever the version. refuse says for a partition that does not exist which
// error its entry gets, and 0 for all others.
func (c *Core) Commit(now time.Time, req *kmsg.OffsetCommitRequest,
	refuse func(t *kmsg.OffsetCommitRequestTopic, partition int32) int16) *kmsg.OffsetCommitResponse {
	g, code := c.commitTo(req)
	c.maybeFenced(now, g, code, req.MemberID, req.InstanceID, "OffsetCommit")
	if code == none && req.Generation >= 0 && g.consumer == nil {
		// Commits are a sign of life, as heartbeats are.
		c.touch(now, g, g.byID[req.MemberID])
	}
	expires := retention(req, now)
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = req.Version
	batch := commits{at: map[place]int{}}
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			if code == none {
				rp.ErrorCode = refuse(t, p.Partition)
			}
			if rp.ErrorCode == none && p.Metadata != nil && len(*p.Metadata) > c.cfg.MaxOffsetMetadata {
				rp.ErrorCode = offsetMetadataTooLarge
			}
			if rp.ErrorCode == none {
				batch.add(commitOf(g.id, t, p, now, expires))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if whole := c.refuses(g, req, &batch); whole != none {
		refuseAll(resp, whole)
	} else {
		for i := range batch.list {
			c.commit(g, &batch.list[i])
		}
	}
	c.armCommitted(now, g, expires)
	return resp
}

// refuses looks at a commit as a whole: it may be too large, and a member that is
// behind its group may only commit to what it has all along (KIP-1251).
func (c *Core) refuses(g *group, req *kmsg.OffsetCommitRequest, batch *commits) int16 {
	if batch.bytes > c.cfg.MaxRecord {
		return invalidCommitOffsetSize
	}
	if g == nil || g.consumer == nil {
		return none
	}
	for i := range batch.list {
		x := &batch.list[i]
		if code := g.consumerMayCommitTo(req, x.offset.topicID, x.partition); code != none {
			return code
		}
	}
	return none
}

// commits are the offsets of a request; the last one of a partition counts.
type commits struct {
	list  []commit
	at    map[place]int // in list
	bytes int
}

func (b *commits) add(x commit) {
	i, again := b.at[x.place]
	if !again {
		i = len(b.list)
		b.at[x.place] = i
		b.list = append(b.list, commit{})
	}
	b.bytes += x.bytes - b.list[i].bytes
	b.list[i] = x
}

// forever bounds a time of retention that a client asks for.
const forever = 100 * 365 * 24 * time.Hour

// retention is when the offsets of a request expire, if it says so.
func retention(req *kmsg.OffsetCommitRequest, now time.Time) int64 {
	if req.Version > 4 || req.RetentionTimeMillis < 0 {
		return -1
	}
	return now.UnixMilli() + min(req.RetentionTimeMillis, forever.Milliseconds())
}

// commitTo finds the group of a commit and says whether the sender may commit.
// A generation of -1 is an administrator, or a consumer that assigns itself its
// partitions; it must not disturb a group that has members.
func (c *Core) commitTo(req *kmsg.OffsetCommitRequest) (*group, int16) {
	g := c.groups[req.Group]
	if g == nil {
		switch {
		case len(req.Group) > maxID:
			return nil, invalidGroupID
		case req.Generation >= 0 && req.Version >= 9:
			return nil, groupIDNotFound
		case req.Generation >= 0:
			return nil, illegalGeneration
		case c.full:
			return nil, policyViolation
		}
		return c.lookup(req.Group), none
	}
	if g.consumer != nil {
		return g, g.consumerMayCommit(req)
	}
	return g, g.mayCommit(req.Generation, req.MemberID, req.InstanceID)
}

func (g *group) mayCommit(generation int32, memberID string, instance *string) int16 {
	if generation < 0 && g.state == Empty {
		return none
	}
	if generation < 0 && memberID == "" && instance == nil {
		return unknownMemberID
	}
	if code := g.check(memberID, instance); code != none {
		return code
	}
	if generation != g.generation {
		return illegalGeneration
	}
	if g.state == CompletingRebalance {
		return rebalanceInProgress
	}
	return none
}

// place is where an offset belongs within a group.
type place struct {
	topic     string
	partition int32
}

// commit is one offset on its way into a group.
type commit struct {
	place
	offset *offset
	bytes  int // about how many its record takes
}

// recordBytes is what a record of an offset takes besides its strings.
const recordBytes = 80

func commitOf(group string, t *kmsg.OffsetCommitRequestTopic, p kmsg.OffsetCommitRequestTopicPartition, now time.Time, expires int64) commit {
	o := &offset{at: p.Offset, epoch: p.LeaderEpoch, time: now.UnixMilli(), expires: expires, topicID: t.TopicID}
	if p.Metadata != nil {
		o.metadata = *p.Metadata
	}
	return commit{place{t.Topic, p.Partition}, o, recordBytes + len(group) + len(t.Topic) + len(o.metadata)}
}

func (c *Core) commit(g *group, x *commit) {
	x.offset.metadata = strings.Clone(x.offset.metadata)
	g.put(x.topic, x.partition, x.offset)
	c.record(offsetKey(g.id, x.topic, x.partition), offsetValue(x.offset))
}

// refuseAll makes every offset of an answer that would have been committed one
// that was not.
func refuseAll(resp *kmsg.OffsetCommitResponse, code int16) {
	for i := range resp.Topics {
		for k := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[k]; p.ErrorCode == none {
				p.ErrorCode = code
			}
		}
	}
}

func (g *group) put(topic string, partition int32, o *offset) {
	if g.offsets[topic] == nil {
		g.offsets[topic] = map[int32]*offset{}
	}
	g.offsets[topic][partition] = o
}

func (g *group) clear(topic string, partition int32) {
	delete(g.offsets[topic], partition)
	if len(g.offsets[topic]) == 0 {
		delete(g.offsets, topic)
	}
}

// Fetch is one group of OffsetFetch v1–10 (KIP-709). Null topics are all that
// the group has offsets of. A group that does not exist, and a partition without
// an offset, are no errors: the offset is -1. requireStable (KIP-447) changes
// nothing as long as no transaction can have an offset pending.
func (c *Core) Fetch(req *kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
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
				if o := g.offsets[t.Topic][partition]; o != nil {
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

// DropTopic removes all offsets of a topic that is deleted.
func (c *Core) DropTopic(now time.Time, topic string) {
	for _, g := range c.sorted() {
		if len(g.offsets[topic]) == 0 {
			continue
		}
		n := len(g.offsets[topic])
		for _, partition := range slices.Sorted(maps.Keys(g.offsets[topic])) {
			c.erase(g, topic, partition)
		}
		c.noteGroup(now, g, EventOffsetsDeleted, fmt.Sprintf("those of %s, with topic %s", plural(n, "partition"), topic))
		c.expire(now, g)
	}
}

func (c *Core) erase(g *group, topic string, partition int32) {
	g.clear(topic, partition)
	c.record(offsetKey(g.id, topic, partition), nil)
}
