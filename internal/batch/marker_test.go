package batch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
)

// TestMarkerBytes: the record of a marker as Apache Kafka writes it, byte by byte.
func TestMarkerBytes(t *testing.T) {
	for _, c := range []struct {
		marker Marker
		record string // length, attributes, deltas, key length, key, value length, value, headers
	}{
		{Marker{Commit: true, CoordinatorEpoch: 7}, "20" + "00" + "00" + "00" + "08" + "00000001" + "0c" + "000000000007" + "00"},
		{Marker{Commit: false, CoordinatorEpoch: 0}, "20" + "00" + "00" + "00" + "08" + "00000000" + "0c" + "000000000000" + "00"},
	} {
		b := BuildMarker(1234, 5, 1_700_000_000_000, c.marker)
		if got := hex.EncodeToString(b[HeaderLen:]); got != c.record {
			t.Errorf("%+v: record %s, want %s", c.marker, got, c.record)
		}
		if err := b.CheckCRC(); err != nil {
			t.Error(err)
		}
		if b.Attributes() != 0x30 || b.BaseSequence() != -1 || b.ProducerID() != 1234 || b.ProducerEpoch() != 5 ||
			b.Count() != 1 || b.LastOffsetDelta() != 0 || b.BaseTimestamp() != 1_700_000_000_000 || b.MaxTimestamp() != 1_700_000_000_000 {
			t.Errorf("header %x", b[:HeaderLen])
		}
		if len(b) != markerBatchSize {
			t.Errorf("%d bytes, markerBatchSize is %d", len(b), markerBatchSize)
		}
		if m, ok, err := b.Marker(); m != c.marker || !ok || err != nil {
			t.Errorf("read back %+v %t %v", m, ok, err)
		}
	}
}

func TestMarkerOfOthers(t *testing.T) {
	control := func(key, value []byte) Batch {
		return Build(BuildOptions{Control: true, Producer: &Producer{ID: 1, Sequence: -1}}, Record{Key: key, Value: value})
	}
	marker := BuildMarker(1, 0, 5, Marker{Commit: true})
	for _, c := range []struct {
		name string
		b    Batch
		ok   bool
		bad  bool
	}{
		{"a plain batch", Build(BuildOptions{}, Record{Key: []byte{0, 0, 0, 1}, Value: make([]byte, 6)}), false, false},
		{"another control record", control([]byte{0, 0, 0, 2}, make([]byte, 6)), false, false},
		{"an emptied one", marker.Emptied(), false, false},
		{"a newer version with more fields", control([]byte{0, 1, 0, 1, 9}, make([]byte, 9)), true, false},
		{"a short key", control([]byte{0, 0, 0}, make([]byte, 6)), false, true},
		{"no key", control(nil, make([]byte, 6)), false, true},
		{"a short value", control([]byte{0, 0, 0, 1}, make([]byte, 5)), false, true},
		{"no value", control([]byte{0, 0, 0, 1}, nil), false, true},
		{"a negative version", control([]byte{0xff, 0, 0, 1}, make([]byte, 6)), false, true},
	} {
		_, ok, err := c.b.Marker()
		if ok != c.ok || (err != nil) != c.bad || err != nil && !errors.Is(err, ErrInvalidRecord) {
			t.Errorf("%s: %t %v", c.name, ok, err)
		}
	}
	compressed := bytes.Clone(marker)
	binary.BigEndian.PutUint16(compressed[21:], 0x31)
	if _, _, err := Batch(compressed).Marker(); !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("a compressed marker: %v", err)
	}
}

// TestMarkerHorizon: a delete horizon on a marker leaves its time and its word.
func TestMarkerHorizon(t *testing.T) {
	b := BuildMarker(9, 2, 1000, Marker{Commit: true, CoordinatorEpoch: 3})
	var w Rewriter
	got, err := w.SetHorizon(b, 1<<20, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if horizon, ok := got.DeleteHorizon(); !ok || horizon != 5000 {
		t.Errorf("horizon %d %t", horizon, ok)
	}
	if err := got.CheckCRC(); err != nil {
		t.Error(err)
	}
	if m, ok, err := got.Marker(); !ok || err != nil || !m.Commit || m.CoordinatorEpoch != 3 {
		t.Errorf("%+v %t %v", m, ok, err)
	}
	for r, err := range got.Records(1 << 20) {
		if err != nil || r.Timestamp != 1000 {
			t.Errorf("record at %d, %v", r.Timestamp, err)
		}
	}
	if again, err := w.SetHorizon(bytes.Clone(got), 1<<20, 9000); err != nil || !bytes.Equal(again, got) {
		t.Errorf("a horizon that is set was moved: %v", err)
	}
}

func FuzzMarker(f *testing.F) {
	f.Add([]byte(BuildMarker(1, 2, 3, Marker{Commit: true})))
	f.Add([]byte(BuildMarker(1, 2, 3, Marker{}).Emptied()))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, _, err := Split(in)
		if err != nil {
			return
		}
		m, ok, err := b.Marker()
		if ok && err != nil {
			t.Fatal("a marker and an error")
		}
		if again := BuildMarker(b.ProducerID(), b.ProducerEpoch(), 0, m); ok {
			if back, ok, err := again.Marker(); back != m || !ok || err != nil {
				t.Fatalf("%+v came back as %+v, %v", m, back, err)
			}
		}
	})
}
