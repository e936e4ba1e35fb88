package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weirstream/weir/internal/batch"
)

// Extent is a run of whole batches in one segment, which it pins until Release.
type Extent struct {
	seg     *segment
	pos     int64 // of the first byte in the segment
	n       int64
	checked int64 // bytes of the segment below this are verified, from pos on
	ordered bool  // the prefixes of the batches were checked
	next    int64
}

var _ io.ReaderAt = (*Extent)(nil)

// Len is the length in bytes; 0 for the zero Extent.
func (e *Extent) Len() int { return int(e.n) }

// Next is the offset behind the last batch of the extent: Partition.Aborted of the
// offset that was read and Next is what a read_committed answer lists.
func (e *Extent) Next() int64 { return e.next }

// Release unpins the segment. It is safe to call it again.
func (e *Extent) Release() {
	if e.seg != nil {
		e.seg.unpin()
	}
	*e = Extent{}
}

// Read finds whole batches from the one that holds offset, at most maxBytes of
// them but at least one, below end (High or Stable). At end it returns an
// empty Extent and no error. Where compaction left a gap, it finds what follows.
func (p *Partition) Read(offset int64, maxBytes int, end int64) (Extent, error) {
	for {
		e, err := p.read(offset, maxBytes, end)
		if err != errReplaced {
			return e, err
		}
	}
}

func (p *Partition) read(offset int64, maxBytes int, end int64) (Extent, error) {
	p.state.Lock()
	s := &p.state
	deleted, closed := s.deleted, s.closed
	start, high, segs := s.start, s.high, s.segments
	seg, pos, known := p.hint(offset)
	p.state.Unlock()
	end = min(end, high.offset)
	switch {
	case closed:
		return Extent{}, ErrClosed
	case deleted:
		return Extent{}, ErrDeleted
	case offset < start || offset > high.offset:
		return Extent{}, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, offset, start, high.offset)
	case offset >= end:
		return Extent{}, nil
	}
	if !known {
		seg = segmentAt(segs, offset)
	} else if pos == seg.size.Load() && seg != high.seg {
		// The last read ended with the segment; offset begins the next one.
		seg, known = segmentAt(segs, offset), false
	}
	if seg == nil {
		return Extent{}, &CorruptError{p.topic.id, p.number, p.topic.dir, 0, offset, "no segment holds the offset, which is below the end"}
	}
	if !seg.pin() {
		return Extent{}, p.vanished()
	}
	if !known {
		var err error
		if seg, pos, err = p.locate(segs, seg, offset, end, high.seg); err != nil || seg == nil {
			return Extent{}, err
		}
	}
	e, next, err := p.extent(seg, pos, offset, int64(maxBytes), end, high)
	if err != nil {
		seg.unpin()
		return Extent{}, err
	}
	e.next = next
	p.state.Lock()
	if segmentAt(s.segments, seg.base) == seg { // it was not replaced meanwhile
		s.hints[s.nextHint%len(s.hints)] = mark{next, seg, e.pos + e.n}
		s.nextHint++
	}
	p.state.Unlock()
	return e, nil
}

// locate finds the batch that holds offset or the next one, beginning in seg,
// which is pinned; the segment that it returns is pinned instead. It returns nil
// if there is none below end: a segment may end in a gap, and those behind it
// may be empty.
func (p *Partition) locate(segs []*segment, seg *segment, offset, end int64, last *segment) (*segment, int64, error) {
	pos, err := seg.find(offset)
	for err == nil && pos >= seg.size.Load() && seg != last {
		k := slices.Index(segs, seg) + 1
		seg.unpin()
		if k == len(segs) || segs[k].base >= end {
			return nil, 0, nil
		}
		if seg, pos = segs[k], 0; !seg.pin() {
			return nil, 0, p.vanished()
		}
	}
	if err != nil {
		seg.unpin()
		return nil, 0, err
	}
	return seg, pos, nil
}

// errReplaced asks a reader to look at the partition again.
var errReplaced = errors.New("the segment was replaced or removed")

