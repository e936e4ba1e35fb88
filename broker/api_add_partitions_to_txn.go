package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// AddPartitionsToTxn, key 24, v0–5.
//
//	v2  PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH (KIP-588)
//	v3  flexible
//	v4  several transactions, and to verify only, between brokers (KIP-890)
//	v5  TRANSACTION_ABORTABLE (KIP-890)
//
// If one partition of a transaction does not exist, none is added: the others are
// OPERATION_NOT_ATTEMPTED. Internal topics are TOPIC_AUTHORIZATION_FAILED.
//
// Deviation: partitions beyond weir.max.transaction.partitions are POLICY_VIOLATION.
func (h *transactions) addPartitionsToTxn(c *call, req *kmsg.AddPartitionsToTxnRequest) {
	if c.version < 4 {
		h.addPartitions(c, req)
		return
	}
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	resp.Transactions = make([]kmsg.AddPartitionsToTxnResponseTransaction, len(req.Transactions))
	unpin := c.pin()
	all := newGather(len(req.Transactions), func(lsn storage.LSN) {
		unpin()
		c.reply(resp, max(lsn, h.cfg.topics.lsn()))
	})
	for i := range req.Transactions {
		t := &req.Transactions[i]
		r := &resp.Transactions[i]
		r.TransactionalID, r.Topics = t.TransactionalID, make([]kmsg.AddPartitionsToTxnResponseTransactionTopic, 0, len(t.Topics))
		set := newPartitionSet(h.cfg.topics.image())
		for _, topic := range t.Topics {
			set.add(topic.Topic, topic.Partitions)
		}
		finish := func(lsn storage.LSN) {
			set.each(func(topic string, partitions []kmsg.AddPartitionsToTxnResponseTopicPartition) {
				rt := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
				rt.Topic = topic
				for _, p := range partitions {
					rt.Partitions = append(rt.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p.Partition, ErrorCode: p.ErrorCode})
				}
				r.Topics = append(r.Topics, rt)
			})
			all.done(lsn)
		}
		from := txn.Sender{TransactionalID: t.TransactionalID, ProducerID: t.ProducerID, Epoch: t.ProducerEpoch}
		h.join(c, from, set, t.VerifyOnly, finish)
	}
}

// addPartitions is v0–3, of clients.
func (h *transactions) addPartitions(c *call, req *kmsg.AddPartitionsToTxnRequest) {
	set := newPartitionSet(h.cfg.topics.image())
	for _, topic := range req.Topics {
		set.add(topic.Topic, topic.Partitions)
	}
	unpin := c.pin()
	from := txn.Sender{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch}
	h.join(c, from, set, false, func(lsn storage.LSN) {
		unpin()
		resp := kmsg.NewPtrAddPartitionsToTxnResponse()
		set.each(func(topic string, partitions []kmsg.AddPartitionsToTxnResponseTopicPartition) {
			rt := kmsg.NewAddPartitionsToTxnResponseTopic()
			rt.Topic, rt.Partitions = topic, partitions
			resp.Topics = append(resp.Topics, rt)
		})
		c.reply(resp, max(lsn, h.cfg.topics.lsn()))
	})
}

// join has a shard take the partitions into a transaction, or look whether they are in it,
// and notes in the set what came of it.
func (h *transactions) join(c *call, from txn.Sender, set *partitionSet, verify bool, finish func(storage.LSN)) {
	if set.refused {
		set.fail(kerr.OperationNotAttempted.Code)
		finish(0)
		return
	}
	version := int16(1)
	if c.version >= 4 {
		version = 2
	}
	h.ask(c.ctx, from.TransactionalID, errand[*txnShard]{
		step: func(s *txnShard, now time.Time) func(storage.LSN) {
			if verify {
				whole, each := s.core.Verify(from, set.partitions)
				set.verified(whole, each, c.version)
			} else {
				set.fail(fenced(s.core.AddPartitions(now, from, set.partitions, version), c.version, 2))
			}
			return finish
		},
		fail: func(code int16) {
			set.fail(code)
			finish(0)
		},
	})
}

// partitionSet are the partitions that a request names, and what each is answered.
type partitionSet struct {
	image      *meta.Image
	topics     []partitionSetTopic
	partitions []txn.Partition // of all that exist, in order
	refused    bool            // one does not
}

type partitionSetTopic struct {
	name       string
	partitions []kmsg.AddPartitionsToTxnResponseTopicPartition
}

func newPartitionSet(image *meta.Image) *partitionSet { return &partitionSet{image: image} }

func (s *partitionSet) add(topic string, partitions []int32) {
	t := s.image.Topic(topic)
	out := partitionSetTopic{topic, make([]kmsg.AddPartitionsToTxnResponseTopicPartition, len(partitions))}
	for i, number := range partitions {
		p := &out.partitions[i]
		p.Partition = number
		switch {
		case meta.IsInternal(topic):
			p.ErrorCode = kerr.TopicAuthorizationFailed.Code
		case t == nil || number < 0 || number >= t.Partitions:
			p.ErrorCode = kerr.UnknownTopicOrPartition.Code
		default:
			s.partitions = append(s.partitions, txn.Partition{Topic: topic, ID: t.ID, Number: number})
			continue
		}
		s.refused = true
	}
	s.topics = append(s.topics, out)
}

// fail gives all that have no code yet one.
func (s *partitionSet) fail(code int16) { s.verified(code, nil, 5) }

// verified gives those that have no code yet the one of the whole, or their own.
func (s *partitionSet) verified(whole int16, each []int16, version int16) {
	n := 0
	for i := range s.topics {
		for k := range s.topics[i].partitions {
			p := &s.topics[i].partitions[k]
			if p.ErrorCode != 0 {
				continue
			}
			p.ErrorCode = whole
			if each != nil {
				p.ErrorCode = each[n]
			}
			if p.ErrorCode == kerr.TransactionAbortable.Code && version < 5 {
				p.ErrorCode = kerr.InvalidTxnState.Code
			}
			n++
		}
	}
}

func (s *partitionSet) each(f func(topic string, partitions []kmsg.AddPartitionsToTxnResponseTopicPartition)) {
	for _, t := range s.topics {
		f(t.name, t.partitions)
	}
}
