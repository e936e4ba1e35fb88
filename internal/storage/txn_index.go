package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/weirstream/weir/internal/batch"
)

// abortedLen is the length in bytes of an entry of a transaction index.
const abortedLen = 36

// flushAborted is how many entries an active segment gathers in memory before
// they are appended to its file: 4 KiB of them.
const flushAborted = 113

func (t AbortedTxn) append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint64(b, uint64(t.ProducerID))
	b = binary.BigEndian.AppendUint64(b, uint64(t.FirstOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(t.LastOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(t.LastStable))
	return binary.BigEndian.AppendUint32(b, crc32c(b[start:]))
}

func decodeAborted(b []byte) (AbortedTxn, bool) {
	if len(b) < abortedLen || crc32c(b[:32]) != binary.BigEndian.Uint32(b[32:]) {
		return AbortedTxn{}, false
	}
	return AbortedTxn{
		ProducerID:  int64(binary.BigEndian.Uint64(b)),
		FirstOffset: int64(binary.BigEndian.Uint64(b[8:])),
		LastOffset:  int64(binary.BigEndian.Uint64(b[16:])),
		LastStable:  int64(binary.BigEndian.Uint64(b[24:])),
	}, true
}

// txnIndex lists the aborted transactions whose marker stands in a segment, in the
// order of the markers. The file is made with the first entry. How many there are
// is told by the checkpoint, so that a file that is absent or cut is noticed; then,
// and when an entry is damaged, it is made anew from the log.
type txnIndex struct {
	f *file

	repairing sync.Mutex // held while the file is made anew; comes before Partition.mu
	writing   sync.Mutex // held while the file is written

	mu      sync.Mutex
	flushed int          // entries in the file
	tail    []AbortedTxn // entries behind them
	newest  int64        // LastOffset of the last flushed entry once known
	known   bool         // newest is set
}

// count is the number of entries.
func (x *txnIndex) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flushed + len(x.tail)
}

// note adds an entry.
func (x *txnIndex) note(t AbortedTxn) {
	x.mu.Lock()
	x.tail = append(x.tail, t)
	x.mu.Unlock()
}

// full says that the tail should be flushed.
func (x *txnIndex) full() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.tail) >= flushAborted
}

// flush appends the tail to the file and tells whether it has made that.
func (x *txnIndex) flush() (made bool, err error) {
	x.writing.Lock()
	defer x.writing.Unlock()
	return x.flushTail()
}

func (x *txnIndex) flushTail() (made bool, err error) {
	x.mu.Lock()
	at, tail := x.flushed, x.tail
	b := make([]byte, 0, len(tail)*abortedLen)
	for _, t := range tail {
		b = t.append(b)
	}
	x.mu.Unlock()
	if len(b) == 0 {
		return false, nil
	}
	if err := x.f.openOrCreate(); err != nil {
		return false, err
	}
	if err := x.f.writeAt(b, int64(at)*abortedLen); err != nil {
		return false, err
	}
	x.mu.Lock()
	x.flushed += len(tail)
	x.newest, x.known = tail[len(tail)-1].LastOffset, true
	x.tail = append([]AbortedTxn(nil), x.tail[len(tail):]...)
	x.mu.Unlock()
	return at == 0, nil
}

// attach sets how many entries the file has, as a checkpoint tells it.
func (x *txnIndex) attach(n int) { x.flushed = n }

var errTxnIndex = errors.New("entry of the transaction index is damaged")

// read reads entries from the k-th on; at most as many as a window holds.
func (x *txnIndex) read(k, n int, out []AbortedTxn) ([]AbortedTxn, error) {
	w := windows.Get().(*window)
	defer windows.Put(w)
	b := w.b[:min(n, len(w.b)/abortedLen)*abortedLen]
	if got, err := x.f.ReadAt(b, int64(k)*abortedLen); got < len(b) {
		if err != nil && noDescriptor(err) {
			return out, err
		}
		return out, fmt.Errorf("%w: %w", errTxnIndex, err)
	}
	for ; len(b) > 0; b = b[abortedLen:] {
		t, ok := decodeAborted(b)
		if !ok {
			return out, errTxnIndex
		}
		out = append(out, t)
	}
	return out, nil
}

// search appends to out the transactions that overlap [from, to). done says that
// no later segment can have more of them.
func (x *txnIndex) search(from, to int64, out []AbortedTxn) (list []AbortedTxn, done bool, err error) {
	x.mu.Lock()
	n, tail, skip := x.flushed, x.tail, x.known && x.newest < from
	x.mu.Unlock()
	take := func(t AbortedTxn) bool {
		if t.LastOffset >= from && t.FirstOffset < to {
			out = append(out, t)
		}
		done = done || t.LastOffset >= from && t.LastStable >= to
		return !done
	}
	if !skip && n > 0 {
		k, err := x.firstEndingAt(from, n)
		if err != nil {
			return out, false, err
		}
		var page []AbortedTxn
		for k < n && !done {
			if page, err = x.read(k, n-k, page[:0]); err != nil {
				return out, false, err
			}
			for i := 0; i < len(page) && take(page[i]); i++ {
			}
			k += len(page)
		}
	}
	for i := 0; i < len(tail) && !done && take(tail[i]); i++ {
	}
	return out, done, nil
}

// firstEndingAt finds the first of n entries in the file whose marker does not lie
// below offset from.
func (x *txnIndex) firstEndingAt(from int64, n int) (int, error) {
	lo, hi := 0, n
	var one []AbortedTxn
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		var err error
		if one, err = x.read(m, 1, one[:0]); err != nil {
			return 0, err
		}
		if one[0].LastOffset < from {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, nil
}

// all returns every entry.
func (x *txnIndex) all() ([]AbortedTxn, error) {
	x.mu.Lock()
	n, tail := x.flushed, x.tail
	x.mu.Unlock()
	var out []AbortedTxn
	for len(out) < n {
		var err error
		if out, err = x.read(len(out), n-len(out), out); err != nil {
			return nil, err
		}
	}
	return append(out, tail...), nil
}

// replace writes the entries of a segment anew.
func (x *txnIndex) replace(list []AbortedTxn) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	if err := x.f.openOrCreate(); err != nil {
		return err
	}
	if err := x.f.truncate(0); err != nil {
		return err
	}
	x.mu.Lock()
	x.flushed, x.tail, x.known = 0, list, false
	x.mu.Unlock()
	_, err := x.flushTail()
	return err
}

// txnScan follows the transactions in batches that come in the order of their
// offsets. Its answers are those that the appends gave, as far as readers can
// tell: what was deleted before the scan began has no readers.
type txnScan struct {
	open map[int64]int64 // producer to the offset at which its transaction began
}

// take looks at the next batch, whole if it is a control batch, and returns the
// transaction that it aborts.
func (s *txnScan) take(b batch.Batch) (t AbortedTxn, aborted bool) {
	id := b.ProducerID()
	if id < 0 || !b.Transactional() {
		return t, false
	}
	if s.open == nil {
		s.open = map[int64]int64{}
	}
	first, open := s.open[id]
	if !b.Control() {
		if !open {
			s.open[id] = b.BaseOffset()
		}
		return t, false
	}
	m, ok, err := b.Marker()
	if err != nil || !ok || !open {
		return t, false
	}
	delete(s.open, id)
	if m.Commit {
		return t, false
	}
	t = AbortedTxn{id, first, b.LastOffset(), b.NextOffset()}
	for _, other := range s.open {
		t.LastStable = min(t.LastStable, other)
	}
	return t, true
}
