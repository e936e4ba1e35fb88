package storage

import (
	"slices"

	"github.com/weirstream/weir/internal/batch"
)

// maxRecords bounds what the records of one batch may decompress to in a
// lookup by time.
const maxRecords = 128 << 20

// OffsetForTime finds the first record, in offset order, whose timestamp (ms)
// is ≥ t, at or after the log start and below the high watermark. ok is false
// if there is none.
func (p *Partition) OffsetForTime(t int64) (offset, timestamp int64, epoch int32, ok bool, err error) {
	for {
		offset, timestamp, epoch, ok, err = p.offsetForTime(t)
		if err != errReplaced {
			return offset, timestamp, epoch, ok, err
		}
	}
}

func (p *Partition) offsetForTime(t int64) (offset, timestamp int64, epoch int32, ok bool, err error) {
	segs, start, high, err := p.readable()
	if err != nil {
		return 0, 0, 0, false, err
	}
	for _, seg := range segs {
		if !seg.pin() {
			return 0, 0, 0, false, p.vanished()
		}
		offset, timestamp, epoch, ok, err = seg.firstAt(t, start, high)
		seg.unpin()
		if ok || err != nil {
			return offset, timestamp, epoch, ok, err
		}
	}
	return 0, 0, 0, false, nil
}

// MaxTimestamp finds the record with the largest timestamp; -1, -1 if empty.
func (p *Partition) MaxTimestamp() (offset, timestamp int64, epoch int32, err error) {
	for {
		offset, timestamp, epoch, err = p.maxTimestamp()
		if err != errReplaced {
			return offset, timestamp, epoch, err
		}
	}
}

func (p *Partition) maxTimestamp() (offset, timestamp int64, epoch int32, err error) {
	segs, start, high, err := p.readable()
	if err != nil {
		return -1, -1, -1, err
	}
	first, rest := int64(minTime), int64(minTime) // in the first segment, in the others
	for i, seg := range segs {
		if !seg.pin() {
			return -1, -1, -1, p.vanished()
		}
		t, err := seg.maxBelow(high)
		seg.unpin()
		if err != nil {
			return -1, -1, -1, err
		}
		if i == 0 {
			first = t
		} else {
			rest = max(rest, t)
		}
	}
	offset, timestamp, epoch, ok, err := p.offsetForTime(max(first, rest))
	if err == nil && !ok && len(segs) > 0 {
		// The largest of all lies below the log start, which is inside the first
		// segment: only a walk over what follows it tells.
		if first, err = segs[0].maxFrom(start, high); err == nil {
			offset, timestamp, epoch, ok, err = p.offsetForTime(max(first, rest))
		}
	}
	if err == nil && !ok && p.lost(segs, start) {
		err = errReplaced // with them went the record, and others are left
	}
	if err != nil || !ok {
		return -1, -1, -1, err
	}
	return offset, timestamp, epoch, nil
}

// lost says whether the log lost some of what readable told.
func (p *Partition) lost(segs []*segment, start int64) bool {
	now, begins, _, err := p.readable()
	return err != nil || begins != start || len(now) < len(segs) || !slices.Equal(now[:len(segs)], segs)
}

// AppendTime is the log append time (ms) of the batch that begins at offset, shown
// to readers yet or not: what a producer that sends it again is told. It is -1 if
// the batch has the producer's time, is gone, or cannot be read.
func (p *Partition) AppendTime(offset int64) int64 {
	for {
		t, err := p.appendTime(offset)
		if err == nil {
			return t
		}
		if err != errReplaced {
			return -1
		}
	}
}

func (p *Partition) appendTime(offset int64) (int64, error) {
	p.state.Lock()
	seg, gone := segmentAt(p.state.segments, offset), p.state.deleted || p.state.closed
	p.state.Unlock()
	if seg == nil || gone {
		return -1, nil
	}
	if !seg.pin() {
		return -1, p.vanished()
	}
	defer seg.unpin()
	pos, err := seg.find(offset)
	size := seg.size.Load()
	if err != nil || pos >= size {
		return -1, err
	}
	if _, err := seg.checkBatch(pos, size); err != nil {
		return -1, err
	}
	t := int64(-1)
	_, err = scanHeaders(seg.log, pos, size, func(_ int64, h batch.Batch) bool {
		if h.BaseOffset() == offset && h.LogAppendTime() {
			t = h.MaxTimestamp()
		}
		return false
	})
	return t, err
}

