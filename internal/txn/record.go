package txn

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of the keys and values of __transaction_state, those that Apache Kafka 4.3 writes
// with transaction.version 2. Values of version 0 are read.
const (
	keyVersion   = 0
	valueVersion = 1
)

// UnknownKeyError is returned for a record of a type that this version of the broker does not
// know, written by a newer one or by Apache Kafka.
type UnknownKeyError struct{ Version int16 }

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("record key of version %d in __transaction_state, known is 0", e.Version)
}

func keyOf(id string) []byte {
	k := kmsg.TxnMetadataKey{Version: keyVersion, TransactionalID: id}
	return k.AppendTo(make([]byte, 0, 8+len(id)))
}

// value is the record of x.
func (x *transaction) value() []byte {
	v := kmsg.NewTxnMetadataValue()
	v.Version = valueVersion
	v.ProducerID, v.ProducerEpoch = x.producerID, x.epoch
	v.PreviousProducerID, v.NextProducerID, v.ClientTransactionVersion = x.previousID, x.nextID, x.version
	v.TimeoutMillis, v.State = int32(x.timeout.Milliseconds()), kmsg.TransactionState(x.state)
	v.LastUpdateTimestamp, v.StartTimestamp = x.updated, x.started
	bytes := 128
	all := x.list()
	numbers := make([]int32, len(all)) // of all topics, one after another
	for i := 0; i < len(all); {
		t := kmsg.NewTxnMetadataValueTopic()
		t.Topic = all[i].Topic
		first := i
		for ; i < len(all) && all[i].Topic == t.Topic; i++ {
			numbers[i] = all[i].Number
		}
		t.Partitions = numbers[first:i]
		v.Topics = append(v.Topics, t)
		bytes += partitionBytes + len(t.Topic) + 4*len(t.Partitions)
	}
	return v.AppendTo(make([]byte, 0, bytes))
}

// size is about how many bytes the record of x takes, at most.
func (x *transaction) size() int {
	n := 128 + len(x.id)
	for p := range x.partitions {
		n += len(p.topic) + partitionBytes
	}
	return n
}

// partitionBytes is what a partition that is alone in its topic takes besides the name.
const partitionBytes = 12

func sizeOf(parts []Partition) int {
	n := 0
	for i := range parts {
		n += len(parts[i].Topic) + partitionBytes
	}
	return n
}

// decode reads a record; a nil transaction is a tombstone. It never panics, and what it
// allocates is bounded by the length of the record.
func decode(key, value []byte) (id string, x *transaction, err error) {
	if len(key) < 2 {
		return "", nil, fmt.Errorf("record key of %d bytes in __transaction_state", len(key))
	}
	if version := int16(binary.BigEndian.Uint16(key)); version != keyVersion {
		return "", nil, &UnknownKeyError{version}
	}
	var k kmsg.TxnMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return "", nil, fmt.Errorf("key of a transactional id: %w", err)
	}
	if value == nil {
		return k.TransactionalID, nil, nil
	}
	if len(value) < 2 {
		return "", nil, fmt.Errorf("transactional id %q: value of %d bytes", k.TransactionalID, len(value))
	}
	if version := int16(binary.BigEndian.Uint16(value)); version < 0 || version > valueVersion {
		return "", nil, fmt.Errorf("transactional id %q: value of version %d, known are 0 to %d", k.TransactionalID, version, valueVersion)
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return "", nil, fmt.Errorf("transactional id %q: %w", k.TransactionalID, err)
	}
	x, err = restore(k.TransactionalID, &v)
	return k.TransactionalID, x, err
}

func restore(id string, v *kmsg.TxnMetadataValue) (*transaction, error) {
	x := &transaction{
		id: id, producerID: v.ProducerID, previousID: v.PreviousProducerID, nextID: v.NextProducerID,
		epoch: v.ProducerEpoch, lastEpoch: -1,
		timeout: time.Duration(max(v.TimeoutMillis, 0)) * time.Millisecond, state: State(v.State),
		started: v.StartTimestamp, updated: v.LastUpdateTimestamp, version: v.ClientTransactionVersion,
		partitions: map[place][16]byte{},
	}
	if x.state < Empty || x.state > PrepareEpochFence {
		return nil, fmt.Errorf("transactional id %q: state %d, known are 0 to 7", id, v.State)
	}
	if x.previousID == x.producerID {
		x.previousID = -1 // as Apache Kafka writes it where nothing was replaced
	}
	for _, t := range v.Topics {
		for _, number := range t.Partitions {
			x.partitions[place{t.Topic, number}] = [16]byte{}
		}
	}
	if complete := x.state == CompleteCommit || x.state == CompleteAbort; complete && x.version >= 2 {
		switch {
		case x.epoch > 0:
			x.lastEpoch = x.epoch - 1
		case x.previousID >= 0:
			x.lastEpoch = lastEpoch
		}
	}
	return x, nil
}
