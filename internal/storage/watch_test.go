package storage

import (
	"context"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

func woken(w *Watcher) bool {
	select {
	case <-w.C:
		return true
	default:
		return false
	}
}

func TestWatcherCountsBytes(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p, q := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
	b := text(1, "0123456789")
	n := len(b)
	put(t, s, p, b)
	put(t, s, p, text(1, "0123456789"))

	w := NewWatcher(3 * n)
	p.Watch(w, 1) // one batch counts at once
	q.Watch(w, 0)
	if woken(w) {
		t.Fatal("woken by one batch of three")
	}
	put(t, s, p, text(1, "0123456789"))
	if woken(w) {
		t.Fatal("woken by two batches of three")
	}
	put(t, s, q, text(1, "0123456789"))
	if !woken(w) {
		t.Fatal("not woken by three batches on two partitions")
	}
	p.Unwatch(w)
	p.Unwatch(w)
	q.Unwatch(w)
	put(t, s, p, text(1, "0123456789"))
	if woken(w) {
		t.Error("woken after Unwatch")
	}

	w = NewWatcher(4 * n)
	p.Watch(w, 0)
	if !woken(w) {
		t.Error("four batches that were there before do not count")
	}
	p.Unwatch(w)
}

// TestWatcherAcrossSegments: what is there counts in whole, wherever it lies.
func TestWatcherAcrossSegments(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	s := mustOpen(t, cfg, orders)
	total := 0
	for _, b := range fill(t, s, s.Partition(ordersID, 0), 80) {
		total += len(b)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	for _, more := range []int{0, 1} {
		w := NewWatcher(total + more)
		p.Watch(w, 0)
		if woken(w) != (more == 0) {
			t.Errorf("%d bytes are there, asked for %d more", total, more)
		}
		p.Unwatch(w)
	}
}

// TestWatcherWaitsForDurable: the high watermark wakes, not the append.
func TestWatcherWaitsForDurable(t *testing.T) {
	fs := newHeldSync()
	s := mustOpen(t, smallConfig(fs), orders)
	p := s.Partition(ordersID, 0)
	put(t, s, s.Partition(ordersID, 1), text(1, "so that the journal has a file"))
	fs.hold()
	w := NewWatcher(1)
	p.Watch(w, 0)
	_, lsn, err := commit(s, p, text(1, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(context.Background(), lsn, Written); err != nil {
		t.Fatal(err)
	}
	if woken(w) {
		t.Error("woken before the sync")
	}
	fs.free()
	<-w.C
	mustClose(t, s)
	if !woken(w) {
		t.Error("not woken by Close")
	}
}

// heard is an Observer that counts.
type heard struct{ bytes, changes int64 }

func (h *heard) Readable(n int64) { h.bytes += n }
func (h *heard) Changed()         { h.changes++ }

// TestObserver hears each change from its registration to its end, and nothing
// of what was before.
func TestObserver(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	defer mustClose(t, s)
	p, q := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
	b := text(1, "0123456789")
	n := int64(len(b))
	put(t, s, p, b)
	var h heard
	w := NewObserver(&h)
	p.Observe(w)
	q.Observe(w)
	if h != (heard{}) {
		t.Fatalf("heard %+v of the past", h)
	}
	put(t, s, p, text(1, "0123456789"))
	put(t, s, q, text(1, "0123456789"))
	if h != (heard{bytes: 2 * n}) {
		t.Fatalf("heard %+v of two batches of %d bytes", h, n)
	}
	p.Unwatch(w)
	put(t, s, p, text(1, "0123456789"))
	if h != (heard{bytes: 2 * n}) {
		t.Fatalf("heard %+v after Unwatch", h)
	}
	if err := s.DeleteTopic(ordersID); err != nil {
		t.Fatal(err)
	}
	if h != (heard{2 * n, 1}) {
		t.Fatalf("heard %+v after one observed partition was deleted", h)
	}
	q.Observe(w)
	if h.changes != 2 {
		t.Error("an observer of a deleted partition is not told")
	}
}

// TestWatchStableBehindAStart: the bytes of a transaction that an earlier process
// appended count when it ends, whether a scan of the log or a checkpoint told of
// it; and what this process appends is counted to the byte as ever.
func TestWatchStableBehindAStart(t *testing.T) {
	for _, kill := range []bool{true, false} {
		fs := vfs.NewMem()
		cfg := smallConfig(fs)
		cfg.Durability = OS
		s := mustOpen(t, cfg, orders)
		b := inTxn(1, 0, 0, 5)
		put(t, s, s.Partition(ordersID, 0), b)
		if kill {
			cfg.FS = killed(fs)
		}
		mustClose(t, s)
		s = mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		end := marker(1, 0, true)
		w := NewWatcher(len(b) + len(end))
		p.WatchStable(w, 0)
		if woken(w) {
			t.Fatal("woken by what is not decided")
		}
		put(t, s, p, end)
		if !woken(w) {
			t.Errorf("kill=%t: the end of the transaction did not wake who waits for its bytes", kill)
		}
		p.Unwatch(w)

		var h heard
		o := NewObserver(&h)
		p.ObserveStable(o)
		plain, more, last := text(1, "plain"), inTxn(1, 0, 5, 2), marker(1, 0, false)
		put(t, s, p, plain)
		put(t, s, p, more)
		put(t, s, p, text(1, "plain"))
		if h.bytes != int64(len(plain)) {
			t.Errorf("kill=%t: heard of %d bytes, %d are decided", kill, h.bytes, len(plain))
		}
		put(t, s, p, last)
		if want := int64(2*len(plain) + len(more) + len(last)); h.bytes != want {
			t.Errorf("kill=%t: heard of %d bytes, want %d", kill, h.bytes, want)
		}
		mustClose(t, s)
	}
}
