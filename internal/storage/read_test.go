package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// fill appends n batches of different sizes and returns them, stamped.
func fill(t testing.TB, s *Store, p *Partition, n int) []batch.Batch {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	var out []batch.Batch
	for i := range n {
		b := textAt(1+rng.IntN(3), strings.Repeat("v", rng.IntN(200)), int64(1000+10*i))
		put(t, s, p, b)
		out = append(out, b)
	}
	return out
}

// TestReadWholeBatches reads from every offset with several limits, before and
// after a restart, and compares with what was appended.
func TestReadWholeBatches(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		cfg := smallConfig(vfs.NewMem())
		cfg.Durability = mode
		s := mustOpen(t, cfg, orders)
		want := fill(t, s, s.Partition(ordersID, 1), 200)
		checkReads(t, s.Partition(ordersID, 1), want)
		mustClose(t, s)
		s = mustOpen(t, cfg, orders)
		checkReads(t, s.Partition(ordersID, 1), want)
		mustClose(t, s)
	}
}

func checkReads(t *testing.T, p *Partition, want []batch.Batch) {
	t.Helper()
	high := p.Offsets().High
	for k, b := range want {
		for _, limit := range []int{1, 300, 1000, 1 << 20} {
			for _, end := range []int64{high, b.NextOffset(), b.NextOffset() + 40} {
				for offset := b.BaseOffset(); offset < b.NextOffset(); offset++ {
					checkRead(t, p, want[k:], offset, limit, min(end, high))
				}
			}
		}
	}
	e, err := p.Read(high, 100, high)
	if err != nil || e.Len() != 0 {
		t.Fatalf("at the end: %d bytes, %v", e.Len(), err)
	}
	e.Release()
	for _, offset := range []int64{-1, high + 1} {
		if _, err := p.Read(offset, 100, high); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Fatalf("offset %d: %v", offset, err)
		}
	}
}

func checkRead(t *testing.T, p *Partition, want []batch.Batch, offset int64, limit int, end int64) {
	t.Helper()
	e, err := p.Read(offset, limit, end)
	if err != nil {
		t.Fatalf("offset %d: %v", offset, err)
	}
	defer e.Release()
	b := make([]byte, e.Len())
	if _, err := e.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, want[0]) {
		t.Fatalf("offset %d, limit %d: does not begin with the batch that holds it", offset, limit)
	}
	if len(b) > limit && len(b) != len(want[0]) {
		t.Fatalf("offset %d, limit %d: %d bytes", offset, limit, len(b))
	}
	var last batch.Batch
	for rest := b; len(rest) > 0; want = want[1:] {
		if last, rest, err = batch.Split(rest); err != nil || !bytes.Equal(last, want[0]) {
			t.Fatalf("offset %d, limit %d: batch differs (%v)", offset, limit, err)
		}
	}
	if last.BaseOffset() >= end {
		t.Fatalf("offset %d: reads up to %d, the end is %d", offset, last.BaseOffset(), end)
	}
	if len(want) > 0 && len(b)+len(want[0]) <= limit && want[0].BaseOffset() < end && e.seg.size.Load() > e.pos+e.n {
		t.Fatalf("offset %d, limit %d: stops at %d bytes though the next batch fits", offset, limit, len(b))
	}
}

// TestExtentOutlivesDeletion: an extent that is held stays readable when the
// topic is deleted, and its file goes at the last Release.
func TestExtentOutlivesDeletion(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, smallConfig(fs), orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	want := text(2, "kept")
	put(t, s, p, want)
	e, err := p.Read(0, 1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatcher(1 << 20)
	p.Watch(w, 2)
	if err := s.DeleteTopic(ordersID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.C:
	default:
		t.Error("the watcher was not woken by the deletion")
	}
	if _, err := p.Read(0, 10, 2); !errors.Is(err, ErrDeleted) {
		t.Errorf("read of a deleted partition: %v", err)
	}
	if _, err := s.Commit(context.Background(), []Append{{Partition: p, Batches: text(1, "x")}}); !errors.Is(err, ErrDeleted) {
		t.Errorf("append to a deleted partition: %v", err)
	}
	got := make([]byte, e.Len())
	if _, err := e.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("held extent: %v", err)
	}
	name := e.seg.log.name
	if _, err := fs.Stat(name); err != nil {
		t.Errorf("the pinned file: %v", err)
	}
	e.Release()
	e.Release()
	if _, err := fs.Stat(name); err == nil {
		t.Error("the file is still there after the last Release")
	}
	if s.Partition(ordersID, 0) != nil {
		t.Error("the partition can still be found")
	}
}

