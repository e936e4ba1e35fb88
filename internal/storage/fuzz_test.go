package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/journal"
	"github.com/weirstream/weir/internal/vfs"
)

func sampleCheckpoint() (*checkpoint, [][]byte) {
	c := &checkpoint{
		clean: true, durability: OS, epoch: 4,
		journal: journal.State{
			Replay: journal.Position{File: 2, Offset: 4096, LSN: 17}, Synced: 20,
			Spans: []journal.Span{{Incarnation: 3, First: 9, Start: journal.Position{File: 1, Offset: 5, LSN: 9}}},
		},
		partitions: []partitionState{{
			topic: ordersID, partition: 2, start: 5, next: 40,
			segments: []segmentState{{0, 100, 7, 12, 3}, {20, 300, minTime, 0, 0}},
			cleaned:  15,
			epochs:   []epochStart{{0, 0}, {4, 20}},
			producers: producers{
				9: {epoch: 3, n: 2, used: 99, coordinator: -1, txn: -1, window: [windowLen]seen{
					{1, 2, 30}, {3, 3, 32}}},
				10: {epoch: 4, n: 1, used: 98, coordinator: 7, txn: 33, window: [windowLen]seen{{0, 1, 33}}},
				11: {epoch: 5, used: 97, coordinator: 0, txn: -1},
			},
		}},
	}
	var records [][]byte
	for i := range c.partitions {
		records = append(records, appendPartition(nil, &c.partitions[i]))
	}
	return c, records
}

func TestCheckpointSurvivesItsEncoding(t *testing.T) {
	c, records := sampleCheckpoint()
	b := encodeCheckpoint(c, records)
	got, err := decodeCheckpoint(b)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Fatalf("%+v\n%+v\n%v", got, c, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := decodeCheckpoint(bad); err == nil {
			t.Fatalf("byte %d changed, and nobody saw it", i)
		}
		if _, err := decodeCheckpoint(b[:i]); err == nil {
			t.Fatalf("cut at %d, and nobody saw it", i)
		}
	}
}

// TestOlderCheckpoint: version 1, kept from before there was a cleaner, is read
// as a log that was never cleaned.
func TestOlderCheckpoint(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "checkpoint.v1"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := decodeCheckpoint(b)
	if err != nil || !c.clean || len(c.partitions) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	i := slices.IndexFunc(c.partitions, func(p partitionState) bool { return p.partition == 1 })
	p := c.partitions[i]
	want := []segmentState{{0, 3969, 1002, 0, 0}, {51, 3892, 1002, 0, 0}, {100, 3249, 1002, 0, 0}}
	w := p.producers[7]
	if p.topic != ordersID || p.next != 140 || p.cleaned != 0 || !slices.Equal(p.segments, want) || w.window[4] != (seen{78, 79, 138}) {
		t.Fatalf("%+v", p)
	}
	if w.txn != -1 || w.coordinator != -1 {
		t.Fatalf("producer without transactions: %+v", w)
	}
}

// TestCheckpointBeforeTransactions: version 2, kept from before there were
// transactions, is read as one without any.
func TestCheckpointBeforeTransactions(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "checkpoint.v2"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := decodeCheckpoint(b)
	if err != nil || !c.clean || len(c.partitions) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, p := range c.partitions {
		switch p.partition {
		case 0:
			want := []segmentState{{48, 79, 1001, 3, 0}, {60, 677, 1000, 0, 0}, {61, 677, 1000, 0, 0}, {62, 677, 1000, 0, 0}}
			if p.cleaned != 62 || p.next != 63 || !slices.Equal(p.segments, want) {
				t.Errorf("%+v", p)
			}
		case 1:
			w := p.producers[7]
			if p.next != 81 || w.window[4] != (seen{78, 79, 78}) || w.epoch != 3 || w.txn != -1 || w.coordinator != -1 {
				t.Errorf("%+v", w)
			}
		}
	}
}

// FuzzCheckpoint decodes arbitrary bytes behind a right checksum.
func FuzzCheckpoint(f *testing.F) {
	c, records := sampleCheckpoint()
	b := encodeCheckpoint(c, records)
	f.Add(b[:len(b)-4])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := decodeCheckpoint(withSum(body))
		if err != nil {
			return
		}
		var records [][]byte
		for i := range c.partitions {
			records = append(records, appendPartition(nil, &c.partitions[i]))
		}
		again, err := decodeCheckpoint(encodeCheckpoint(c, records))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v\n%+v\n%v", again, c, err)
		}
	})
}

// FuzzIndex puts arbitrary bytes in place of an index: reads see the log as it
// is. Entries with a right checksum that tell wrong places are left out: nobody
// but weir writes them.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{1, 2, 3}, true)
	f.Add(indexEntry{delta: 5, pos: 1 << 30}.append(nil), false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		for len(b) >= entryLen {
			if _, ok := decodeEntry(b); ok {
				return
			}
			b = b[1:]
		}
		fs := vfs.NewMem()
		cfg := smallConfig(fs)
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		want := fill(t, s, p, 30)
		seg := p.active()
		if sealed {
			seg = p.state.segments[0]
		}
		name := seg.ix.f.name
		mustClose(t, s)
		if err := writeDurable(fs, name, b); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, cfg, orders)
		defer mustClose(t, s)
		got := mustRead(t, s.Partition(ordersID, 0), 0)
		for _, w := range want {
			if !bytes.HasPrefix(got, w) {
				t.Fatal("the log is read differently")
			}
			got = got[len(w):]
		}
	})
}

// FuzzSegment puts arbitrary bytes behind a log in os mode: the scan takes in
// whole batches in order, or cuts.
func FuzzSegment(f *testing.F) {
	next := text(2, "next")
	next.SetBaseOffset(1)
	f.Add([]byte(next))
	f.Add([]byte(next[:40]))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := vfs.NewMem()
		cfg := smallConfig(mem)
		cfg.Durability = OS
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		put(t, s, p, text(1, "first"))
		name, size := p.active().log.name, p.active().size.Load()
		clone := killed(mem)
		mustClose(t, s)
		file, err := clone.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, size); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		cfg.FS = clone
		s = mustOpen(t, cfg, orders)
		defer mustClose(t, s)
		got := mustRead(t, s.Partition(ordersID, 0), 0)
		for expect := int64(0); len(got) > 0; {
			one, rest, err := batch.Split(got)
			if err != nil || one.BaseOffset() != expect || one.CheckCRC() != nil {
				t.Fatalf("offset %d: %v", expect, err)
			}
			expect, got = one.NextOffset(), rest
		}
	})
}

func withSum(body []byte) []byte {
	return be.AppendUint32(bytes.Clone(body), crc32c(body))
}