// maxFrom is the largest timestamp from offset start on.
func (s *segment) maxFrom(start int64, high mark) (largest int64, err error) {
	if !s.pin() {
		return 0, s.p.vanished()
	}
	defer s.unpin()
	pos, err := s.find(start)
	if err != nil {
		return 0, err
	}
	largest = minTime
	cut, n := int64(-1), int64(0) // the batch that the start lies inside of
	_, err = scanHeaders(s.log, pos, s.below(high), func(at int64, h batch.Batch) bool {
		if h.BaseOffset() < start {
			cut, n = at, int64(h.Len())
		} else {
			largest = max(largest, h.MaxTimestamp())
		}
		return true
	})
	if err != nil {
		return 0, s.bad(err, start)
	}
	if cut < 0 {
		return largest, nil
	}
	b, err := s.batchAt(cut, n)
	if err != nil {
		return 0, err
	}
	for r, err := range b.Records(maxRecords) {
		if err != nil {
			return max(largest, b.MaxTimestamp()), nil // as in recordAt
		}
		if r.Offset >= start {
			largest = max(largest, r.Timestamp)
		}
	}
	return largest, nil
}

// readable returns the segments that hold what may be read.
func (p *Partition) readable() (segs []*segment, start int64, high mark, err error) {
	p.state.Lock()
	defer p.state.Unlock()
	switch {
	case p.state.closed:
		return nil, 0, mark{}, ErrClosed
	case p.state.deleted:
		return nil, 0, mark{}, ErrDeleted
	}
	high = p.state.high
	for _, s := range p.state.segments {
		if s.base < high.offset && (s.end.Load() < 0 || s.end.Load() > p.state.start) {
			segs = append(segs, s)
		}
	}
	return segs, p.state.start, high, nil
}

// below is the end of the segment's bytes below the high watermark.
func (s *segment) below(high mark) int64 {
	if s == high.seg {
		return high.pos
	}
	return s.size.Load()
}

// maxBelow is the largest timestamp below the high watermark.
func (s *segment) maxBelow(high mark) (int64, error) {
	if s != high.seg || s.end.Load() >= 0 && high.pos == s.size.Load() {
		if err := s.ensure(); err != nil {
			return 0, err
		}
		s.ix.mu.Lock()
		defer s.ix.mu.Unlock()
		return s.ix.maxTS, nil
	}
	_, at, err := s.around(func(e indexEntry) bool { return int64(e.pos) <= high.pos })
	if err != nil {
		return 0, err
	}
	largest := at.maxTS
	_, err = scanHeaders(s.log, int64(at.pos), high.pos, func(_ int64, h batch.Batch) bool {
		largest = max(largest, h.MaxTimestamp())
		return true
	})
	if err != nil {
		return 0, s.bad(err, s.base+int64(at.delta))
	}
	return largest, nil
}

// firstAt finds the first record at or after time t.
func (s *segment) firstAt(t, start int64, high mark) (offset, timestamp int64, epoch int32, ok bool, err error) {
	if err := s.ensure(); err != nil {
		return 0, 0, 0, false, err
	}
	s.ix.mu.Lock()
	none := s.ix.maxTS < t
	s.ix.mu.Unlock()
	if none {
		return 0, 0, 0, false, nil
	}
	_, at, err := s.around(func(e indexEntry) bool { return e.maxTS < t })
	if err != nil {
		return 0, 0, 0, false, err
	}
	pos, limit := int64(at.pos), s.below(high)
	for pos < limit {
		found, n := int64(-1), int64(0)
		pos, err = scanHeaders(s.log, pos, limit, func(at int64, h batch.Batch) bool {
			if h.MaxTimestamp() >= t && h.NextOffset() > start {
				found, n = at, int64(h.Len())
			}
			return found < 0
		})
		if err != nil {
			return 0, 0, 0, false, s.bad(err, -1)
		}
		if found < 0 {
			break
		}
		offset, timestamp, epoch, ok, err = s.recordAt(found, n, t, start)
		if ok || err != nil {
			return offset, timestamp, epoch, ok, err
		}
	}
	return 0, 0, 0, false, nil
}

// batchAt reads and verifies the batch of n bytes at pos.
func (s *segment) batchAt(pos, n int64) (batch.Batch, error) {
	if _, err := s.checkBatch(pos, pos+n); err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	if err := readFull(s.log, buf, pos); err != nil {
		return nil, s.bad(err, -1)
	}
	b, _, err := batch.Split(buf)
	if err != nil {
		return nil, s.corrupt(pos, -1, err.Error())
	}
	return b, nil
}

// recordAt opens the batch at pos and finds its first record at or after t. Of one
// that cannot be opened it is the first.
func (s *segment) recordAt(pos, n, t, start int64) (offset, timestamp int64, epoch int32, ok bool, err error) {
	b, err := s.batchAt(pos, n)
	if err != nil {
		return 0, 0, 0, false, err
	}
	for r, err := range b.Records(maxRecords) {
		if err != nil {
			// The producer compressed something else. Readers find out, and one such
			// batch must not end every lookup: its header is believed.
			return max(b.BaseOffset(), start), b.MaxTimestamp(), b.LeaderEpoch(), true, nil
		}
		if r.Timestamp >= t && r.Offset >= start {
			return r.Offset, r.Timestamp, b.LeaderEpoch(), true, nil
		}
	}
	return 0, 0, 0, false, nil
}
