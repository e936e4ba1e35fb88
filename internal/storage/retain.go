package storage

import (
	"time"

	"github.com/weirstream/weir/internal/batch"
)

// Retention says what of a log is too old or too much.
type Retention struct {
	Millis int64 // retention.ms; negative: no limit
	Bytes  int64 // retention.bytes; negative: no limit
}

// Expired returns the log start that r asks for at the time now; ok is false if it
// is where it should be. Whole segments expire, from the oldest on, up to the
// first that does not; the active one too, if all its records did: then a new one
// is begun. Nothing behind the last stable offset expires: Apache Kafka goes up to
// the high watermark and may take half of an open transaction. The caller makes the
// new start durable and calls SetStart.
func (p *Partition) Expired(r Retention, now time.Time) (start int64, ok bool, err error) {
	if r.Millis < 0 && r.Bytes < 0 {
		return 0, false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	gone := p.state.deleted || p.state.closed
	segs, stable, end := p.state.segments, p.stableOffset(), p.state.end
	p.state.Unlock()
	if gone || len(segs) == 0 {
		return 0, false, nil
	}
	ages := make([]age, len(segs))
	for i, seg := range segs {
		next := end
		if i+1 < len(segs) {
			next = segs[i+1].base
		}
		ages[i] = age{next, seg.size.Load(), seg.largestTime()}
	}
	n := r.expired(ages, stable, now.UnixMilli())
	switch {
	case n == 0:
		return 0, false, nil
	case n < len(segs):
		return segs[n].base, true, nil
	}
	if err := p.rollAtEnd(); err != nil {
		return 0, false, err
	}
	return end, true, nil
}

// age is what retention looks at in a segment.
type age struct {
	next    int64 // the offset that follows the segment
	size    int64
	largest int64 // timestamp, ms
}

// expired counts the segments that go, as Apache Kafka decides it: first by size,
// as long as the log without the segment is not smaller than the limit; then by
// time, as long as the largest timestamp is more than the limit ago. A timestamp
// in the future therefore keeps its segment, and those behind it.
func (r Retention) expired(segs []age, stable, now int64) (n int) {
	total := int64(0)
	for _, s := range segs {
		total += s.size
	}
	may := func() bool { return n < len(segs) && (n+1 < len(segs) || segs[n].size > 0) && segs[n].next <= stable }
	for r.Bytes >= 0 && may() && total-segs[n].size >= r.Bytes {
		total -= segs[n].size
		n++
	}
	for r.Millis >= 0 && may() && now-segs[n].largest > r.Millis {
		n++
	}
	return n
}

// largestTime is the largest timestamp of a segment's records, in ms; if none has
// one, the time at which the segment was made or, after a start, that start.
func (s *segment) largestTime() int64 {
	s.ix.mu.Lock()
	t := s.ix.maxTS
	s.ix.mu.Unlock()
	if t < 0 {
		return s.made
	}
	return t
}

// rolling says when a topic's active segment is full other than by its size.
type rolling struct {
	millis       int64 // segment.ms; 0: never
	jitterMillis int64 // segment.jitter.ms
	indexBytes   int64 // segment.index.bytes; 0: no limit
}

// overdue says whether the staged bytes belong into a new segment though they would
// fit into this one: it has too many index entries, or its first batch is more
// than segment.ms older than they. A segment whose first batch has no timestamp
// counts from its making. Redoing does not ask: it takes what comes. mu is held.
func (p *Partition) overdue(seg *segment) bool {
	r := &p.topic.rules().rolling
	if p.store.found != nil {
		return false
	}
	if r.indexBytes > 0 && seg.ix.entries()*entryLen >= r.indexBytes {
		return true
	}
	if r.millis <= 0 {
		return false
	}
	limit := r.millis - r.jitter(seg)
	first := seg.firstTime()
	if first < 0 {
		return p.store.cfg.Now().UnixMilli()-seg.made > limit
	}
	return largestTime(p.staged.batches)-first > limit
}

// jitter is what is taken off segment.ms. It is drawn by the segment's name, so it
// differs from partition to partition and stays the same over a restart.
func (r *rolling) jitter(seg *segment) int64 {
	most := min(r.jitterMillis, r.millis)
	if most <= 0 {
		return 0
	}
	var name [28]byte
	copy(name[:], seg.p.topic.id[:])
	be.PutUint32(name[16:], uint32(seg.p.number))
	be.PutUint64(name[20:], uint64(seg.base))
	// Spread over 64 bits, as a jitter may be longer than 2^32 ms.
	return int64(uint64(crc32c(name[:]))*0x9e3779b97f4a7c15>>1) % most
}

// firstTime is the largest timestamp of the segment's first batch, -1 if it has
// none or cannot be read; whoever needs the bytes meets the error.
func (s *segment) firstTime() int64 {
	if !s.firstKnown {
		s.firstKnown, s.first = true, -1
		_, err := scanHeaders(s.log, 0, s.size.Load(), func(_ int64, h batch.Batch) bool {
			s.first = h.MaxTimestamp()
			return false
		})
		if err != nil {
			s.first = -1
		}
	}
	return s.first
}

func largestTime(b []byte) int64 {
	largest := int64(-1)
	for len(b) > 0 {
		one, rest, err := batch.Split(b)
		if err != nil {
			break // the append is refused
		}
		largest, b = max(largest, one.MaxTimestamp()), rest
	}
	return largest
}

func (x *index) entries() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return int64(x.flushed + len(x.tail))
}
