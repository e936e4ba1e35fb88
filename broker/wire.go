package broker

import (
	"encoding/binary"
	"math"
)

// wireReader takes a request apart in place. After the first thing that does
// not fit, bad is set and everything reads as zero, so that it is enough to look
// at bad at the end. It is leniently Kafka's: a negative length of something
// nullable is null, whatever the number.
type wireReader struct {
	src      []byte
	flexible bool
	bad      bool
}

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.src) {
		r.bad = true
		r.src = nil
		return nil
	}
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}

func (r *wireReader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *wireReader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *wireReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *wireReader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *wireReader) uuid() (id [16]byte) {
	copy(id[:], r.take(16))
	return id
}

func (r *wireReader) uvarint() uint32 {
	v, n := binary.Uvarint(r.src)
	if n <= 0 || n > binary.MaxVarintLen32 || v > math.MaxUint32 {
		r.bad = true
		r.src = nil
		return 0
	}
	r.src = r.src[n:]
	return uint32(v)
}

// compactLen is a length that is kept plus one; -1 is null.
func (r *wireReader) compactLen() int {
	n := int(r.uvarint()) - 1
	if r.bad {
		return -1
	}
	return n
}

// str reads a string or nullable string as a view; null is nil.
func (r *wireReader) str() []byte {
	var n int
	if r.flexible {
		n = r.compactLen()
	} else {
		n = int(r.int16())
	}
	if n < 0 {
		return nil
	}
	return r.take(n)
}

// bytes reads nullable bytes as a view; null is nil.
func (r *wireReader) bytes() []byte {
	var n int
	if r.flexible {
		n = r.compactLen()
	} else {
		n = int(r.int32())
	}
	if n < 0 {
		return nil
	}
	return r.take(n)
}

// array reads the length of an array whose elements have at least size bytes;
// null is 0. A length that the bytes left cannot hold is bad.
func (r *wireReader) array(size int) int {
	var n int
	if r.flexible {
		n = r.compactLen()
	} else {
		n = int(r.int32())
	}
	if n <= 0 {
		return 0
	}
	if n > len(r.src)/size {
		r.bad = true
		r.src = nil
		return 0
	}
	return n
}

// tags passes over tagged fields, giving each to f; f may be nil.
func (r *wireReader) tags(f func(tag uint32, value []byte)) {
	if !r.flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		tag := r.uvarint()
		value := r.take(int(r.uvarint()))
		if f != nil && !r.bad {
			f(tag, value)
		}
	}
}

// The encoding of what the hand-written answers hold, in both notations.

func appendArrayLen(dst []byte, flexible bool, n int) []byte {
	if flexible {
		return binary.AppendUvarint(dst, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

func appendString(dst []byte, flexible bool, s []byte) []byte {
	if flexible {
		dst = binary.AppendUvarint(dst, uint64(len(s))+1)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	}
	return append(dst, s...)
}

func appendNullableString(dst []byte, flexible bool, s string) []byte {
	switch {
	case s != "":
		if flexible {
			dst = binary.AppendUvarint(dst, uint64(len(s))+1)
		} else {
			dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
		}
		return append(dst, s...)
	case flexible:
		return append(dst, 0)
	}
	return append(dst, 0xff, 0xff)
}

func appendInt16(dst []byte, v int16) []byte {
	return binary.BigEndian.AppendUint16(dst, uint16(v))
}

func appendInt32(dst []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(v))
}

func appendInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(v))
}
