package group

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

// Records of consumer groups are in the flexible encoding of Kafka's messages: a
// version, fields with lengths as unsigned varints (one more than the length; 0 is
// null), and tagged fields.

type encoder struct{ b []byte }

func (e *encoder) int8(v int8)     { e.b = append(e.b, byte(v)) }
func (e *encoder) int16(v int16)   { e.b = binary.BigEndian.AppendUint16(e.b, uint16(v)) }
func (e *encoder) int32(v int32)   { e.b = binary.BigEndian.AppendUint32(e.b, uint32(v)) }
func (e *encoder) int64(v int64)   { e.b = binary.BigEndian.AppendUint64(e.b, uint64(v)) }
func (e *encoder) length(n int)    { e.b = binary.AppendUvarint(e.b, uint64(n)+1) }
func (e *encoder) tags(n int)      { e.b = binary.AppendUvarint(e.b, uint64(n)) }
func (e *encoder) bytes(v []byte)  { e.length(len(v)); e.b = append(e.b, v...) }
func (e *encoder) string(v string) { e.length(len(v)); e.b = append(e.b, v...) }

func (e *encoder) nullable(v *string) {
	if v == nil {
		e.b = append(e.b, 0)
		return
	}
	e.string(*v)
}

func (e *encoder) int32s(list []int32) {
	e.length(len(list))
	for _, v := range list {
		e.int32(v)
	}
}

// tag appends a tagged field, which must come in the order of the tags.
func (e *encoder) tag(tag int, content []byte) {
	e.b = binary.AppendUvarint(e.b, uint64(tag))
	e.b = binary.AppendUvarint(e.b, uint64(len(content)))
	e.b = append(e.b, content...)
}

var errShortRecord = errors.New("record ends too early")

// decoder reads what encoder writes. After the first error all is zero. It never
// allocates more than a small multiple of the bytes that are there.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	d.b, d.err = nil, errShortRecord
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) int8() int8 {
	if b := d.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (d *decoder) int16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) uvarint() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > math.MaxInt32 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

// length is a length, -1 for null, of elements of at least size bytes each.
func (d *decoder) length(size int) int {
	n := d.uvarint() - 1
	if n > len(d.b)/size {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) bytes() []byte   { return bytes.Clone(d.take(max(0, d.length(1)))) }
func (d *decoder) string() string  { return string(d.take(max(0, d.length(1)))) }
func (d *decoder) oldText() string { return string(d.take(int(d.int16()))) }

func (d *decoder) nullable() *string {
	n := d.length(1)
	if n < 0 || d.err != nil {
		return nil
	}
	s := string(d.take(n))
	return &s
}

func (d *decoder) int32s() []int32 {
	n := d.length(4)
	if n < 0 || d.err != nil {
		return nil
	}
	list := make([]int32, n)
	for i := range list {
		list[i] = d.int32()
	}
	return list
}

// tags calls f with each tagged field; f may leave what it does not know.
func (d *decoder) tags(f func(tag int, content *decoder)) {
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		tag := d.uvarint()
		content := &decoder{b: d.take(d.uvarint())}
		if d.err != nil {
			return
		}
		f(tag, content)
		if content.err != nil {
			d.fail()
		}
	}
}

func noTags(int, *decoder) {}
