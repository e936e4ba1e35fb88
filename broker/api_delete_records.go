package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
)

// DeleteRecords, key 21, v0–2 (KIP-107; v2 flexible).
//
// The log start moves to the asked offset, -1 is the high watermark. The answer is
// the log start then (Kafka calls it the low watermark, as there may be replicas);
// asking for less than it is no error. It comes when the new start is durable.
//
// Moving waits for that, so the request is served on a goroutine of its own, and
// requests behind it on the same connection may be served before.

// highWatermark asks to delete all records that a consumer could read.
const highWatermark = -1

func (b *Broker) deleteRecords(c *call, req *kmsg.DeleteRecordsRequest) {
	b.metadata.reaper.Go(func() {
		resp := kmsg.NewPtrDeleteRecordsResponse()
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, b.deleteTopicRecords(c, &req.Topics[i]))
		}
		c.reply(resp, b.metadata.lsn())
	})
}

func (b *Broker) deleteTopicRecords(c *call, asked *kmsg.DeleteRecordsRequestTopic) kmsg.DeleteRecordsResponseTopic {
	out := kmsg.NewDeleteRecordsResponseTopic()
	out.Topic = asked.Topic
	t := b.metadata.topic(asked.Topic)
	var starts []meta.LogStart
	for i := range asked.Partitions {
		p := kmsg.NewDeleteRecordsResponseTopicPartition()
		p.Partition, p.LowWatermark = asked.Partitions[i].Partition, -1
		start, err := newStart(t, p.Partition, asked.Partitions[i].Offset)
		if err != nil {
			p.ErrorCode = codeOf(err)
		} else if start > 0 {
			starts = append(starts, meta.LogStart{Partition: p.Partition, Offset: start})
		}
		out.Partitions = append(out.Partitions, p)
	}
	var err error
	for len(starts) > 0 && err == nil {
		n := min(len(starts), startsPerRecord)
		err = b.metadata.moveStarts(c.ctx, t, starts[:n])
		starts = starts[n:]
	}
	for i := range out.Partitions {
		p := &out.Partitions[i]
		switch {
		case p.ErrorCode != 0:
		case err != nil:
			p.ErrorCode = codeOf(err)
		default:
			p.LowWatermark = t.partition(p.Partition).Offsets().Start
		}
	}
	return out
}

// newStart is the offset that a partition's log shall start at; 0 if it does so
// already.
func newStart(t *topic, partition int32, asked int64) (int64, error) {
	if t == nil || t.partition(partition) == nil {
		return 0, errNoTopic
	}
	marks := t.partition(partition).Offsets()
	if asked == highWatermark {
		asked = marks.High
	}
	switch {
	case t.Internal:
		return 0, fmt.Errorf("%w: %q is the broker's own", meta.ErrInvalidTopic, t.Name)
	case !t.config.Delete:
		return 0, refuse(kerr.PolicyViolation, "cleanup.policy is compact only")
	case asked < 0 || asked > marks.High:
		return 0, refuse(kerr.OffsetOutOfRange, "the offset is negative or behind the high watermark")
	case asked <= marks.Start:
		return 0, nil
	}
	return asked, nil
}
