package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch, key 23, v2–4.
//
//	v2  current leader epoch (KIP-320)    v4  flexible
//	v3  replica id
//
// A consumer asks it when the leader epoch rises, which it does at each unclean
// start: where did the epoch end in which I read last? Its answer is the largest
// epoch that is not above that one, and its end; of an epoch older than all that
// is left of the log, the epoch itself and the log start; of one that never was,
// -1 and -1. The newest epoch ends at the high watermark (Kafka: the log end),
// because what lies behind it may still be lost. Nobody is a replica, whatever
// replica id comes.

// epochEndBytes is about how much memory a partition takes in the answer.
const epochEndBytes = 96

func (b *Broker) offsetForLeaderEpoch(c *call, req *kmsg.OffsetForLeaderEpochRequest) {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	n := len(req.Topics)
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	if err := c.reserve(int64(n) * epochEndBytes); err != nil {
		c.refuse(err)
		return
	}
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := b.metadata.topic(asked.Topic)
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = asked.Topic
		for k := range asked.Partitions {
			out.Partitions = append(out.Partitions, epochEnd(t, &asked.Partitions[k]))
		}
		resp.Topics = append(resp.Topics, out)
	}
	// High watermarks are durable; topics that are not there may wait.
	c.reply(resp, b.metadata.lsn())
}

func epochEnd(t *topic, q *kmsg.OffsetForLeaderEpochRequestTopicPartition) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	out := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
	out.Partition, out.LeaderEpoch, out.EndOffset = q.Partition, -1, -1
	if t == nil || t.partition(q.Partition) == nil {
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return out
	}
	log := t.partition(q.Partition)
	if code := checkLeaderEpoch(log, q.CurrentLeaderEpoch); code != 0 {
		out.ErrorCode = code
		return out
	}
	if q.LeaderEpoch < 0 || q.LeaderEpoch > log.LeaderEpoch() {
		return out
	}
	out.LeaderEpoch, out.EndOffset = log.EpochEnd(q.LeaderEpoch)
	if start, _ := log.Earliest(); out.LeaderEpoch < log.LeaderEpoch() && out.EndOffset <= start {
		out.LeaderEpoch, out.EndOffset = q.LeaderEpoch, start
	}
	return out
}
