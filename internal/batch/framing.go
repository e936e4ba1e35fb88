package batch

import (
	"fmt"
	"math"
)

// framing is where the parts of one record lie. Positions count from the
// beginning of the slice that parse was given; a start of -1 is null.
type framing struct {
	timestampDelta int64
	offsetDelta    int64
	keyStart       int
	keyEnd         int
	valueStart     int
	valueEnd       int
	headersStart   int // first byte of the first header
	headers        int
}

// minHeader is the size in bytes of the smallest record header: two lengths.
const minHeader = 2

// parse reads the framing of the record at b[0:] and returns its size in bytes,
// the length field included. Nothing is allocated; every length is compared
// with the bytes that are there.
func (f *framing) parse(b []byte) (int, error) {
	length, i := varint32(b, 0)
	if i < 0 || length < 0 || length > int64(len(b)-i) {
		return 0, fmt.Errorf("%w: record length does not fit the %d bytes that are left", ErrInvalidRecord, len(b))
	}
	end := i + int(length)
	b = b[:end]
	i++ // attributes of a record, unused so far
	if f.timestampDelta, i = varint64(b, i); i < 0 {
		return 0, errPart("timestamp delta")
	}
	if f.offsetDelta, i = varint32(b, i); i < 0 {
		return 0, errPart("offset delta")
	}
	if f.keyStart, f.keyEnd, i = nullable(b, i); i < 0 {
		return 0, errPart("key")
	}
	if f.valueStart, f.valueEnd, i = nullable(b, i); i < 0 {
		return 0, errPart("value")
	}
	headers, i := varint32(b, i)
	if i < 0 || headers < 0 || headers > int64(end-i)/minHeader {
		return 0, errPart("header count")
	}
	f.headersStart, f.headers = i, int(headers)
	for ; headers > 0; headers-- {
		start := 0
		if start, _, i = nullable(b, i); i < 0 || start < 0 {
			return 0, errPart("header key")
		}
		if _, _, i = nullable(b, i); i < 0 {
			return 0, errPart("header value")
		}
	}
	if i != end {
		return 0, fmt.Errorf("%w: %d bytes are left over in the record", ErrInvalidRecord, end-i)
	}
	return end, nil
}

func errPart(part string) error {
	return fmt.Errorf("%w: %s does not fit the record", ErrInvalidRecord, part)
}

// nullable reads a length and steps over as many bytes. Length -1 is null and
// gives start -1. next is negative if the bytes do not suffice. Lengths below
// -1 are refused: Kafka takes them for null, but no client writes them.
func nullable(b []byte, i int) (start, end, next int) {
	n, i := varint32(b, i)
	switch {
	case i < 0 || n < -1 || n > int64(len(b)-i):
		return 0, 0, -1
	case n == -1:
		return -1, -1, i
	}
	return i, i + int(n), i + int(n)
}

// varint32 reads a zigzag varint of at most 32 bits (five bytes) at b[i]. next
// is negative if there is none. Nearly all have one byte or two, so these cases
// come first.
func varint32(b []byte, i int) (v int64, next int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return int64(b[i]>>1) ^ -int64(b[i]&1), i + 1
	}
	if i >= 0 && i+1 < len(b) && b[i+1] < 0x80 {
		u := uint64(b[i]&0x7f) | uint64(b[i+1])<<7
		return int64(u>>1) ^ -int64(u&1), i + 2
	}
	return varintLong(b, i, 5, math.MaxUint32)
}

// varint64 is varint32 for 64 bits (ten bytes).
func varint64(b []byte, i int) (v int64, next int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return int64(b[i]>>1) ^ -int64(b[i]&1), i + 1
	}
	return varintLong(b, i, 10, math.MaxUint64)
}

func varintLong(b []byte, i, maxBytes int, limit uint64) (int64, int) {
	if i < 0 {
		return 0, -1
	}
	var u uint64
	for n := 0; n < maxBytes && i < len(b); n++ {
		c := uint64(b[i])
		i++
		if n == 9 && c > 1 {
			return 0, -1
		}
		u |= c & 0x7f << (7 * n)
		if c < 0x80 {
			if u > limit {
				return 0, -1
			}
			return int64(u>>1) ^ -int64(u&1), i
		}
	}
	return 0, -1
}
