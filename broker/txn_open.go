package broker

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// openTxns is what the partitions know of open transactions: which producer may write to
// which partitions, with which epoch. The shards of transactions keep it. A batch is
// checked against it under its partition's lock, and an end shuts the producer out before
// it takes the locks to append markers: so no batch can come behind the marker of its
// transaction, however late it is. A partition gets in when the record of that is in the
// journal, before any batch can be.
type openTxns struct {
	parts [openTxnParts]openTxnPart
	// unsure counts the shards that have no core just now: what is not here may be a
	// transaction of theirs.
	unsure atomic.Int32
}

// openTxnParts spreads producers over locks. None is held for more than a look-up.
const openTxnParts = 64

type openTxnPart struct {
	sync.RWMutex
	byProducer map[int64]*openTxn
}

// openTxn is the open transaction of a producer.
type openTxn struct {
	epoch      int16
	ending     bool // the markers are on their way: no batch comes in any more
	partitions map[txnPartition]struct{}
}

// txnPartition is a partition by what never changes.
type txnPartition struct {
	topic  storage.TopicID
	number int32
}

func newOpenTxns() *openTxns {
	o := &openTxns{}
	for i := range o.parts {
		o.parts[i].byProducer = map[int64]*openTxn{}
	}
	return o
}

func (o *openTxns) part(producerID int64) *openTxnPart {
	return &o.parts[uint64(producerID)%openTxnParts]
}

// has tells whether a producer may write to a partition.
func (o *openTxns) has(producerID int64, epoch int16, at txnPartition) bool {
	p := o.part(producerID)
	p.RLock()
	defer p.RUnlock()
	t := p.byProducer[producerID]
	if t == nil || t.ending || t.epoch != epoch {
		return false
	}
	_, ok := t.partitions[at]
	return ok
}

// hangs tells whether a transaction that is open in a partition is certainly not the
// coordinator's.
func (o *openTxns) hangs(producerID int64, at txnPartition) bool {
	p := o.part(producerID)
	p.RLock()
	defer p.RUnlock()
	if o.unsure.Load() > 0 {
		return false
	}
	t := p.byProducer[producerID]
	if t == nil {
		return true
	}
	_, ok := t.partitions[at]
	return !ok
}

// hangsAt is hangs for a transaction of which the epoch is known: one that the coordinator
// has, but of another epoch, is not the one.
func (o *openTxns) hangsAt(producerID int64, epoch int16, at txnPartition) bool {
	if o.hangs(producerID, at) {
		return true
	}
	return o.unsure.Load() == 0 && !o.has(producerID, epoch, at)
}

// add opens partitions to a producer.
func (o *openTxns) add(producerID int64, epoch int16, partitions []txn.Partition) {
	p := o.part(producerID)
	p.Lock()
	defer p.Unlock()
	t := p.byProducer[producerID]
	if t == nil || t.ending || t.epoch != epoch {
		t = &openTxn{epoch: epoch, partitions: make(map[txnPartition]struct{}, len(partitions))}
		p.byProducer[producerID] = t
	}
	for i := range partitions {
		t.partitions[txnPartition{partitions[i].ID, partitions[i].Number}] = struct{}{}
	}
}

// shut keeps a producer out of all partitions, while its transaction ends.
func (o *openTxns) shut(producerID int64) {
	p := o.part(producerID)
	p.Lock()
	defer p.Unlock()
	if t := p.byProducer[producerID]; t != nil {
		t.ending = true
	}
}

// forget drops a transaction that has ended.
func (o *openTxns) forget(producerID int64) {
	p := o.part(producerID)
	p.Lock()
	defer p.Unlock()
	delete(p.byProducer, producerID)
}

// errUnsure is retried by every client.
var errUnsure = refuse(kerr.NotEnoughReplicas, "the coordinator is reading its log and cannot say which transactions are open")

var errNotInTxn = refuse(kerr.InvalidTxnState, "the partition is not in a transaction that the producer has open")

// Admit implements storage.Guard for transactional batches.
func (o *openTxns) Admit(topic storage.TopicID, partition int32, b batch.Batch) error {
	switch {
	case o.has(b.ProducerID(), b.ProducerEpoch(), txnPartition{topic, partition}):
		return nil
	case o.unsure.Load() > 0:
		return errUnsure
	}
	return errNotInTxn
}

// count is the number of producers with an open transaction.
func (o *openTxns) count() int {
	n := 0
	for i := range o.parts {
		p := &o.parts[i]
		p.RLock()
		n += len(p.byProducer)
		p.RUnlock()
	}
	return n
}
