package group

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Producer is who appends the records of a transaction.
type Producer struct {
	ID    int64
	Epoch int16
}

// transaction is what a Core knows of a producer's open transaction: which offsets
// are pending in it.
type transaction struct {
	epoch  int16 // the newest that has committed in it
	places map[*group]map[place]struct{}
}

// What a pending offset takes is counted whole, unlike a committed one: of these there
// is one for each partition, of those one for each producer besides.
const (
	transactionBytes = 384
	pendingOffset    = 512
)

func heldPending(topic string, o *offset) int64 {
	return int64(pendingOffset + len(topic) + len(o.metadata))
}

// CommitTxn is TxnOffsetCommit v0–5 (KIP-98, KIP-447): the offsets are pending until
// EndTxn. Every topic that exists must carry its name; ids gives its id, and refuse
// the error of a partition that does not exist, 0 for all others. That the
// transaction is open, and the group's partition in it, is for the coordinator of
// transactions to know; the caller has asked it.
func (c *Core) CommitTxn(now time.Time, req *kmsg.TxnOffsetCommitRequest,
	ids func(topic string) [16]byte, refuse func(topic string, partition int32) int16) *kmsg.TxnOffsetCommitResponse {
	g, code := c.pendTo(req)
	c.maybeFenced(now, g, code, req.MemberID, req.InstanceID, "TxnOffsetCommit")
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	resp.Version = req.Version
	batch := commits{at: map[place]int{}}
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewTxnOffsetCommitResponseTopic()
		rt.Topic = t.Topic
		id := ids(t.Topic)
		for k := range t.Partitions {
			p := &t.Partitions[k]
			rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			if code == none {
				rp.ErrorCode = refuse(t.Topic, p.Partition)
			}
			if rp.ErrorCode == none && p.Metadata != nil && len(*p.Metadata) > c.cfg.MaxOffsetMetadata {
				rp.ErrorCode = offsetMetadataTooLarge
			}
			if rp.ErrorCode == none {
				o := &offset{at: p.Offset, epoch: p.LeaderEpoch, metadata: text(p.Metadata), time: now.UnixMilli(), expires: -1, topicID: id}
				batch.add(commit{place{t.Topic, p.Partition}, o, recordBytes + len(g.id) + len(t.Topic) + len(o.metadata)})
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if whole := c.refusesPending(g, req, &batch); whole != none {
		refuseAllPending(resp, whole)
	} else {
		p := Producer{req.ProducerID, req.ProducerEpoch}
		for i := range batch.list {
			x := &batch.list[i]
			x.offset.metadata = strings.Clone(x.offset.metadata)
			c.pend(p, g, x.place, x.offset)
			c.recordTxn(&p, offsetKey(g.id, x.topic, x.partition), offsetValue(x.offset))
		}
	}
	if g != nil {
		c.settle(g)
	}
	return resp
}

// pendTo finds the group of a commit and says whether the sender may commit. A producer
// that tells nothing of a consumer is let through even when the group has members
// (KIP-447): it is its transactional id that fences it.
func (c *Core) pendTo(req *kmsg.TxnOffsetCommitRequest) (*group, int16) {
	if t := c.txns[req.ProducerID]; t != nil && req.ProducerEpoch < t.epoch {
		return nil, invalidProducerEpoch
	}
	g := c.groups[req.Group]
	if g == nil {
		switch {
		case req.Group == "", len(req.Group) > MaxID:
			return nil, invalidGroupID
		case req.Generation >= 0:
			return nil, illegalGeneration
		case c.full:
			return nil, policyViolation
		}
		return c.lookup(req.Group), none
	}
	if g.consumer != nil {
		return g, illegalIfStale(g.consumerMayCommit(txnCommitter(req)))
	}
	return g, g.mayCommit(txnCommitter(req))
}

func txnCommitter(req *kmsg.TxnOffsetCommitRequest) committer {
	return committer{req.MemberID, req.InstanceID, req.Generation, req.Version, true}
}

// illegalIfStale: producers know no member epochs, so one that is behind is told what
// a generation that is behind is.
func illegalIfStale(code int16) int16 {
	if code == staleMemberEpoch {
		return illegalGeneration
	}
	return code
}

// refusesPending looks at a commit as a whole, as refuses does.
func (c *Core) refusesPending(g *group, req *kmsg.TxnOffsetCommitRequest, batch *commits) int16 {
	if len(batch.list) == 0 {
		return none
	}
	if code := illegalIfStale(c.refuses(g, txnCommitter(req), batch)); code != none {
		return code
	}
	n := int64(0)
	if c.txns[req.ProducerID] == nil {
		n = transactionBytes
	}
	for i := range batch.list {
		x := &batch.list[i]
		n += heldPending(x.topic, x.offset)
		if old := g.pendingOf(req.ProducerID, x.place); old != nil {
			n -= heldPending(x.topic, old)
		}
	}
	if !c.fits(g, n) {
		return coordinatorNotAvailable // clients try again, and meanwhile transactions end
	}
	return none
}

func refuseAllPending(resp *kmsg.TxnOffsetCommitResponse, code int16) {
	for i := range resp.Topics {
		for k := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[k]; p.ErrorCode == none {
				p.ErrorCode = code
			}
		}
	}
}

// EndTxn ends the transaction of a producer: its pending offsets become those of their
// groups, or are gone. Of two offsets of one partition the one counts that came later
// into the log, whether it was in a transaction or not; else compaction, which keeps
// the later one, would change what a replay gives. There are no records: it is the
// marker in the log that says so, and the caller must have appended it, between
// the records taken before and those that come.
func (c *Core) EndTxn(now time.Time, producerID int64, committed bool) {
	for _, e := range c.endTxn(producerID, committed) {
		switch {
		case e.kept:
			c.timers.set(&e.expiry, now)
			c.settle(e.group)
		case committed:
			c.armCommitted(now, e.group, e.sent+c.cfg.OffsetsRetention.Milliseconds())
		default:
			c.settle(e.group)
		}
	}
}

// ended is a group that had offsets pending in a transaction that has ended.
type ended struct {
	*group
	sent int64 // ms, when the first of them was
}

// endTxn returns the groups that had offsets pending, in the order of their ids.
func (c *Core) endTxn(producerID int64, committed bool) []ended {
	t := c.txns[producerID]
	if t == nil {
		return nil
	}
	groups := make([]ended, 0, len(t.places))
	for g, places := range t.places {
		e := ended{g, math.MaxInt64}
		for at := range places {
			o := g.pendingOf(producerID, at)
			c.unpend(g, at, producerID)
			if old := g.offsets[at.topic][at.partition]; committed && (old == nil || old.order < o.order) {
				c.keep(g, at, o)
			}
			e.sent = min(e.sent, o.time)
		}
		groups = append(groups, e)
	}
	delete(c.txns, producerID)
	c.count(-transactionBytes)
	slices.SortFunc(groups, func(a, b ended) int { return strings.Compare(a.id, b.id) })
	return groups
}

// Pends tells whether a producer has offsets pending here.
func (c *Core) Pends(producerID int64) bool { return c.txns[producerID] != nil }

// pend makes an offset pending, in the place of an earlier one of the same transaction.
func (c *Core) pend(p Producer, g *group, at place, o *offset) {
	t := c.txns[p.ID]
	if t == nil {
		t = &transaction{epoch: p.Epoch, places: map[*group]map[place]struct{}{}}
		c.txns[p.ID] = t
		c.count(transactionBytes)
	}
	t.epoch = max(t.epoch, p.Epoch)
	if t.places[g] == nil {
		t.places[g] = map[place]struct{}{}
	}
	t.places[g][at] = struct{}{}
	partitions := g.unstable[at.topic]
	if partitions == nil {
		partitions = map[int32]map[int64]*offset{}
		g.unstable[at.topic] = partitions
	}
	if partitions[at.partition] == nil {
		partitions[at.partition] = map[int64]*offset{}
	}
	n := heldPending(at.topic, o)
	if old := partitions[at.partition][p.ID]; old != nil {
		n -= heldPending(at.topic, old)
	}
	c.hold(g, n)
	o.order = c.next()
	partitions[at.partition][p.ID] = o
}

// unpend drops a pending offset.
func (c *Core) unpend(g *group, at place, producerID int64) {
	partitions := g.unstable[at.topic]
	c.hold(g, -heldPending(at.topic, partitions[at.partition][producerID]))
	delete(partitions[at.partition], producerID)
	if len(partitions[at.partition]) == 0 {
		delete(partitions, at.partition)
	}
	if len(partitions) == 0 {
		delete(g.unstable, at.topic)
	}
	places := c.txns[producerID].places
	delete(places[g], at)
	if len(places[g]) == 0 {
		delete(places, g)
	}
}

// unpendAll drops what all transactions have pending for a partition.
func (c *Core) unpendAll(g *group, at place) {
	for producerID := range g.unstable[at.topic][at.partition] {
		c.unpend(g, at, producerID)
	}
}

func (g *group) pendingOf(producerID int64, at place) *offset {
	return g.unstable[at.topic][at.partition][producerID]
}

// isUnstable tells whether a transaction may yet change the offset of a partition.
func (g *group) isUnstable(topic string, partition int32) bool {
	return len(g.unstable[topic][partition]) > 0
}

// topicsOf are the topics of committed and of pending offsets.
func (g *group) topicsOf() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(g.offsets)), maps.Keys(g.unstable))
	slices.Sort(all)
	return slices.Compact(all)
}

// partitionsOf are the partitions of a topic with a committed or a pending offset.
func (g *group) partitionsOf(topic string) []int32 {
	all := slices.AppendSeq(slices.Collect(maps.Keys(g.offsets[topic])), maps.Keys(g.unstable[topic]))
	slices.Sort(all)
	return slices.Compact(all)
}