// flip changes one byte of a file behind the store's back.
func flip(t *testing.T, fs vfs.FS, name string, at int64) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRule12BitRot flips each byte of a sealed segment in turn and reads it
// after a restart: the damage is found on the first read, with its place, and
// bytes 0-16 of a batch, which its own checksum leaves out, are no exception.
func TestRule12BitRot(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	fill(t, s, s.Partition(ordersID, 0), 100)
	second := s.Partition(ordersID, 0).state.segments[1].base
	mustClose(t, s)
	name := filepath.Join(topicDir("data", ordersID), segmentName(0, 0)+".log")
	info, err := fs.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	step := int64(1)
	if testing.Short() {
		step = 13
	}
	for at := int64(0); at < info.Size; at += step {
		flip(t, fs, name, at)
		s := mustOpen(t, cfg, orders)
		err := readExtents(s.Partition(ordersID, 0), second)
		var c *CorruptError
		if !errors.As(err, &c) || c.File != name || c.Topic != ordersID {
			t.Fatalf("byte %d of %d: %v", at, info.Size, err)
		}
		mustClose(t, s)
		flip(t, fs, name, at)
	}
}

// readExtents reads up to end in small pieces.
func readExtents(p *Partition, end int64) error {
	for at := int64(0); at < end; {
		e, err := p.Read(at, 900, end)
		if err != nil {
			return err
		}
		b := make([]byte, e.Len())
		for off := 0; off < len(b); off += 100 {
			if _, err := e.ReadAt(b[off:min(off+100, len(b))], int64(off)); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		e.Release()
		for rest := b; len(rest) > 0; {
			var one batch.Batch
			if one, rest, err = batch.Split(rest); err != nil {
				return err
			}
			at = one.NextOffset()
		}
	}
	return nil
}

// TestRule12VerifiedOnce: what was verified once is not verified again, and own
// appends never are.
func TestRule12VerifiedOnce(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	fill(t, s, p, 30)
	name := p.state.segments[0].log.name
	end := p.state.segments[1].base
	flip(t, fs, name, 100)
	if err := readRaw(p, end); err != nil {
		t.Errorf("own append was verified: %v", err)
	}
	flip(t, fs, name, 100)
	mustClose(t, s)
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p = s.Partition(ordersID, 0)
	if err := readRaw(p, end); err != nil {
		t.Fatal(err)
	}
	flip(t, fs, name, 100)
	if err := readRaw(p, end); err != nil {
		t.Errorf("verified a second time: %v", err)
	}
}

// readRaw reads the first segment without looking at the bytes.
func readRaw(p *Partition, end int64) error {
	e, err := p.Read(0, 1<<20, end)
	if err != nil {
		return err
	}
	defer e.Release()
	_, err = e.ReadAt(make([]byte, e.Len()), 0)
	return err
}

func TestIndexIsMadeAnew(t *testing.T) {
	damage := map[string]func(t *testing.T, fs vfs.FS, name string){
		"absent": func(t *testing.T, fs vfs.FS, name string) {
			if err := fs.Remove(name); err != nil {
				t.Fatal(err)
			}
		},
		"torn": func(t *testing.T, fs vfs.FS, name string) {
			f, err := fs.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := f.Size()
			if err := errors.Join(f.Truncate(n-entryLen), f.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"wrong":     func(t *testing.T, fs vfs.FS, name string) { flip(t, fs, name, 2) },
		"wrong end": func(t *testing.T, fs vfs.FS, name string) { i, _ := fs.Stat(name); flip(t, fs, name, i.Size-3) },
	}
	for what, do := range damage {
		for _, k := range []int{0, -1} { // a sealed segment, the active one
			t.Run(fmt.Sprint(what, k), func(t *testing.T) {
				fs := vfs.NewMem()
				cfg := smallConfig(fs)
				s := mustOpen(t, cfg, orders)
				p := s.Partition(ordersID, 0)
				want := fill(t, s, p, 64)
				segs := p.state.segments
				name := segs[(k+len(segs))%len(segs)].ix.f.name
				mustClose(t, s)
				do(t, fs, name)
				s = mustOpen(t, cfg, orders)
				defer mustClose(t, s)
				checkReads(t, s.Partition(ordersID, 0), want)
				put(t, s, s.Partition(ordersID, 0), text(1, "goes on"))
			})
		}
	}
}
