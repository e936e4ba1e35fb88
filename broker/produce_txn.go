package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// Batches of transactions. A batch is appended only if its producer has a transaction open
// that holds the partition; the partition itself looks, under its lock (openTxns). Nearly
// always that is so, and nothing more is done. Partitions that are not in yet are dealt with
// once for the whole request, before anything of it is appended:
//
//	v12 and later  the producer's shard takes them in, which it records in its log first
//	before         the shard is asked what is wrong, since the producer must have added them
//
// What is answered then: a producer that was fenced INVALID_PRODUCER_EPOCH; one that the
// coordinator does not know INVALID_PRODUCER_ID_MAPPING; a partition that was not added
// INVALID_TXN_STATE, in v11 TRANSACTION_ABORTABLE; no coordinator just now
// NOT_ENOUGH_REPLICAS, after which every client tries again without looking for another
// leader. Deviation: one request that has transactional batches of several producers is
// served for the first, and the others are INVALID_TXN_STATE (Kafka: INVALID_RECORD).

// producedTxn is the transaction of a Produce request.
type producedTxn struct {
	id      []byte // the transactional id
	refused []refusedPartition
}

// refusedPartition is one that could not be taken in, or was not in.
type refusedPartition struct {
	at   txnPartition
	code int16
}

// joinTxn looks which partitions are not in the transaction yet, and has them taken in or
// asks why not. Nothing is allocated when all are in. partitions is how many the request
// names.
func (b *Broker) joinTxn(p *produceRequest, r wireReader, partitions int) {
	var from txn.Sender
	var missing []txn.Partition
	for range r.array(p.topicBytes()) {
		name, id := p.topicKey(&r)
		var t *topic
		if p.version >= 13 {
			t = b.metadata.topicByID(id)
		} else {
			t = b.metadata.topic(viewString(name))
		}
		for range r.array(5) {
			n := r.int32()
			v := batch.Batch(r.bytes())
			r.tags(nil)
			if t == nil || t.Internal || t.partition(n) == nil || len(v) < batch.HeaderLen || !v.Transactional() {
				continue
			}
			if b.txns.open.has(v.ProducerID(), v.ProducerEpoch(), txnPartition{t.ID, n}) {
				continue
			}
			if len(missing) == 0 {
				from = txn.Sender{ProducerID: v.ProducerID(), Epoch: v.ProducerEpoch()}
				missing = make([]txn.Partition, 0, min(partitions, 64))
			}
			if from.ProducerID == v.ProducerID() && from.Epoch == v.ProducerEpoch() {
				missing = append(missing, txn.Partition{Topic: t.Name, ID: t.ID, Number: n})
			}
		}
		r.tags(nil)
	}
	if len(missing) > 0 {
		from.TransactionalID = string(p.txn.id)
		b.takeIn(p, from, missing)
	}
}

func (b *Broker) takeIn(p *produceRequest, from txn.Sender, missing []txn.Partition) {
	var whole int16
	var each []int16
	var lsn storage.LSN
	if p.version >= 12 {
		whole, lsn = b.txns.begin(p.c.ctx, from, missing, 2)
	} else {
		whole, each, lsn = b.txns.verify(p.c.ctx, from, missing)
	}
	for i, m := range missing {
		code := whole
		if each != nil {
			code = each[i]
		}
		if code != 0 {
			p.tell(lsn)
			p.txn.refused = append(p.txn.refused, refusedPartition{txnPartition{m.ID, m.Number}, joinCode(code, p.version)})
		}
	}
}

// joinCode is what a producer is told.
func joinCode(code, version int16) int16 {
	switch code {
	case kerr.ProducerFenced.Code:
		return kerr.InvalidProducerEpoch.Code
	case kerr.TransactionAbortable.Code:
		if version < 11 {
			return kerr.InvalidTxnState.Code
		}
	case kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
		return kerr.NotEnoughReplicas.Code
	}
	return code
}

// mayJoin tells what came of taking a partition in.
func (p *produceRequest) mayJoin(t *topic, n int32) error {
	for _, r := range p.txn.refused {
		if r.at == (txnPartition{t.ID, n}) {
			return &kafkaError{r.code, fmt.Sprintf("the partition is not in the transaction of %q: %v", p.txn.id, kerr.ErrorForCode(r.code))}
		}
	}
	return nil
}