// vanished is the error for a segment that went away under a reader.
func (p *Partition) vanished() error {
	p.state.Lock()
	defer p.state.Unlock()
	switch {
	case p.state.deleted:
		return ErrDeleted
	case p.state.closed:
		return ErrClosed
	}
	return errReplaced
}

// extent finds the bytes in a pinned segment.
func (p *Partition) extent(seg *segment, pos, offset, most, end int64, high mark) (Extent, int64, error) {
	limit, last := seg.size.Load(), seg.end.Load()
	if seg == high.seg {
		limit, last = high.pos, high.offset
	}
	if good, cut := seg.spoil.before(pos, limit); cut {
		limit, last = good, -1
	}
	if pos >= limit {
		return Extent{}, 0, seg.corrupt(pos, offset, "the offset is below the end, but no batch of the segment holds it")
	}
	if limit-pos <= most && last >= 0 && last <= end {
		return Extent{seg: seg, pos: pos, n: limit - pos, checked: pos}, last, nil
	}
	stop, next, err := seg.cut(pos, limit, most, end)
	if err != nil {
		return Extent{}, 0, err
	}
	return Extent{seg: seg, pos: pos, n: stop - pos, checked: pos}, next, nil
}

// ReadAt reads bytes of the extent; off counts from its first byte. Batches not
// verified since start are verified on the way; a bad one is a *CorruptError, and
// what is read from now on ends before it.
func (e *Extent) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off >= e.n {
		return 0, io.EOF
	}
	short := int64(len(b)) > e.n-off
	if short {
		b = b[:e.n-off]
	}
	n, err := e.seg.log.ReadAt(b, e.pos+off)
	if n < len(b) {
		if err == nil || err == io.EOF {
			return n, e.spoilt(e.seg.corrupt(e.pos+off+int64(n), -1, "the file is shorter than its batches"))
		}
		return n, err
	}
	if e.pos+off+int64(n) > e.checked && e.checked < e.seg.ownFrom {
		if err := e.verify(b, e.pos+off); err != nil {
			return 0, e.spoilt(err)
		}
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// verify checks the batches that begin below the end of b, which holds the
// bytes at pos. Whole batches in b are summed in place; one that is cut by the
// ends of b is read again.
func (e *Extent) verify(b []byte, pos int64) error {
	s, end := e.seg, e.pos+e.n
	from := e.checked
	for e.checked < pos+int64(len(b)) {
		if e.checked >= s.ownFrom {
			e.checked = end
			break
		}
		if to := s.verified.covered(e.checked); to > e.checked {
			if from < e.checked {
				s.verified.add(from, e.checked)
			}
			e.checked, from = to, to
			continue
		}
		if !e.ordered {
			if err := s.checkPrefixes(e.checked, min(end, s.ownFrom)); err != nil {
				return err
			}
			e.ordered = true
		}
		n, err := e.sum(b, pos)
		if err != nil {
			return err
		}
		e.checked += n
	}
	if from < e.checked {
		s.verified.add(from, min(e.checked, s.ownFrom))
	}
	return nil
}

// sum verifies the batch at e.checked and returns its length.
func (e *Extent) sum(b []byte, pos int64) (int64, error) {
	end := e.pos + e.n
	if at := e.checked - pos; at >= 0 && at+batch.HeaderLen <= int64(len(b)) {
		h := batch.Batch(b[at : at+batch.HeaderLen])
		n, reason := checkHeader(h, end-e.checked)
		if reason != "" {
			return 0, e.seg.corrupt(e.checked, -1, reason)
		}
		if at+n <= int64(len(b)) {
			if crc := crc32c(b[at+prefixLen+4 : at+n]); crc != h.CRC() {
				return 0, e.seg.corrupt(e.checked, h.BaseOffset(), fmt.Sprintf("checksum of the batch is %08x, its header says %08x", crc, h.CRC()))
			}
			return n, nil
		}
	}
	return e.seg.checkBatch(e.checked, end)
}
