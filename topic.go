package weir

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Topic is a topic's name and the types of its records. Declare it once, as a
// value that handlers and producers share.
type Topic[K, V any] struct {
	Name  string
	Key   Serde[K]
	Value Serde[V]
}

func (t Topic[K, V]) validate() error {
	switch {
	case t.Name == "":
		return errors.New("weir: a Topic has no Name")
	case t.Key == nil:
		return fmt.Errorf("weir: topic %s: Key is not set; records without keys take weir.Bytes()", t.Name)
	case t.Value == nil:
		return fmt.Errorf("weir: topic %s: Value is not set; weir.Bytes() takes values as they are", t.Name)
	}
	return nil
}

// Header is one header of a record. Keys may repeat.
type Header = kgo.RecordHeader

// Record is a record as a handler sees it. Headers, and keys and values that
// are byte slices, belong to the client's fetch: read, do not change them.
type Record[K, V any] struct {
	Key       K
	Value     V
	Headers   []Header
	Timestamp time.Time // the producer's or the broker's, by the topic's message.timestamp.type
	Topic     string
	Partition int32
	Offset    int64
}
