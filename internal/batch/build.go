package batch

import (
	"encoding/binary"
	"slices"
)

// Producer identifies an idempotent producer's batch (KIP-98).
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the first record
}

// BuildOptions are the fields of the header that Build cannot derive. The zero
// value makes a batch as a plain producer sends it.
type BuildOptions struct {
	BaseOffset    int64
	Producer      *Producer // nil: none
	Transactional bool
	Control       bool
}

// Build makes an uncompressed batch of records, which must not be empty. Their
// offsets are counted from BaseOffset; Record.Offset is not looked at. Leader
// epoch is -1 until stamped.
func Build(opt BuildOptions, records ...Record) Batch {
	return AppendBatch(nil, opt, records...)
}

// AppendBatch is Build that appends to dst and returns dst with the batch
// behind it.
func AppendBatch(dst []byte, opt BuildOptions, records ...Record) []byte {
	start := len(dst)
	n, longest := 0, 0
	for k := range records {
		size := mostBytes(&records[k])
		n, longest = n+size, max(longest, size)
	}
	dst = append(slices.Grow(dst, HeaderLen+n), make([]byte, HeaderLen)...)
	base, largest := records[0].Timestamp, records[0].Timestamp
	scratch := make([]byte, 0, longest)
	for k := range records {
		r := &records[k]
		largest = max(largest, r.Timestamp)
		scratch = appendRecord(scratch[:0], r, r.Timestamp-base, int64(k))
		dst = binary.AppendVarint(dst, int64(len(scratch)))
		dst = append(dst, scratch...)
	}
	b := Batch(dst[start:])
	var attributes uint16
	if opt.Transactional {
		attributes |= attrTransactional
	}
	if opt.Control {
		attributes |= attrControl
	}
	p := Producer{ID: -1, Epoch: -1, Sequence: -1}
	if opt.Producer != nil {
		p = *opt.Producer
	}
	binary.BigEndian.PutUint64(b[0:], uint64(opt.BaseOffset))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-lengthStart))
	b.SetLeaderEpoch(-1)
	b[16] = 2
	binary.BigEndian.PutUint16(b[21:], attributes)
	binary.BigEndian.PutUint32(b[23:], uint32(len(records)-1))
	binary.BigEndian.PutUint64(b[27:], uint64(base))
	binary.BigEndian.PutUint64(b[35:], uint64(largest))
	binary.BigEndian.PutUint64(b[43:], uint64(p.ID))
	binary.BigEndian.PutUint16(b[51:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(p.Sequence))
	binary.BigEndian.PutUint32(b[57:], uint32(len(records)))
	b.setCRC()
	return dst
}

// mostBytes is how long a record can be, with its length field: each varint but that of
// the timestamp has five bytes at most.
func mostBytes(r *Record) int {
	n := 6*binary.MaxVarintLen32 + binary.MaxVarintLen64 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += 2*binary.MaxVarintLen32 + len(h.Key) + len(h.Value)
	}
	return n
}

// appendRecord appends a record without its length field. Kafka's varints are
// zigzag, as encoding/binary's signed ones.
func appendRecord(dst []byte, r *Record, timestampDelta, offsetDelta int64) []byte {
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}
