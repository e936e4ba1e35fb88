package batch

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// TestRecordFraming spoils one part of a record after another.
func TestRecordFraming(t *testing.T) {
	tests := []struct {
		name string
		body []byte // a record without its length field
		good bool
	}{
		{"null key and value", []byte{0, 0, 0, 1, 1, 0}, true},
		{"key and value", []byte{0, 0, 0, 2, 'k', 2, 'v', 0}, true},
		{"one header", []byte{0, 0, 0, 1, 1, 2, 2, 'h', 2, 'v'}, true},
		{"a header with null value", []byte{0, 0, 0, 1, 1, 2, 2, 'h', 1}, true},
		{"nothing", []byte{}, false},
		{"attributes only", []byte{0}, false},
		{"no offset delta", []byte{0, 0}, false},
		{"no key", []byte{0, 0, 0}, false},
		{"no value", []byte{0, 0, 0, 1}, false},
		{"no header count", []byte{0, 0, 0, 1, 1}, false},
		{"offset delta 1 of the first record", []byte{0, 0, 2, 1, 1, 0}, false},
		{"offset delta -1", []byte{0, 0, 1, 1, 1, 0}, false},
		{"key length -2", []byte{0, 0, 0, 3, 1, 0}, false},
		{"key beyond the record", []byte{0, 0, 0, 20, 'k', 1, 0}, false},
		{"value beyond the record", []byte{0, 0, 0, 1, 20, 'v', 0}, false},
		{"header count -1", []byte{0, 0, 0, 1, 1, 1}, false},
		{"header count 60 without headers", []byte{0, 0, 0, 1, 1, 120}, false},
		{"header key null", []byte{0, 0, 0, 1, 1, 2, 1, 1}, false},
		{"header key beyond the record", []byte{0, 0, 0, 1, 1, 2, 20, 'h'}, false},
		{"header without value", []byte{0, 0, 0, 1, 1, 2, 2, 'h', 2}, false},
		{"a byte left over", []byte{0, 0, 0, 1, 1, 0, 0}, false},
		{"varint of six bytes", []byte{0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0}, false},
		{"varint without end", []byte{0, 0x80, 0x80}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			payload := append(binary.AppendVarint(nil, int64(len(tt.body))), tt.body...)
			_, err := Validate(framed(0, 1, payload), kafkaDefaults)
			if tt.good && err != nil || !tt.good && !errors.Is(err, ErrInvalidRecord) {
				t.Fatalf("error is %v, good is %v", err, tt.good)
			}
		})
	}
}

func TestBytesBehindTheLastRecord(t *testing.T) {
	record := []byte{12, 0, 0, 0, 1, 1, 0}
	b := framed(0, 1, append(record, record...))
	if _, err := Validate(b, kafkaDefaults); !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("validate: %v", err)
	}
	var last error
	for _, err := range b.Records(1 << 20) {
		last = err
	}
	if !errors.Is(last, ErrInvalidRecord) {
		t.Errorf("records: %v", last)
	}
}

func TestVarints(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, -64, 64, -65, 1 << 20, math.MaxInt32, math.MinInt32} {
		b := binary.AppendVarint(nil, v)
		if got, n := varint32(b, 0); got != v || n != len(b) {
			t.Errorf("varint32 of %d: %d in %d bytes", v, got, n)
		}
		if _, n := varint32(b[:len(b)-1], 0); n >= 0 {
			t.Errorf("varint32 of %d without its last byte: %d", v, n)
		}
	}
	for _, v := range []int64{math.MaxInt32 + 1, math.MinInt32 - 1, math.MaxInt64, math.MinInt64} {
		b := binary.AppendVarint(nil, v)
		if got, n := varint64(b, 0); got != v || n != len(b) {
			t.Errorf("varint64 of %d: %d in %d bytes", v, got, n)
		}
		if _, n := varint32(b, 0); n >= 0 {
			t.Errorf("varint32 takes %d", v)
		}
	}
	if _, n := varint64([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2}, 0); n >= 0 {
		t.Error("varint64 takes 65 bits")
	}
	if _, n := varint64([]byte{0}, -1); n >= 0 {
		t.Error("an error before does not stay one")
	}
}
