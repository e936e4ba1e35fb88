package batch

import "encoding/binary"

// HeaderLen is the length in bytes of a record batch's header.
const HeaderLen = 61

// Batch is one whole record batch v2, header and records, as it stands on the
// wire and on the disk. It is a view: methods read and patch the bytes in
// place. Only Split, Validate and Build make one, so its first HeaderLen bytes
// and its length field can be trusted.
type Batch []byte

// The fields of the header, big endian, at the offsets that Kafka gives them.
func (b Batch) BaseOffset() int64      { return int64(binary.BigEndian.Uint64(b[0:])) }
func (b Batch) Len() int               { return int(int32(binary.BigEndian.Uint32(b[8:]))) + 12 }
func (b Batch) LeaderEpoch() int32     { return int32(binary.BigEndian.Uint32(b[12:])) }
func (b Batch) Magic() int8            { return int8(b[16]) }
func (b Batch) CRC() uint32            { return binary.BigEndian.Uint32(b[17:]) }
func (b Batch) Attributes() int16      { return int16(binary.BigEndian.Uint16(b[21:])) }
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[23:])) }
func (b Batch) BaseTimestamp() int64   { return int64(binary.BigEndian.Uint64(b[27:])) }
func (b Batch) MaxTimestamp() int64    { return int64(binary.BigEndian.Uint64(b[35:])) }
func (b Batch) ProducerID() int64      { return int64(binary.BigEndian.Uint64(b[43:])) }
func (b Batch) ProducerEpoch() int16   { return int16(binary.BigEndian.Uint16(b[51:])) }
func (b Batch) BaseSequence() int32    { return int32(binary.BigEndian.Uint32(b[53:])) }
func (b Batch) Count() int32           { return int32(binary.BigEndian.Uint32(b[57:])) }

// LastOffset is the offset of the last record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset that follows the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// SetBaseOffset and SetLeaderEpoch patch the two fields that a broker stamps;
// both lie outside the checksum.
func (b Batch) SetBaseOffset(offset int64) { binary.BigEndian.PutUint64(b[0:], uint64(offset)) }
func (b Batch) SetLeaderEpoch(epoch int32) { binary.BigEndian.PutUint32(b[12:], uint32(epoch)) }
