package sim

import (
	"bytes"
	"encoding/binary"
)

// recordHeader is the length of writer and number before the filling.
const recordHeader = 12

// value returns the bytes of a record of n bytes, at least recordHeader: its
// identity, then a filling that depends on it, so that no byte can change or be
// another record's unseen. The filling does not compress.
func value(r Record, n int) []byte {
	b := make([]byte, max(n, recordHeader)+7)
	binary.BigEndian.PutUint32(b, uint32(r.Writer))
	binary.BigEndian.PutUint64(b[4:], uint64(r.Seq))
	x := uint64(r.Writer)<<40 ^ uint64(r.Seq) ^ 0x9e3779b97f4a7c15
	for at := recordHeader; at < len(b)-7; at += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.BigEndian.PutUint64(b[at:], x)
	}
	return b[:max(n, recordHeader)]
}

// identify is the inverse of value; false if no value has these bytes.
func identify(b []byte) (Record, bool) {
	if len(b) < recordHeader {
		return Record{}, false
	}
	r := Record{int32(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:]))}
	return r, bytes.Equal(b, value(r, len(b)))
}
