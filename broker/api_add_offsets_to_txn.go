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

// AddOffsetsToTxn, key 25, v0–4.
//
//	v2  PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH (KIP-588)
//	v3  flexible
//	v4  TRANSACTION_ABORTABLE, which nothing here answers (KIP-890)
//
// It adds the partition of __consumer_offsets that the group is kept in.
func (h *transactions) addOffsetsToTxn(c *call, req *kmsg.AddOffsetsToTxnRequest) {
	answer := func(code int16) kmsg.Response {
		resp := kmsg.NewPtrAddOffsetsToTxnResponse()
		resp.ErrorCode = fenced(code, c.version, 2)
		return resp
	}
	if len(req.Group) > group.MaxID {
		c.reply(answer(kerr.InvalidGroupID.Code), 0)
		return
	}
	part, _, err := h.offsetsPartition(c, req.Group)
	if err != nil {
		c.reply(answer(kerr.CoordinatorNotAvailable.Code), 0)
		return
	}
	from := txn.Sender{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch}
	h.ask(c.ctx, req.TransactionalID, answering(c,
		func(s *txnShard, now time.Time) kmsg.Response {
			return answer(s.core.AddPartitions(now, from, []txn.Partition{part}, 1))
		}, answer))
}

// offsetsPartition is the partition of __consumer_offsets that a group is kept in. It makes
// the topic if there is none.
func (h *transactions) offsetsPartition(c *call, groupID string) (txn.Partition, storage.LSN, error) {
	lsn, err := h.cfg.groups.ensure(c.ctx)
	if err != nil {
		return txn.Partition{}, 0, err
	}
	t := h.cfg.topics.image().Topic(meta.OffsetsTopic)
	return txn.Partition{Topic: t.Name, ID: t.ID, Number: partitionOf(groupID, t.Partitions)}, lsn, nil
}
