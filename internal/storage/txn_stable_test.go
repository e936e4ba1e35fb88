package storage

import (
	"testing"
	"testing/synctest"
)

// TestStableStaysBetweenGroups: what is durable up to just before a marker moves
// the high watermark, and the last stable offset not: a power cut may still take
// the marker, and then the transaction is open again.
func TestStableStaysBetweenGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newHeldSync()
		s := mustOpen(t, smallConfig(fs), orders)
		defer mustClose(t, s)
		p := s.Partition(ordersID, 0)
		put(t, s, p, inTxn(1, 0, 0, 1))
		w := NewWatcher(1)
		p.WatchStable(w, 0)
		appendOne := func(b []byte) {
			t.Helper()
			if _, _, err := commit(s, p, b); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		fs.hold()
		first := fs.gate
		appendOne(text(1, "plain"))
		appendOne(marker(1, 0, false))
		fs.hold()
		close(first)
		synctest.Wait()
		if o := p.Offsets(); o.High != 2 || o.End != 3 || o.Stable != 0 || woken(w) {
			t.Errorf("the marker is not durable, and the offsets are %+v", o)
		}
		fs.free()
		synctest.Wait()
		if o := p.Offsets(); o.High != 3 || o.Stable != 3 || !woken(w) {
			t.Errorf("the marker is durable, and the offsets are %+v", o)
		}
	})
}

// TestStableOfWhatIsNotDurable: a transaction that begins behind the high watermark
// keeps nothing back of what comes before it, neither the offset nor the bytes.
func TestStableOfWhatIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newHeldSync()
		s := mustOpen(t, smallConfig(fs), orders)
		defer mustClose(t, s)
		p := s.Partition(ordersID, 0)
		put(t, s, p, text(1, "plain"))
		var h heard
		p.ObserveStable(NewObserver(&h))
		fs.hold()
		plain := text(1, "plain")
		for _, b := range [][]byte{plain, inTxn(1, 0, 0, 1)} {
			if _, _, err := commit(s, p, b); err != nil {
				t.Fatal(err)
			}
		}
		if o := p.Offsets(); o.High != 1 || o.Stable != 1 || h.bytes != 0 {
			t.Errorf("nothing of it is durable, and the offsets are %+v, %d bytes told", o, h.bytes)
		}
		fs.free()
		synctest.Wait()
		if o := p.Offsets(); o.High != 3 || o.Stable != 2 || h.bytes != int64(len(plain)) {
			t.Errorf("all of it is durable, and the offsets are %+v, %d bytes told, want %d", o, h.bytes, len(plain))
		}
	})
}
