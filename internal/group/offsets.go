package group

import (
	"fmt"
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
	order    int64    // counts the offsets of the log, so that of two the later is known
}

// Commit is OffsetCommit v2–10 (KIP-211, KIP-320, KIP-345, KIP-447's rules for
// plain commits). Every topic of the request must carry its name and its id,
// whatever the version. refuse says for a partition that does not exist which
// error its entry gets, and 0 for all others.
func (c *Core) Commit(now time.Time, req *kmsg.OffsetCommitRequest,
	refuse func(t *kmsg.OffsetCommitRequestTopic, partition int32) int16) *kmsg.OffsetCommitResponse {
	from := committer{req.MemberID, req.InstanceID, req.Generation, req.Version, false}
	g, code := c.commitTo(req, from)
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
			if rp.ErrorCode == none && !c.noteFits(g, &batch, t.Topic, &p) {
				rp.ErrorCode = offsetMetadataTooLarge
			}
			if rp.ErrorCode == none {
				batch.add(commitOf(g.id, t, p, now, expires))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if whole := c.refuses(g, from, &batch); whole != none {
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
func (c *Core) refuses(g *group, from committer, batch *commits) int16 {
	if batch.bytes > c.cfg.MaxRecord {
		return invalidCommitOffsetSize
	}
	if g == nil || g.consumer == nil {
		return none
	}
	for i := range batch.list {
		x := &batch.list[i]
		if code := g.consumerMayCommitTo(from, x.offset.topicID, x.partition); code != none {
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
	notes int // bytes of metadata, those that are replaced in the request, too
}

func (b *commits) add(x commit) {
	i, again := b.at[x.place]
	if !again {
		i = len(b.list)
		b.at[x.place] = i
		b.list = append(b.list, commit{})
	}
	b.notes += len(x.offset.metadata)
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
func (c *Core) commitTo(req *kmsg.OffsetCommitRequest, from committer) (*group, int16) {
	g := c.groups[req.Group]
	if g == nil {
		switch {
		case len(req.Group) > MaxID:
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
		return g, g.consumerMayCommit(from)
	}
	return g, g.mayCommit(from)
}

// committer is who commits offsets.
type committer struct {
	memberID      string
	instance      *string
	generation    int32 // or member epoch; -1: none
	version       int16 // of the request
	transactional bool
}

// anonymous is a committer that names no member.
func (from *committer) anonymous() bool {
	return from.generation < 0 && from.memberID == "" && from.instance == nil
}

func (g *group) mayCommit(from committer) int16 {
	if from.generation < 0 && g.state == Empty {
		return none
	}
	if from.anonymous() {
		if from.transactional {
			return none
		}
		return unknownMemberID
	}
	if code := g.check(from.memberID, from.instance); code != none {
		return code
	}
	if from.generation != g.byID[from.memberID].known(g.generation) {
		return illegalGeneration
	}
	if g.state == CompletingRebalance && !from.transactional {
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
	c.put(g, x.place, x.offset)
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

// next counts the offsets that come into the log.
func (c *Core) next() int64 {
	c.order++
	return c.order
}

// put makes an offset, the newest in the log, that of its partition.
func (c *Core) put(g *group, at place, o *offset) {
	o.order = c.next()
	c.keep(g, at, o)
}

func (c *Core) keep(g *group, at place, o *offset) {
	if g.offsets[at.topic] == nil {
		g.offsets[at.topic] = map[int32]*offset{}
	}
	c.holdNote(g, g.offsets[at.topic][at.partition], o)
	g.offsets[at.topic][at.partition] = o
}

// clear does what a tombstone does: what is pending for the partition is gone, too.
func (c *Core) clear(g *group, topic string, partition int32) {
	c.unpendAll(g, place{topic, partition})
	c.holdNote(g, g.offsets[topic][partition], nil)
	delete(g.offsets[topic], partition)
	if len(g.offsets[topic]) == 0 {
		delete(g.offsets, topic)
	}
}

// DropTopic removes all offsets of a topic that is deleted, pending ones too.
func (c *Core) DropTopic(now time.Time, topic string) {
	for _, g := range c.sorted() {
		n := c.eraseTopic(g, topic)
		if n == 0 {
			continue
		}
		c.noteGroup(now, g, EventOffsetsDeleted, fmt.Sprintf("those of %s, with topic %s", plural(n, "partition"), topic))
		c.expire(now, g)
	}
}

func (c *Core) erase(g *group, topic string, partition int32) {
	c.clear(g, topic, partition)
	c.record(offsetKey(g.id, topic, partition), nil)
}

// eraseTopic erases all offsets of a topic, and tells how many there were.
func (c *Core) eraseTopic(g *group, topic string) int {
	partitions := g.partitionsOf(topic)
	for _, partition := range partitions {
		c.erase(g, topic, partition)
	}
	return len(partitions)
}
