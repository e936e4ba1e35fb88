package batch

import (
	"encoding/binary"
	"fmt"
)

// Marker is the record that ends a transaction in one partition (KIP-98). It
// stands alone in a control batch, whose header tells the producer.
type Marker struct {
	Commit bool // else the transaction was aborted
	// CoordinatorEpoch is the leader epoch of the coordinator that wrote it, so
	// that a later coordinator's word cannot be overruled by an earlier one.
	CoordinatorEpoch int32
}

const (
	markerVersion   = 0
	markerAbort     = 0
	markerCommit    = 1
	markerKeyLen    = 4
	markerValueLen  = 6
	markerBatchSize = HeaderLen + 17
)

// BuildMarker makes the control batch that ends the transaction of a producer:
// transactional, without a sequence number, stamped with the time in ms.
func BuildMarker(producerID int64, epoch int16, nowMillis int64, m Marker) Batch {
	return AppendMarker(make([]byte, 0, markerBatchSize), producerID, epoch, nowMillis, m)
}

// AppendMarker is BuildMarker that appends to dst.
func AppendMarker(dst []byte, producerID int64, epoch int16, nowMillis int64, m Marker) []byte {
	var key [markerKeyLen]byte
	var value [markerValueLen]byte
	binary.BigEndian.PutUint16(key[0:], markerVersion)
	if m.Commit {
		binary.BigEndian.PutUint16(key[2:], markerCommit)
	} else {
		binary.BigEndian.PutUint16(key[2:], markerAbort)
	}
	binary.BigEndian.PutUint16(value[0:], markerVersion)
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	opt := BuildOptions{
		Transactional: true, Control: true,
		Producer: &Producer{ID: producerID, Epoch: epoch, Sequence: -1},
	}
	return AppendBatch(dst, opt, Record{Timestamp: nowMillis, Key: key[:], Value: value[:]})
}

// Marker reads the marker of a control batch; ok is false if it holds none, as
// Kafka's other control records or a batch that compaction has emptied. A newer
// version may have more fields behind those that are known. A record that claims
// to be a marker and is too short is ErrInvalidRecord.
func (b Batch) Marker() (m Marker, ok bool, err error) {
	if !b.Control() || b.Count() <= 0 {
		return Marker{}, false, nil
	}
	if b.Codec() != None {
		return Marker{}, false, fmt.Errorf("%w: a control batch is compressed", ErrInvalidRecord)
	}
	var f framing
	n, err := f.parse(b[HeaderLen:])
	if err != nil {
		return Marker{}, false, err
	}
	record := b[HeaderLen : HeaderLen+n]
	key, value := part(record, f.keyStart, f.keyEnd), part(record, f.valueStart, f.valueEnd)
	if len(key) < markerKeyLen {
		return Marker{}, false, fmt.Errorf("%w: the key of a control record has %d bytes", ErrInvalidRecord, len(key))
	}
	kind := int16(binary.BigEndian.Uint16(key[2:]))
	if kind != markerAbort && kind != markerCommit {
		return Marker{}, false, nil
	}
	if version := int16(binary.BigEndian.Uint16(key)); version < markerVersion || len(value) < markerValueLen {
		return Marker{}, false, fmt.Errorf("%w: a marker of version %d with a value of %d bytes", ErrInvalidRecord, version, len(value))
	}
	return Marker{Commit: kind == markerCommit, CoordinatorEpoch: int32(binary.BigEndian.Uint32(value[2:]))}, true, nil
}
