package batch

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// keyed makes a batch of ten records k0 to k4 twice, the last a tombstone.
func keyed() Batch {
	var rs []Record
	for i := range 10 {
		r := Record{Timestamp: 1000 + int64(i), Key: fmt.Appendf(nil, "k%d", i%5), Value: []byte(strings.Repeat("v", 40) + fmt.Sprint(i))}
		if i == 3 {
			r.Headers = []Header{{"h", []byte("x")}, {"h", nil}}
		}
		if i == 9 {
			r.Value = nil
		}
		rs = append(rs, r)
	}
	b := Build(BuildOptions{BaseOffset: 100, Producer: &Producer{ID: 5, Epoch: 1, Sequence: 7}}, rs...)
	b.SetLeaderEpoch(3)
	return b
}

// TestRewriteEveryCodec: records go, everything else of the batch stays, codec
// and snappy's framing included.
func TestRewriteEveryCodec(t *testing.T) {
	plain := keyed()
	payload := plain[HeaderLen:]
	for name, b := range map[string]Batch{
		"none": plain, "gzip": packed(plain, Gzip, gzipped(t, payload)),
		"snappy": packed(plain, Snappy, rawSnappy(t, payload)), "xerial": packed(plain, Snappy, xerial(t, payload)),
		"lz4": packed(plain, LZ4, lz4ed(t, payload)), "zstd": packed(plain, Zstd, zstded(t, payload)),
	} {
		var w Rewriter
		for range 2 { // with encoders that were used
			got, err := w.Rewrite(b, 1<<20, NoHorizon, func(e Entry) bool { return e.Offset%2 == 0 })
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := got.CheckCRC(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got.Codec() != b.Codec() || got.Len() != len(got) || got.BaseOffset() != 100 || got.LastOffsetDelta() != 9 || got.Count() != 5 ||
				got.LeaderEpoch() != 3 || got.ProducerID() != 5 || got.BaseSequence() != 7 || got.MaxTimestamp() != 1008 || got.BaseTimestamp() != 1000 {
				t.Fatalf("%s: header %x", name, got[:HeaderLen])
			}
			if xerial := bytes.HasPrefix(got[HeaderLen:], xerialMagic); xerial != (name == "xerial") {
				t.Fatalf("%s: xerial framing is %t", name, xerial)
			}
			all := collect(t, plain)
			for i, r := range collect(t, got) {
				if want := all[2*i]; r.Offset != want.Offset || r.Timestamp != want.Timestamp || !bytes.Equal(r.Value, want.Value) || len(r.Headers) != len(want.Headers) {
					t.Fatalf("%s: %+v, want %+v", name, r, want)
				}
			}
		}
	}
}

func TestRewriteAllOrNone(t *testing.T) {
	var w Rewriter
	b := keyed()
	if got, err := w.Rewrite(b, 1<<20, NoHorizon, func(Entry) bool { return true }); err != nil || &got[0] != &b[0] {
		t.Fatalf("all kept: %v, %v", got, err)
	}
	if got, err := w.Rewrite(b, 1<<20, 5000, func(Entry) bool { return false }); err != nil || got != nil {
		t.Fatalf("none kept: %v, %v", got, err)
	}
}

// TestRewriteSetsTheHorizon (KIP-534): once, and only when a tombstone stays;
// the times of the records do not change.
func TestRewriteSetsTheHorizon(t *testing.T) {
	var w Rewriter
	b := packed(keyed(), Gzip, gzipped(t, keyed()[HeaderLen:]))
	got, err := w.Rewrite(b, 1<<20, 1<<40, func(Entry) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := got.DeleteHorizon(); !ok || h != 1<<40 || got.CheckCRC() != nil || got.MaxTimestamp() != 1009 {
		t.Fatalf("horizon %d, %t", h, ok)
	}
	want := collect(t, keyed())
	for i, r := range collect(t, got) {
		if r.Timestamp != want[i].Timestamp || r.Offset != want[i].Offset || !bytes.Equal(r.Value, want[i].Value) || (r.Value == nil) != (want[i].Value == nil) || len(r.Headers) != len(want[i].Headers) {
			t.Fatalf("%+v, want %+v", r, want[i])
		}
	}
	first := Batch(bytes.Clone(got))
	if got, err = w.Rewrite(first, 1<<20, 1<<41, func(Entry) bool { return true }); err != nil || !bytes.Equal(got, first) {
		t.Fatalf("a second horizon: %v, %v", got, err)
	}
	got, err = w.Rewrite(b, 1<<20, 1<<40, func(e Entry) bool { return !e.Tombstone })
	if _, ok := got.DeleteHorizon(); err != nil || ok {
		t.Fatalf("horizon without tombstones: %v", err)
	}
}

func TestRewriteKeepsLogAppendTime(t *testing.T) {
	b := keyed()
	b.SetLogAppendTime(77)
	var w Rewriter
	got, err := w.Rewrite(b, 1<<20, NoHorizon, func(e Entry) bool { return e.Timestamp == 77 && e.Offset < 103 })
	if err != nil || got.Count() != 3 || got.MaxTimestamp() != 77 || !got.LogAppendTime() {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestEmptied(t *testing.T) {
	b := Batch(packed(keyed(), Gzip, gzipped(t, keyed()[HeaderLen:])))
	e := b.Emptied()
	if err := e.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if len(e) != HeaderLen || e.Len() != HeaderLen || e.Count() != 0 || e.NextOffset() != b.NextOffset() || e.BaseSequence() != 7 || e.ProducerID() != 5 || e.MaxTimestamp() != -1 || e.BaseTimestamp() != -1 {
		t.Fatalf("%x", e)
	}
	if rs := collect(t, e); len(rs) != 0 {
		t.Fatal(rs)
	}
	var w Rewriter
	if err := w.Each(e, 1, func(Entry) bool { t.Fatal("a record"); return false }); err != nil {
		t.Fatal(err)
	}
}

// TestEachRefusesWhatIsNoRecord: counts and lengths are not believed.
func TestEachRefusesWhatIsNoRecord(t *testing.T) {
	var w Rewriter
	b := keyed()
	short := Batch(bytes.Clone(b))
	short[60] = 9
	if err := w.Each(short, 1<<20, func(Entry) bool { return true }); err == nil {
		t.Error("a record behind the last was not noticed")
	}
	long := Batch(bytes.Clone(b))
	long[60] = 11
	if _, err := w.Rewrite(long, 1<<20, NoHorizon, func(Entry) bool { return true }); err == nil {
		t.Error("a missing record was not noticed")
	}
	z := packed(b, Zstd, zstded(t, make([]byte, 1<<20)))
	if err := w.Each(z, 1<<10, func(Entry) bool { return true }); err == nil {
		t.Error("the limit was not held")
	}
}

// TestEachAllocatesNothing: keys are views, headers are not made.
func TestEachAllocatesNothing(t *testing.T) {
	var w Rewriter
	b := keyed()
	n := 0
	if got := testing.AllocsPerRun(100, func() { _ = w.Each(b, 1<<20, func(e Entry) bool { n += len(e.Key); return true }) }); got > 0 {
		t.Fatalf("%v allocations", got)
	}
}
