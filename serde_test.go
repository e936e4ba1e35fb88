package weir

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

// roundTrip holds the rules that every Serde keeps: what is encoded decodes to
// the same, and no input makes Decode panic.
func roundTrip[T any](t *testing.T, name string, s Serde[T], values ...T) {
	t.Helper()
	for _, v := range values {
		data, err := s.Encode(v)
		if err != nil {
			t.Errorf("%s: encode %v: %v", name, v, err)
			continue
		}
		got, err := s.Decode(data)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%s: %v came back as %v, %v", name, v, got, err)
		}
	}
	for _, data := range [][]byte{nil, {}, {0}, {0xff, 0xfe}, []byte("{"), []byte("null"), []byte("[1,2"), make([]byte, 100)} {
		s.Decode(data)
	}
}

func TestSerdes(t *testing.T) {
	type order struct {
		Item  string
		Count int
	}
	roundTrip(t, "String", String(), "", "ä", string([]byte{0xff}))
	roundTrip(t, "Bytes", Bytes(), nil, []byte{}, []byte{1, 2})
	roundTrip(t, "Int64", Int64(), 0, -1, math.MinInt64, math.MaxInt64)
	roundTrip(t, "JSON", JSON[order](), order{}, order{"lamp", 3})
	roundTrip(t, "JSON pointer", JSON[*order](), nil, &order{"lamp", 3})
	roundTrip(t, "JSON map", JSON[map[string]int](), nil, map[string]int{"a": 1})
	roundTrip(t, "JSON slice", JSON[[]string](), nil, []string{"a"})
	roundTrip(t, "JSON any", JSON[any](), nil, "a", 1.5)
}

// TestNull: a null is a null again where the type can say so, and an error, not a
// zero, where it cannot.
func TestNull(t *testing.T) {
	for name, encode := range map[string]func() ([]byte, error){
		"Bytes":        func() ([]byte, error) { return Bytes().Encode(nil) },
		"JSON pointer": func() ([]byte, error) { return JSON[*int]().Encode(nil) },
		"JSON any":     func() ([]byte, error) { return JSON[any]().Encode(nil) },
	} {
		if data, err := encode(); data != nil || err != nil {
			t.Errorf("%s encodes nil as %q, %v", name, data, err)
		}
	}
	if data, _ := String().Encode(""); data == nil {
		t.Error("the empty string is written as null")
	}
	if _, err := Int64().Decode(nil); !errors.Is(err, ErrNull) {
		t.Errorf("Int64 of null: %v", err)
	}
	if _, err := JSON[struct{}]().Decode(nil); !errors.Is(err, ErrNull) {
		t.Errorf("JSON struct of null: %v", err)
	}
}

// TestInt64IsKafkas: the bytes of Kafka's LongSerializer.
func TestInt64IsKafkas(t *testing.T) {
	data, _ := Int64().Encode(0x0102030405060708)
	if !reflect.DeepEqual(data, []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("% x", data)
	}
	for _, n := range []int{1, 7, 9} {
		if _, err := Int64().Decode(make([]byte, n)); err == nil {
			t.Errorf("%d bytes decode", n)
		}
	}
}
