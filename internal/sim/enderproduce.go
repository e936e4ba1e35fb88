package sim

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// add is AddPartitionsToTxn of version 1 of the protocol.
func (e *ender) add(ctx context.Context, partitions []int) bool {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = e.id, e.pid, e.epoch
	t := kmsg.NewAddPartitionsToTxnRequestTopic()
	t.Topic = endsTopic
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, int32(p))
	}
	req.Topics = append(req.Topics, t)
	resp, ok := e.ask(ctx, 0, req).(*kmsg.AddPartitionsToTxnResponse)
	if !ok {
		return false
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return false
			}
		}
	}
	return true
}

// produce sends records to the partitions, again until there is an answer; false if
// not all were taken.
func (e *ender) produce(ctx context.Context, partitions []int) bool {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.TransactionID = -1, 5000, &e.id
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = endsTopic, e.load.endsID
	ids := map[int32][]Record{}
	for _, number := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition = int32(number)
		var values [][]byte
		for range 1 + e.random.IntN(3) {
			id := Record{e.self, e.seq}
			e.seq++
			e.load.cfg.Ledger.Add(SentIn{Sent{id, Partition{endsTopic, p.Partition}}, e.txn})
			ids[p.Partition], values = append(ids[p.Partition], id), append(values, value(id, 50))
		}
		p.Records = txnBatch(e.pid, e.epoch, e.sent[p.Partition], values)
		e.sent[p.Partition] += int32(len(values))
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	var resp *kmsg.ProduceResponse
	for try := 0; resp == nil && try < 200; try++ {
		if resp, _ = e.ask(ctx, 0, req).(*kmsg.ProduceResponse); resp == nil && !pause(ctx, 50*time.Millisecond) {
			break
		}
	}
	return e.taken(resp, ids)
}

// taken tells the ledger what was answered to a Produce request; nil if nothing was.
func (e *ender) taken(resp *kmsg.ProduceResponse, ids map[int32][]Record) bool {
	if resp != nil {
		for _, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				continue
			}
			for i, id := range ids[p.Partition] {
				e.load.cfg.Ledger.Add(Acked{id, p.BaseOffset + int64(i)})
			}
			delete(ids, p.Partition)
		}
	}
	for _, left := range ids {
		for _, id := range left {
			e.load.cfg.Ledger.Add(Unknown{id})
		}
	}
	return len(ids) == 0
}

// txnBatch is a batch of a transaction.
func txnBatch(pid int64, epoch int16, sequence int32, values [][]byte) []byte {
	var records []byte
	for i, v := range values {
		body := binary.AppendVarint([]byte{0, 0}, int64(i)) // attributes, time since that of the batch, offset
		body = binary.AppendVarint(body, -1)                // no key
		body = append(binary.AppendVarint(body, int64(len(v))), v...)
		body = append(body, 0) // no headers
		records = append(binary.AppendVarint(records, int64(len(body))), body...)
	}
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: 1 << 4, LastOffsetDelta: int32(len(values)) - 1,
		FirstTimestamp: now, MaxTimestamp: now, ProducerID: pid, ProducerEpoch: epoch, FirstSequence: sequence,
		NumRecords: int32(len(values)), Records: records,
	}
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}
