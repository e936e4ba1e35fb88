package batch

import (
	"encoding/binary"
	"strconv"
)

// Codec is how the records of a batch are compressed.
type Codec uint8

// Kafka's codecs, as the lowest three bits of the attributes.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// String is the codec's name as in the topic setting compression.type.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return "codec " + strconv.Itoa(int(c))
}

const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// Codec is the compression of the records; it may be one that has no meaning.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & attrCodec) }

// LogAppendTime says that the time of every record is MaxTimestamp, set by the
// broker.
func (b Batch) LogAppendTime() bool { return b.Attributes()&attrLogAppendTime != 0 }

// Transactional says that the batch belongs to a transaction (KIP-98).
func (b Batch) Transactional() bool { return b.Attributes()&attrTransactional != 0 }

// Control says that the batch holds a marker and no users' records (KIP-98).
func (b Batch) Control() bool { return b.Attributes()&attrControl != 0 }

// SetLogAppendTime stamps the batch with the broker's clock, in ms, for topics
// with message.timestamp.type=LogAppendTime, and renews the checksum. Readers
// then take the time of every record from the header, so that the records,
// compressed or not, need not be touched.
func (b Batch) SetLogAppendTime(nowMillis int64) {
	binary.BigEndian.PutUint16(b[21:], uint16(b.Attributes())|attrLogAppendTime)
	binary.BigEndian.PutUint64(b[35:], uint64(nowMillis))
	b.setCRC()
}

// setMaxTimestamp corrects the largest timestamp and renews the checksum.
func (b Batch) setMaxTimestamp(millis int64) {
	binary.BigEndian.PutUint64(b[35:], uint64(millis))
	b.setCRC()
}
