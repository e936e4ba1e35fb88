package storage

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// TestGoodBeforeBad flips a byte of each batch in turn: whoever reads from any
// offset before it meets the error at most once, and then gets the good batches
// up to it or, where the index cannot say which batch is bad, up to its entry.
func TestGoodBeforeBad(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	batches := fill(t, s, s.Partition(ordersID, 0), 40)
	end := s.Partition(ordersID, 0).state.segments[1].base
	mustClose(t, s)
	name := filepath.Join(topicDir("data", ordersID), segmentName(0, 0)+".log")
	at := int64(0)
	for k, b := range batches {
		if b.NextOffset() > end {
			break
		}
		flip(t, fs, name, at+int64(len(b))-1) // the last byte of its records
		s := mustOpen(t, cfg, orders)
		checkGood(t, s.Partition(ordersID, 0), batches[:k], end)
		if k+1 < len(batches) && batches[k+1].BaseOffset() < end {
			if err := readFrom(s.Partition(ordersID, 0), batches[k+1].BaseOffset(), end); err != nil {
				t.Errorf("behind bad batch %d: %v", k, err)
			}
		}
		mustClose(t, s)
		flip(t, fs, name, at+int64(len(b))-1)
		at += int64(len(b))
	}
}

// checkGood reads from the first offset until the bad batch behind good.
func checkGood(t *testing.T, p *Partition, good []batch.Batch, end int64) {
	t.Helper()
	var c *CorruptError
	if err := readFrom(p, 0, end); !errors.As(err, &c) {
		t.Fatalf("%d good batches: %v", len(good), err)
	}
	want := 0
	for _, b := range good {
		want += len(b)
	}
	e, err := p.Read(0, 1<<20, end)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	if len(good) > 0 && e.Len() != want {
		t.Errorf("%d good batches: %d bytes are given, want %d", len(good), e.Len(), want)
	}
	if _, err := e.ReadAt(make([]byte, e.Len()), 0); errors.As(err, &c) != (len(good) == 0) {
		t.Errorf("%d good batches: %v", len(good), err)
	}
}

// readFrom reads from an offset to the end in one piece.
func readFrom(p *Partition, from, end int64) error {
	e, err := p.Read(from, 1<<20, end)
	if err != nil {
		return err
	}
	defer e.Release()
	_, err = e.ReadAt(make([]byte, e.Len()), 0)
	return err
}

// TestCorruptErrorTellsItsPlace: as much of it as is known, and no more.
func TestCorruptErrorTellsItsPlace(t *testing.T) {
	for want, e := range map[string]CorruptError{
		"corrupt data in f at byte 7 (offset 3): why": {File: "f", Position: 7, Offset: 3, Reason: "why"},
		"corrupt data in f at byte 0 (offset 0): why": {File: "f", Reason: "why"},
		"corrupt data in f at byte 7: why":            {File: "f", Position: 7, Offset: -1, Reason: "why"},
		"corrupt data in f: why":                      {File: "f", Offset: -1, Reason: "why"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
