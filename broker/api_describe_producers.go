package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// DescribeProducers, key 61, v0 (KIP-664): what each partition remembers of its
// producers, and which of them have a transaction open, since which offset.
//
// Deviation: what is named more than once is answered once.

// describedProducerBytes is about how much memory a producer takes in the answer.
const describedProducerBytes = 96

func (b *Broker) describeProducers(c *call, req *kmsg.DescribeProducersRequest) {
	resp := kmsg.NewPtrDescribeProducersResponse()
	lsn := b.metadata.lsn()
	seen := map[listed]bool{}
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := b.metadata.topic(asked.Topic)
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = asked.Topic
		for _, number := range asked.Partitions {
			key := listed{asked.Topic, number}
			if seen[key] {
				continue
			}
			seen[key] = true
			rp := kmsg.NewDescribeProducersResponseTopicPartition()
			rp.Partition = number
			var log *storage.Partition
			if t != nil {
				log = t.partition(number)
			}
			switch {
			case t == nil:
				rp.ErrorCode, rp.ErrorMessage = kerr.UnknownTopicOrPartition.Code, kmsg.StringPtr(kerr.UnknownTopicOrPartition.Description)
			case log == nil:
				rp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			default:
				rp.ActiveProducers = activeProducers(log)
				lsn = max(lsn, log.LastLSN()) // producers may have appended what is not durable yet
			}
			if err := c.reserve(int64(1+len(rp.ActiveProducers)) * describedProducerBytes); err != nil {
				c.refuse(err)
				return
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		if len(rt.Partitions) > 0 {
			resp.Topics = append(resp.Topics, rt)
		}
	}
	c.reply(resp, lsn)
}

func activeProducers(log *storage.Partition) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	list := []kmsg.DescribeProducersResponseTopicPartitionActiveProducer{}
	for _, w := range log.ActiveProducers() {
		p := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		p.ProducerID, p.ProducerEpoch, p.LastSequence = w.ID, int32(w.Epoch), w.LastSequence
		p.LastTimestamp, p.CoordinatorEpoch, p.CurrentTxnStartOffset = w.LastTimestamp, w.CoordinatorEpoch, w.TxnStart
		list = append(list, p)
	}
	return list
}
