package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/weirstream/weir/internal/batch"
)

// prefixLen is the length of the part of a batch that lies before its checksum
// and outside what that covers: base offset, length, leader epoch, magic.
const prefixLen = 17

// badBatch says that no batch stands at a position where one should.
type badBatch struct {
	pos    int64
	reason string
}

func (e *badBatch) Error() string { return fmt.Sprintf("byte %d: %s", e.pos, e.reason) }

// window is a buffer for walking over headers; they are pooled.
type window struct{ b [4 << 10]byte }

var windows = sync.Pool{New: func() any { return new(window) }}

// scanHeaders walks the headers of the batches in [pos, limit) until f says
// false, and returns the position behind the last one that f was shown. Records
// are not read, so a batch costs one read at most, and small batches share one.
// h has HeaderLen bytes and is valid during the call.
func scanHeaders(r io.ReaderAt, pos, limit int64, f func(pos int64, h batch.Batch) bool) (int64, error) {
	w := windows.Get().(*window)
	defer windows.Put(w)
	from, have := pos, int64(0) // w.b[:have] stands at from
	for pos < limit {
		if limit-pos < batch.HeaderLen {
			return pos, &badBatch{pos, fmt.Sprintf("%d bytes are left, a header has %d", limit-pos, batch.HeaderLen)}
		}
		if pos < from || pos+batch.HeaderLen > from+have {
			n, err := r.ReadAt(w.b[:min(int64(len(w.b)), limit-pos)], pos)
			if n < batch.HeaderLen {
				if err == nil || errors.Is(err, io.EOF) {
					return pos, &badBatch{pos, "the file ends inside a header"}
				}
				return pos, err
			}
			from, have = pos, int64(n)
		}
		h := batch.Batch(w.b[pos-from : pos-from+batch.HeaderLen])
		n, reason := checkHeader(h, limit-pos)
		if reason != "" {
			return pos, &badBatch{pos, reason}
		}
		at := pos
		pos += n
		if !f(at, h) {
			return pos, nil
		}
	}
	return pos, nil
}

// checkHeader returns the length of the batch, or why there is none.
func checkHeader(h batch.Batch, room int64) (int64, string) {
	n := int64(int32(binary.BigEndian.Uint32(h[8:]))) + 12
	switch {
	case h.Magic() != 2:
		return 0, fmt.Sprintf("magic is %d, not 2", h.Magic())
	case n < batch.HeaderLen || n > room:
		return 0, fmt.Sprintf("length of the batch is %d, %d bytes are left", n, room)
	case h.LastOffsetDelta() < 0 || h.BaseOffset() < 0:
		return 0, fmt.Sprintf("base offset %d, last offset delta %d", h.BaseOffset(), h.LastOffsetDelta())
	}
	return n, ""
}
