package batch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// collect reads all records of a batch that must be good.
func collect(t *testing.T, b Batch) []Record {
	t.Helper()
	var out []Record
	for r, err := range b.Records(1 << 20) {
		if err != nil {
			t.Fatalf("records: %v", err)
		}
		out = append(out, r)
	}
	return out
}

func TestBuildRoundTrip(t *testing.T) {
	in := []Record{
		{Timestamp: 1000, Key: []byte("k"), Value: []byte("v")},
		{Timestamp: 900, Key: nil, Value: []byte{}},
		{Timestamp: 1_000_000, Key: []byte{}, Value: nil, Headers: []Header{{"a", []byte("1")}, {"a", nil}, {"", []byte{}}}},
	}
	b := Build(BuildOptions{BaseOffset: 40, Producer: &Producer{ID: 7, Epoch: 3, Sequence: 11}, Transactional: true}, in...)
	for k := range in {
		in[k].Offset = 40 + int64(k)
	}
	if diff := cmp.Diff(in, collect(t, b)); diff != "" {
		t.Fatalf("records differ (-built +read):\n%s", diff)
	}
	if err := b.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if b.Len() != len(b) || b.Count() != 3 || b.LastOffset() != 42 || b.NextOffset() != 43 || b.MaxTimestamp() != 1_000_000 ||
		b.BaseTimestamp() != 1000 || b.LeaderEpoch() != -1 || b.ProducerID() != 7 || b.ProducerEpoch() != 3 || b.BaseSequence() != 11 ||
		!b.Transactional() || b.Control() || b.LogAppendTime() || b.Codec() != None || b.Magic() != 2 {
		t.Fatalf("header fields are wrong: % x", []byte(b[:HeaderLen]))
	}
}
