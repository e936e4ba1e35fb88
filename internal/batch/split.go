package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// lengthStart is where the length field begins to count: behind itself.
const lengthStart = 12

// crcStart is where the checksum begins: at the attributes. What lies before,
// base offset and leader epoch among it, may be stamped without a new checksum.
const crcStart = 21

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Split cuts the first batch off b and returns it with what follows. It checks
// that a whole header is there, the magic, and the length; not the checksum.
// The batch is a view into b. Errors: ErrCorrupt, ErrInvalidRecord for the old
// magics 0 and 1, ErrTruncated for a good header with too few bytes behind it.
func Split(b []byte) (Batch, []byte, error) {
	if len(b) < crcStart-4 {
		return nil, b, fmt.Errorf("%w: %d bytes, a header has %d", ErrCorrupt, len(b), HeaderLen)
	}
	switch magic := int8(b[16]); magic {
	case 2:
	case 0, 1:
		return nil, b, fmt.Errorf("%w: magic %d, only 2 is accepted", ErrInvalidRecord, magic)
	default:
		return nil, b, fmt.Errorf("%w: magic %d is unknown", ErrCorrupt, magic)
	}
	length := int64(int32(binary.BigEndian.Uint32(b[8:])))
	if length < HeaderLen-lengthStart {
		return nil, b, fmt.Errorf("%w: length field is %d, at least %d is possible", ErrCorrupt, length, HeaderLen-lengthStart)
	}
	if len(b) < HeaderLen {
		return nil, b, fmt.Errorf("%w: %d bytes, a header has %d", ErrCorrupt, len(b), HeaderLen)
	}
	n := length + lengthStart
	if n > int64(len(b)) {
		return nil, b, fmt.Errorf("%w: batch of %d bytes in %d", ErrTruncated, n, len(b))
	}
	return Batch(b[:n:n]), b[n:], nil
}

// CheckCRC compares the checksum in the header with the bytes. A difference is
// ErrCorrupt.
func (b Batch) CheckCRC() error {
	if got, want := crc32.Checksum(b[crcStart:], castagnoli), b.CRC(); got != want {
		return fmt.Errorf("%w: checksum is %08x, the header says %08x", ErrCorrupt, got, want)
	}
	return nil
}

// setCRC writes the checksum anew after a change behind it.
func (b Batch) setCRC() {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[crcStart:], castagnoli))
}
