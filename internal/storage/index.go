package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/internal/batch"
)

// entryLen is the length in bytes of an index entry.
const entryLen = 24

// flushEntries is how many entries an active segment gathers in memory before
// they are appended to its index file: 4 KiB of them.
const flushEntries = 170

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc32c(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// indexEntry points at a batch. Its time and checksum cover what lies before
// it, so that an entry is complete when it is made.
type indexEntry struct {
	delta  uint32 // offset of the batch, less the segment's base
	pos    uint32 // its position in the segment
	maxTS  int64  // largest timestamp of all batches before it; minTime if none
	prefix uint32 // CRC-32C of bytes 0-16 of every batch from the previous entry's on
}

const minTime = math.MinInt64

func (e indexEntry) append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, e.delta)
	b = binary.BigEndian.AppendUint32(b, e.pos)
	b = binary.BigEndian.AppendUint64(b, uint64(e.maxTS))
	b = binary.BigEndian.AppendUint32(b, e.prefix)
	return binary.BigEndian.AppendUint32(b, crc32c(b[start:]))
}

func decodeEntry(b []byte) (indexEntry, bool) {
	if len(b) < entryLen || crc32c(b[:20]) != binary.BigEndian.Uint32(b[20:]) {
		return indexEntry{}, false
	}
	return indexEntry{
		delta:  binary.BigEndian.Uint32(b),
		pos:    binary.BigEndian.Uint32(b[4:]),
		maxTS:  int64(binary.BigEndian.Uint64(b[8:])),
		prefix: binary.BigEndian.Uint32(b[16:]),
	}, true
}

// index is the sparse index of one segment. The first batch has an implicit
// entry {0, 0}. A sealed segment's index ends with an entry whose position is
// the segment's size: an index without it is not whole, and is made anew.
type index struct {
	f     *file
	every int64 // log between two entries, bytes

	loading sync.Mutex // held while the index is read or made anew
	loaded  atomic.Bool

	mu      sync.Mutex
	flushed int          // entries in the file
	tail    []indexEntry // entries behind them
	since   int64        // bytes since the newest entry
	prefix  uint32       // checksum of prefixes since it
	maxTS   int64        // of the whole segment
}

// note takes a published batch of n bytes at pos into the index.
func (x *index) note(h batch.Batch, delta, pos, n int64) {
	x.mu.Lock()
	if x.since >= x.every {
		x.tail = append(x.tail, indexEntry{uint32(delta), uint32(pos), x.maxTS, x.prefix})
		x.since, x.prefix = 0, 0
	}
	x.since += n
	x.prefix = crc32.Update(x.prefix, castagnoli, h[:prefixLen])
	x.maxTS = max(x.maxTS, h.MaxTimestamp())
	x.mu.Unlock()
}

// seal adds the last entry.
func (x *index) seal(delta, size int64) {
	x.mu.Lock()
	x.tail = append(x.tail, indexEntry{uint32(delta), uint32(size), x.maxTS, x.prefix})
	x.since, x.prefix = 0, 0
	x.mu.Unlock()
}

// flush appends the tail to the file; the caller is the only one who adds. keep
// leaves the file open, so that a checkpoint can sync it.
func (x *index) flush(keep bool) error {
	x.mu.Lock()
	at, n := x.flushed, len(x.tail)
	b := make([]byte, 0, n*entryLen)
	for _, e := range x.tail {
		b = e.append(b)
	}
	x.mu.Unlock()
	if n == 0 {
		return nil
	}
	if keep {
		if err := x.f.openOrCreate(); err != nil {
			return err
		}
	}
	if err := x.f.append(b, int64(at)*entryLen); err != nil {
		return err
	}
	x.mu.Lock()
	x.flushed += n
	x.tail = append(x.tail[:0], x.tail[n:]...)
	x.mu.Unlock()
	return nil
}

// full says that the tail should be flushed.
func (x *index) full() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.tail) >= flushEntries
}

var errIndex = errors.New("index entry is damaged")

func (x *index) read(k int) (indexEntry, error) {
	w := windows.Get().(*window)
	defer windows.Put(w)
	b := w.b[:entryLen]
	if _, err := x.f.ReadAt(b, int64(k)*entryLen); err != nil {
		return indexEntry{}, fmt.Errorf("%w: %w", errIndex, err)
	}
	e, ok := decodeEntry(b)
	if !ok {
		return indexEntry{}, errIndex
	}
	return e, nil
}

// around finds the last entry for which before is true and its number, -1 and
// the implicit first entry if there is none; before must be true for a run of
// entries from the start.
func (x *index) around(before func(indexEntry) bool) (k int, at indexEntry, err error) {
	at.maxTS = minTime
	x.mu.Lock()
	n := x.flushed
	t := sort.Search(len(x.tail), func(i int) bool { return !before(x.tail[i]) })
	if t > 0 {
		at = x.tail[t-1]
	}
	x.mu.Unlock()
	if t > 0 {
		return n + t - 1, at, nil
	}
	lo, hi := 0, n // entries below lo are before, from hi on they are not
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		e, err := x.read(m)
		if err != nil {
			return -1, at, err
		}
		if before(e) {
			at, lo = e, m+1
		} else {
			hi = m
		}
	}
	return lo - 1, at, nil
}

// from reads entries in their order, the k-th first, until out is full or there
// are no more, and returns how many.
func (x *index) from(k int, out []indexEntry) (int, error) {
	x.mu.Lock()
	n := x.flushed
	if k >= n {
		n = copy(out, x.tail[min(k-n, len(x.tail)):])
		x.mu.Unlock()
		return n, nil
	}
	x.mu.Unlock()
	n = min(len(out), n-k)
	for i := range n {
		e, err := x.read(k + i)
		if err != nil {
			return i, err
		}
		out[i] = e
	}
	return n, nil
}

// readAll returns the entries at the start of the file that are whole and in
// order and lie below size bytes of the segment.
func (x *index) readAll(size int64) ([]indexEntry, error) {
	n, err := x.f.size()
	if err != nil {
		return nil, err
	}
	var all []indexEntry
	buf := make([]byte, flushEntries*entryLen)
	last := indexEntry{}
	for at := int64(0); at+entryLen <= n; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), (n-at)/entryLen*entryLen)]
		if _, err := x.f.ReadAt(b, at); err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[entryLen:] {
			e, ok := decodeEntry(b)
			if !ok || e.pos <= last.pos || e.delta <= last.delta || int64(e.pos) >= size {
				return all, nil
			}
			all = append(all, e)
			last = e
		}
	}
	return all, nil
}
