package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// TxnOffsetCommit, key 28, v0–5.
//
//	v2  the leader epoch of the last record (KIP-320)
//	v3  flexible; member, generation and instance, which fence (KIP-447)
//	v4  TRANSACTION_ABORTABLE instead of INVALID_TXN_STATE (KIP-890)
//	v5  the group's partition need not be added before (KIP-890)
//
// The offsets are pending until the transaction ends. Whether the producer has one open
// with the group's partition in it is looked up on the goroutine of the group's shard:
// an end shuts the producer out first, and then has the shard stand still. So no offset
// can come behind the marker of its transaction.
//
// Deviations: as of OffsetCommit, a partition that the topic does not have is
// UNKNOWN_TOPIC_OR_PARTITION, one that is named more than once makes one record, and a
// commit that would make a group too many is POLICY_VIOLATION. What finds no room in
// memory is COORDINATOR_NOT_AVAILABLE as a whole.
func (h *transactions) txnOffsetCommit(c *call, req *kmsg.TxnOffsetCommitRequest) {
	image := h.cfg.topics.image()
	if !anyCommittable(image, req) {
		// Nothing to commit: nor is a transaction begun.
		c.reply(refusedPending(image, req, 0), h.cfg.topics.lsn())
		return
	}
	if req.Group == "" || len(req.Group) > group.MaxID {
		c.reply(failedPending(req, kerr.InvalidGroupID.Code), 0)
		return
	}
	at, ok := h.groupsPlace(image, req.Group)
	if !ok {
		c.reply(failedPending(req, kerr.NotCoordinator.Code), 0)
		return
	}
	var lsn storage.LSN
	if !h.open.has(req.ProducerID, req.ProducerEpoch, at) {
		var code int16
		if code, lsn = h.joinOffsets(c, req, at); code != 0 {
			c.reply(failedPending(req, code), lsn)
			return
		}
	}
	h.cfg.groups.ask(c, req.Group, task{
		step: func(s *shard, now time.Time) func(storage.LSN) {
			resp := h.pend(s, now, req, at)
			return func(newest storage.LSN) { c.reply(resp, max(lsn, newest)) }
		},
		fail: func(code int16) { c.reply(failedPending(req, code), 0) },
	})
}

// groupsPlace is the partition of __consumer_offsets in which a group is kept; false if
// there is no coordinator of groups.
func (h *transactions) groupsPlace(image *meta.Image, groupID string) (txnPartition, bool) {
	t := image.Topic(meta.OffsetsTopic)
	if t == nil || h.cfg.groups.shardOf(groupID) == nil {
		return txnPartition{}, false
	}
	return txnPartition{t.ID, partitionOf(groupID, t.Partitions)}, true
}

// joinOffsets takes the group's partition into the transaction, which v5 wants done, or
// asks why it is not in it.
func (h *transactions) joinOffsets(c *call, req *kmsg.TxnOffsetCommitRequest, at txnPartition) (int16, storage.LSN) {
	from := txn.Sender{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch}
	parts := []txn.Partition{{Topic: meta.OffsetsTopic, ID: at.topic, Number: at.number}}
	if c.version >= 5 {
		code, lsn := h.begin(c.ctx, from, parts, 2)
		return pendingCode(code, c.version), lsn
	}
	code, each, lsn := h.verify(c.ctx, from, parts)
	if code == 0 {
		code = each[0] // 0 if it has been added since
	}
	return pendingCode(code, c.version), lsn
}

// pendingCode is what a producer is told that cannot commit.
func pendingCode(code, version int16) int16 {
	switch code {
	case kerr.ProducerFenced.Code:
		return kerr.InvalidProducerEpoch.Code
	case kerr.TransactionAbortable.Code:
		if version < 4 {
			return kerr.InvalidTxnState.Code
		}
	case kerr.NotCoordinator.Code:
		// It is the coordinator of transactions that cannot say; that of the group is here.
		return kerr.CoordinatorNotAvailable.Code
	}
	return code
}

// pend runs on the shard's goroutine.
func (h *transactions) pend(s *shard, now time.Time, req *kmsg.TxnOffsetCommitRequest, at txnPartition) kmsg.Response {
	if !h.open.has(req.ProducerID, req.ProducerEpoch, at) {
		code := kerr.TransactionAbortable.Code
		switch {
		case h.open.unsure.Load() > 0:
			code = kerr.CoordinatorNotAvailable.Code // it may be open, once its shard has read its log
		case req.Version >= 5:
			code = kerr.InvalidTxnState.Code // it has just been in, and has ended
		}
		return failedPending(req, pendingCode(code, req.Version))
	}
	if s.log.newestEpoch(req.ProducerID) > req.ProducerEpoch {
		return failedPending(req, kerr.InvalidProducerEpoch.Code) // the log would refuse it, with all else in the batch
	}
	s.admit()
	image := h.cfg.topics.image() // here, as in offsetCommit
	return s.core.CommitTxn(now, req, func(name string) (id [16]byte) {
		if t := image.Topic(name); t != nil {
			id = t.ID
		}
		return id
	}, func(name string, partition int32) int16 { return pendable(image, name, partition) })
}

func pendable(image *meta.Image, name string, partition int32) int16 {
	if t := image.Topic(name); t == nil || partition < 0 || partition >= t.Partitions {
		return kerr.UnknownTopicOrPartition.Code
	}
	return 0
}

func anyCommittable(image *meta.Image, req *kmsg.TxnOffsetCommitRequest) bool {
	for i := range req.Topics {
		t := &req.Topics[i]
		for k := range t.Partitions {
			if pendable(image, t.Topic, t.Partitions[k].Partition) == 0 {
				return true
			}
		}
	}
	return false
}

// refusedPending is an answer in which each partition that does not exist is told so, and
// the others code.
func refusedPending(image *meta.Image, req *kmsg.TxnOffsetCommitRequest, code int16) kmsg.Response {
	return pendingAnswer(req, func(topic string, partition int32) int16 {
		if refused := pendable(image, topic, partition); refused != 0 {
			return refused
		}
		return code
	})
}

func failedPending(req *kmsg.TxnOffsetCommitRequest, code int16) kmsg.Response {
	return pendingAnswer(req, func(string, int32) int16 { return code })
}

func pendingAnswer(req *kmsg.TxnOffsetCommitRequest, code func(topic string, partition int32) int16) kmsg.Response {
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewTxnOffsetCommitResponseTopic()
		rt.Topic = t.Topic
		for k := range t.Partitions {
			rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			rp.Partition = t.Partitions[k].Partition
			rp.ErrorCode = code(t.Topic, rp.Partition)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
