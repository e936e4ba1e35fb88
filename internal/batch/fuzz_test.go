package batch

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func seeds(f *testing.F) {
	f.Add([]byte(sample()))
	f.Add(changed())
	for _, c := range compressions {
		f.Add([]byte(packed(sample(), c.codec, c.compress(f, sample()[HeaderLen:]))))
	}
	f.Add([]byte{})
	f.Add(make([]byte, HeaderLen))
}

// repaired makes the length and the checksum of arbitrary bytes fit, so that
// fuzzing gets behind them.
func repaired(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= HeaderLen {
		put32(8, int32(len(b)-lengthStart))(b)
		b[16] = 2
		Batch(b).setCRC()
	}
	return b
}

// FuzzValidate: nothing panics, every error has one reason, and what is
// accepted is what franz-go's decoder reads as the same number of records.
func FuzzValidate(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, records := range [][]byte{bytes.Clone(in), repaired(in)} {
			b, err := Validate(records, kafkaDefaults)
			onlyOneReason(t, err)
			opened := kafkaDefaults
			opened.Open, opened.OpenLimit = true, 1<<16
			again, openErr := Validate(records, opened)
			onlyOneReason(t, openErr)
			if err == nil && b.Codec() == None && openErr != nil {
				t.Fatalf("accepted, then refused: %v", openErr)
			}
			if openErr != nil {
				continue
			}
			n := int32(0)
			for _, err := range again.Records(1 << 16) {
				if err != nil {
					t.Fatalf("accepted, but record %d: %v", n, err)
				}
				n++
			}
			if n != again.Count() {
				t.Fatalf("%d records, count %d", n, again.Count())
			}
		}
	})
}

// FuzzRecords: what is read, built again and read again is the same, and what
// franz-go's decoder reads is the same too.
func FuzzRecords(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		b, _, err := Split(repaired(in))
		if err != nil {
			return
		}
		var records []Record
		for r, err := range b.Records(1 << 16) {
			if err != nil {
				return
			}
			records = append(records, r)
		}
		if len(records) == 0 {
			return
		}
		sameAsKmsg(t, b, records)
		built := Build(BuildOptions{BaseOffset: b.BaseOffset()}, records...)
		var again []Record
		for r, err := range built.Records(0) {
			if err != nil {
				t.Fatalf("record %d of a built batch: %v", len(again), err)
			}
			again = append(again, r)
		}
		if diff := cmp.Diff(records, again, cmpopts.IgnoreFields(Record{}, "Offset")); diff != "" {
			t.Fatalf("records differ (-read +built and read):\n%s", diff)
		}
	})
}

// sameAsKmsg decodes an uncompressed batch with franz-go's message types.
func sameAsKmsg(t *testing.T, b Batch, records []Record) {
	t.Helper()
	if b.Codec() != None || b.LogAppendTime() {
		return
	}
	var kb kmsg.RecordBatch
	if err := kb.ReadFrom(b); err != nil {
		t.Fatalf("franz-go refuses the batch: %v", err)
	}
	rest := kb.Records
	for i, want := range records {
		var kr kmsg.Record
		length, n := varint32(rest, 0)
		if err := kr.ReadFrom(rest[:n+int(length)]); err != nil {
			t.Fatalf("franz-go refuses record %d: %v", i, err)
		}
		rest = rest[n+int(length):]
		got := Record{Offset: kb.FirstOffset + int64(kr.OffsetDelta), Timestamp: kb.FirstTimestamp + kr.TimestampDelta64, Key: kr.Key, Value: kr.Value}
		for _, h := range kr.Headers {
			got.Headers = append(got.Headers, Header{h.Key, h.Value})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("record %d differs (-weir +franz-go):\n%s", i, diff)
		}
	}
}

// TestFranzGoEncodesAlike: a batch of franz-go's encoder is accepted, and it is
// byte for byte what Build makes.
func TestFranzGoEncodesAlike(t *testing.T) {
	var payload []byte
	for i := range int32(3) {
		r := kmsg.Record{OffsetDelta: i, TimestampDelta64: int64(i), TimestampDelta: i, Key: []byte("k"), Value: bytes.Repeat([]byte("v"), int(i)*40+1),
			Headers: []kmsg.Header{{Key: "h", Value: []byte("1")}, {Key: "n"}}}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // less the one byte of length 0
		payload = r.AppendTo(payload)
	}
	kb := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: 2, FirstTimestamp: now, MaxTimestamp: now + 2,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 3, Records: payload}
	kb.Length = int32(HeaderLen - lengthStart + len(payload))
	encoded := Batch(kb.AppendTo(nil))
	encoded.setCRC()
	b, err := Validate(encoded, kafkaDefaults)
	if err != nil {
		t.Fatal(err)
	}
	built := Build(BuildOptions{}, collect(t, b)...)
	if !bytes.Equal(built, encoded) {
		t.Fatalf("encoded\n% x\nbuilt\n% x", []byte(encoded), []byte(built))
	}
}
