package meta

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var allRecords = []Record{
	TopicRecord{Name: "orders", ID: id(1), Partitions: 6, Configs: map[string]string{"retention.ms": "-1"}},
	TopicRecord{Name: "plain", ID: id(2), Partitions: 1},
	TopicDeletedRecord{Name: "orders", ID: id(1)},
	ProducerIDsRecord{Next: 3000},
	ProducerIDsRecord{},
	ClusterRecord{ClusterID: "5L6g3nShT-eMCtK--X86sw"},
	TopicConfigsRecord{Name: "orders", ID: id(1), Configs: map[string]string{"retention.ms": "1", "cleanup.policy": "compact"}},
	TopicConfigsRecord{Name: "orders", ID: id(1)},
	TopicPartitionsRecord{Name: "orders", ID: id(1), Partitions: 12},
	GroupConfigsRecord{Name: "a group, ü", Configs: map[string]string{"consumer.session.timeout.ms": "50000"}},
	GroupConfigsRecord{Name: "g"},
	LogStartRecord{ID: id(1), Starts: []LogStart{{Partition: 0, Offset: 17}, {Partition: 5, Offset: 1<<63 - 1}}},
}

func TestRecordRoundTrip(t *testing.T) {
	for _, r := range allRecords {
		key, value := Encode(r)
		got, err := Decode(key, value)
		if err != nil {
			t.Errorf("%s %s: %v", key, value, err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s %s (-written +read):\n%s", key, value, diff)
		}
	}
}

// TestRecordBytes pins the format: data written by this weir must be read by
// every later one. It changes only together with recordVersion.
func TestRecordBytes(t *testing.T) {
	want := []string{
		`topic {"v":1,"name":"orders","id":"qgAAAQEAAAAAAAAAAAAAAA","partitions":6,"configs":{"retention.ms":"-1"}}`,
		`topic {"v":1,"name":"plain","id":"qgAAAgEAAAAAAAAAAAAAAA","partitions":1}`,
		`topic-deleted {"v":1,"name":"orders","id":"qgAAAQEAAAAAAAAAAAAAAA"}`,
		`producer-ids {"v":1,"next":3000}`,
		`producer-ids {"v":1}`,
		`cluster {"v":1,"clusterId":"5L6g3nShT-eMCtK--X86sw"}`,
		`topic-configs {"v":1,"name":"orders","id":"qgAAAQEAAAAAAAAAAAAAAA","configs":{"cleanup.policy":"compact","retention.ms":"1"}}`,
		`topic-configs {"v":1,"name":"orders","id":"qgAAAQEAAAAAAAAAAAAAAA"}`,
		`topic-partitions {"v":1,"name":"orders","id":"qgAAAQEAAAAAAAAAAAAAAA","partitions":12}`,
		`group-configs {"v":1,"name":"a group, ü","configs":{"consumer.session.timeout.ms":"50000"}}`,
		`group-configs {"v":1,"name":"g"}`,
		`log-start {"v":1,"id":"qgAAAQEAAAAAAAAAAAAAAA","starts":[[0,17],[5,9223372036854775807]]}`,
	}
	for i, r := range allRecords {
		key, value := Encode(r)
		if got := string(key) + " " + string(value); got != want[i] {
			t.Errorf("encoded\n%s, want\n%s", got, want[i])
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, key, value string }{
		{"no JSON", "topic", "x"},
		{"nothing", "topic", ""},
		{"null", "topic", "null"},
		{"no version", "cluster", `{"clusterId":"c"}`},
		{"log starts of no topic", "log-start", `{"v":1,"starts":[[0,1]]}`},
		{"no log starts", "log-start", `{"v":1,"id":"qgAAAQEAAAAAAAAAAAAAAA"}`},
		{"log start without offset", "log-start", `{"v":1,"id":"qgAAAQEAAAAAAAAAAAAAAA","starts":[[0]]}`},
		{"log start of partition 2^32", "log-start", `{"v":1,"id":"qgAAAQEAAAAAAAAAAAAAAA","starts":[[4294967296,1]]}`},
		{"log start below 0", "log-start", `{"v":1,"id":"qgAAAQEAAAAAAAAAAAAAAA","starts":[[0,-1]]}`},
		{"log start of partition -1", "log-start", `{"v":1,"id":"qgAAAQEAAAAAAAAAAAAAAA","starts":[[-1,1]]}`},
		{"version 0", "cluster", `{"v":0,"clusterId":"c"}`},
		{"version -1", "cluster", `{"v":-1,"clusterId":"c"}`},
		{"unknown field", "cluster", `{"v":1,"clusterId":"c","x":1}`},
		{"bytes behind", "cluster", `{"v":1,"clusterId":"c"} {}`},
		{"wrong type", "producer-ids", `{"v":1,"next":"1"}`},
		{"negative producer id", "producer-ids", `{"v":1,"next":-1}`},
		{"too many partitions for 32 bits", "topic", `{"v":1,"name":"a","id":"qgAAAgEAAAAAAAAAAAAAAA","partitions":5000000000}`},
		{"no partitions", "topic", `{"v":1,"name":"a","id":"qgAAAgEAAAAAAAAAAAAAAA"}`},
		{"bad name", "topic", `{"v":1,"name":"a/b","id":"qgAAAgEAAAAAAAAAAAAAAA","partitions":1}`},
		{"no id", "topic", `{"v":1,"name":"a","partitions":1}`},
		{"zero id", "topic", `{"v":1,"name":"a","id":"AAAAAAAAAAAAAAAAAAAAAA","partitions":1}`},
		{"short id", "topic-deleted", `{"v":1,"name":"a","id":"qgAA"}`},
		{"empty cluster id", "cluster", `{"v":1}`},
		{"configs of no topic", "topic-configs", `{"v":1,"name":"a","configs":{"a":"b"}}`},
		{"configs of a topic without name", "topic-configs", `{"v":1,"id":"qgAAAgEAAAAAAAAAAAAAAA"}`},
		{"no partitions for a topic", "topic-partitions", `{"v":1,"name":"a","id":"qgAAAgEAAAAAAAAAAAAAAA"}`},
		{"partitions of no topic", "topic-partitions", `{"v":1,"name":"a","partitions":2}`},
		{"configs of no group", "group-configs", `{"v":1,"configs":{"a":"b"}}`},
		{"configs that are no strings", "group-configs", `{"v":1,"name":"g","configs":{"a":1}}`},
	}
	for _, tt := range tests {
		if r, err := Decode([]byte(tt.key), []byte(tt.value)); !errors.Is(err, ErrBadRecord) || r != nil || !strings.Contains(err.Error(), tt.key) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestDecodeNewer(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		want       UnknownRecordError
	}{
		{"acl", `{"v":1}`, UnknownRecordError{Type: "acl"}},
		{"topic", `{"v":2,"something":"else"}`, UnknownRecordError{Type: "topic", Version: 2}},
	} {
		_, err := Decode([]byte(tt.key), []byte(tt.value))
		var unknown *UnknownRecordError
		if !errors.As(err, &unknown) || *unknown != tt.want || !strings.Contains(err.Error(), tt.key) {
			t.Errorf("%s %s: %v", tt.key, tt.value, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range allRecords {
		key, value := Encode(r)
		f.Add(key, value)
	}
	f.Add([]byte("topic"), []byte(`{"v":1,"name":"a","id":"qgAAAgEAAAAAAAAAAAAAAA","partitions":1,"configs":{"a":null}}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := Decode(key, value)
		if err != nil {
			var unknown *UnknownRecordError
			if r != nil || !errors.Is(err, ErrBadRecord) && !errors.As(err, &unknown) {
				t.Fatalf("record %v with error %v", r, err)
			}
			return
		}
		again, err := Decode(Encode(r))
		if err != nil {
			t.Fatalf("%+v, encoded again: %v", r, err)
		}
		r = withoutEmpty(r)
		if !reflect.DeepEqual(r, again) {
			t.Fatalf("read %+v, then %+v", r, again)
		}
		if _, err := NewImage().Apply(r); err != nil && !errors.Is(err, ErrConflict) {
			t.Fatalf("apply: %v", err)
		}
	})
}

// withoutEmpty has no configs where they are {}, which is written as nothing.
func withoutEmpty(r Record) Record {
	switch c := r.(type) {
	case TopicRecord:
		if len(c.Configs) == 0 {
			c.Configs = nil
		}
		return c
	case TopicConfigsRecord:
		if len(c.Configs) == 0 {
			c.Configs = nil
		}
		return c
	case GroupConfigsRecord:
		if len(c.Configs) == 0 {
			c.Configs = nil
		}
		return c
	}
	return r
}
