package weir

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Serde turns values of T into the bytes of a key or value and back. A nil
// slice is Kafka's null: no key, or, as a value, a tombstone. Decode must not
// change data, may keep it, and must not panic on any input; its error sends the
// record to the dead letters without a further attempt. A Serde is used by many
// goroutines at once.
type Serde[T any] interface {
	Encode(v T) ([]byte, error)
	Decode(data []byte) (T, error)
}

// ErrNull is the reason of a decoding error when the record has no key, or no
// value (a tombstone), and the type has no way to say so.
var ErrNull = errors.New("null, which this type cannot hold")

// String is UTF-8 text, unchecked, as Kafka's StringSerializer writes it. Null
// reads as ""; "" is written as empty, not as null.
func String() Serde[string] { return stringSerde{} }

type stringSerde struct{}

func (stringSerde) Encode(v string) ([]byte, error)    { return []byte(v), nil }
func (stringSerde) Decode(data []byte) (string, error) { return string(data), nil }

// Bytes takes keys and values as they are, without copying, null as nil. What
// was passed to Produce must not be changed until the record is finished.
func Bytes() Serde[[]byte] { return bytesSerde{} }

type bytesSerde struct{}

func (bytesSerde) Encode(v []byte) ([]byte, error)    { return v, nil }
func (bytesSerde) Decode(data []byte) ([]byte, error) { return data, nil }

// Int64 is eight bytes, big-endian, as Kafka's LongSerializer writes it.
func Int64() Serde[int64] { return int64Serde{} }

type int64Serde struct{}

func (int64Serde) Encode(v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 8), uint64(v)), nil
}

func (int64Serde) Decode(data []byte) (int64, error) {
	switch {
	case data == nil:
		return 0, ErrNull
	case len(data) != 8:
		return 0, fmt.Errorf("an Int64 has 8 bytes, not %d", len(data))
	}
	return int64(binary.BigEndian.Uint64(data)), nil
}

// JSON is encoding/json. Null is nil where T is a pointer, map, slice or
// interface, both ways, and ErrNull otherwise, so that a tombstone is never
// taken for a value whose fields are all zero.
func JSON[T any]() Serde[T] { return jsonSerde[T]{nilable: nilable(reflect.TypeFor[T]())} }

type jsonSerde[T any] struct{ nilable bool }

func nilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return true
	}
	return false
}

func (s jsonSerde[T]) Encode(v T) ([]byte, error) {
	if s.nilable {
		r := reflect.ValueOf(v) // of what an interface holds, if T is one
		if !r.IsValid() || nilable(r.Type()) && r.IsNil() {
			return nil, nil
		}
	}
	return json.Marshal(v)
}

func (s jsonSerde[T]) Decode(data []byte) (T, error) {
	var v T
	if data == nil {
		if s.nilable {
			return v, nil
		}
		return v, ErrNull
	}
	err := json.Unmarshal(data, &v)
	return v, err
}
