package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// SetStart moves the log start to offset, takes segments that lie wholly below it
// out of the log and returns their bytes. Readers below offset get
// ErrOffsetOutOfRange from now on; watchers are woken, so that they look again;
// extents that are held stay readable. An offset at or below the start changes
// nothing, one above the high watermark is ErrOffsetOutOfRange. One inside of an
// open transaction leaves that open: what is left of it stays undecided.
//
// The record that tells of the new start must be durable in the metadata log
// before, as a start reads it from there. Files leave the disk later, see discards.
func (p *Partition) SetStart(offset int64) (dropped int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	deleted, closed := p.state.deleted, p.state.closed
	start, high, end := p.state.start, p.state.high.offset, p.state.end
	p.state.Unlock()
	switch {
	case closed:
		return 0, ErrClosed
	case deleted:
		return 0, ErrDeleted
	case offset > high:
		return 0, fmt.Errorf("%w: the log of %s-%d cannot start at %d, behind %d", ErrOffsetOutOfRange, p.topic.name, p.number, offset, high)
	case offset <= start:
		return 0, nil
	}
	if offset == end {
		// All records go: with a new active segment all bytes can go, too. A
		// damaged one cannot be sealed; then its bytes stay until the next append,
		// but the start moves, since it was told to.
		corrupt := (*CorruptError)(nil)
		if err := p.rollAtEnd(); err != nil && !errors.As(err, &corrupt) {
			return 0, err
		}
	}
	return p.drop(offset), nil
}

// rollAtEnd begins a new active segment unless the present one is empty. On a full
// disk, or when too many files are open, it leaves things as they are: bytes then
// go with a later start. mu is held.
func (p *Partition) rollAtEnd() error {
	a := p.active()
	if a == nil || a.size.Load() == 0 {
		return nil
	}
	if err := p.store.usable(); err != nil {
		return err
	}
	p.staged = staged{base: p.state.end}
	_, err := p.roll(a)
	p.staged = staged{}
	if err == nil || noSpace(err) {
		return nil
	}
	if err = p.store.segmentError(p, err); errors.Is(err, ErrNoDescriptor) {
		return nil
	}
	return err
}

// drop moves the start and takes out what lies below it. mu is held.
func (p *Partition) drop(start int64) (bytes int64) {
	p.state.Lock()
	s := &p.state
	s.start = start
	n := 0
	for n+1 < len(s.segments) && s.segments[n+1].base <= start {
		n++
	}
	gone := s.segments[:n]
	s.segments = slices.Clone(s.segments[n:])
	if slices.Contains(gone, s.high.seg) {
		// The high watermark is the end of a segment that went, so it is the base
		// of the next.
		s.high.seg, s.high.pos = s.segments[0], 0
	}
	for i, h := range s.hints {
		if slices.Contains(gone, h.seg) {
			s.hints[i] = mark{}
		}
	}
	p.wakeAll()
	s.Unlock()
	p.changed.Store(true)
	for _, seg := range gone {
		bytes += seg.size.Load()
	}
	p.store.discards.add(gone, p.store.cfg.Now().Add(p.topic.rules().deleteDelay))
	return bytes
}

// startAt is SetStart for the start: what the metadata log says of a log that was
// recovered without it. A log that ends below its start lost its end to a power
// cut that left the metadata log; it goes on from the start, since an offset that
// was deleted must not be given to another record.
func (p *Partition) startAt(start int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if start <= p.state.start {
		return nil
	}
	if start > p.state.end {
		if !p.store.scans() {
			return &CorruptError{p.topic.id, p.number, "journal", 0, p.state.end,
				fmt.Sprintf("the log ends at offset %d, its records below %d were deleted", p.state.end, start)}
		}
		p.store.cfg.Logger.Warn("a log ends below its start and goes on from there", "topic", p.topic.name, "partition", p.number,
			"end", p.state.end, "start", start)
		p.state.Lock()
		gone := p.state.segments
		p.state.segments, p.state.hints = nil, [4]mark{}
		p.state.start, p.state.end, p.state.high = start, start, mark{offset: start}
		p.state.Unlock()
		p.changed.Store(true)
		p.store.discards.add(gone, p.store.cfg.Now().Add(p.topic.rules().deleteDelay))
		return nil
	}
	p.drop(start)
	return nil
}

// discards are segments that left their logs and whose files shall go. Three
// things come first: file.delete.delay.ms; a durable checkpoint that does not
// list the segment any more, since a start opens what is listed, and since it
// holds the producers' windows that the segment's batches made (design, rule
// 10); and the last unpin.
type discards struct {
	mu     sync.Mutex
	list   []discarded
	begun  uint64        // checkpoints that were begun
	done   uint64        // the last of them that became durable
	news   chan struct{} // has a token when list or done changed
	wanted atomic.Bool   // a checkpoint is wanted for their sake
}

type discarded struct {
	seg  *segment
	due  time.Time
	turn uint64 // the checkpoint that leaves it out
}

func (d *discards) add(segs []*segment, due time.Time) {
	if len(segs) == 0 {
		return
	}
	d.mu.Lock()
	for _, seg := range segs {
		d.list = append(d.list, discarded{seg, due, d.begun + 1})
	}
	d.mu.Unlock()
	d.signal()
}

func (d *discards) signal() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// begin numbers a checkpoint before it looks at the first partition.
func (d *discards) begin() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.begun++
	return d.begun
}

// next is the number of the first checkpoint that begins after the call.
func (d *discards) next() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun + 1
}

// isCovered says whether that checkpoint or a later one is durable.
func (d *discards) isCovered(turn uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done >= turn
}

// covered notes that a checkpoint is durable.
func (d *discards) covered(turn uint64) {
	d.mu.Lock()
	d.done = max(d.done, turn)
	waiting := len(d.list) > 0
	d.mu.Unlock()
	if waiting {
		d.signal()
	}
}

// take removes from the list and returns what may be unlinked: all of a topic, or
// what is due and covered. It also tells whether something is due that no
// checkpoint covers, and when the next is due; zero if nothing is.
func (d *discards) take(now time.Time) (ready []*segment, uncovered bool, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := d.list[:0]
	for _, e := range d.list {
		switch {
		case e.due.After(now):
			if next.IsZero() || e.due.Before(next) {
				next = e.due
			}
		case e.turn > d.done:
			uncovered = true
		default:
			ready = append(ready, e.seg)
			continue
		}
		kept = append(kept, e)
	}
	clear(d.list[len(kept):])
	d.list = kept
	return ready, uncovered, next
}

// ofTopic removes from the list what belongs to a topic that is deleted.
func (d *discards) ofTopic(t *topic) (segs []*segment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = slices.DeleteFunc(d.list, func(e discarded) bool {
		if e.seg.p.topic == t {
			segs = append(segs, e.seg)
			return true
		}
		return false
	})
	return segs
}

// hurry makes all due.
func (d *discards) hurry() (some bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.list {
		d.list[i].due = time.Time{}
	}
	return len(d.list) > 0
}

// reap unlinks what may be, and asks for a checkpoint if something waits for one.
// It returns when to look again, zero for not before there is news.
func (s *Store) reap(now time.Time) (next time.Time) {
	ready, uncovered, next := s.discards.take(now)
	for _, seg := range ready {
		seg.remove()
		// The next checkpoint syncs the directory.
		seg.p.mu.Lock()
		seg.p.newFile = true
		seg.p.mu.Unlock()
		seg.p.changed.Store(true)
	}
	if uncovered {
		s.discards.wanted.Store(true)
		s.askCheckpoint()
		// A full disk may make that one fail; then another is asked for.
		if again := now.Add(retrySpace); next.IsZero() || again.Before(next) {
			next = again
		}
	}
	return next
}

// keepDiscards is the goroutine that unlinks discarded segments until Close.
func (s *Store) keepDiscards() {
	defer s.running.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.failed:
			return
		case <-s.discards.news:
		case <-timer.C:
		}
		if next := s.reap(s.cfg.Now()); !next.IsZero() {
			timer.Reset(max(next.Sub(s.cfg.Now()), time.Millisecond))
		}
	}
}

// lastDiscards unlinks all that is discarded before a clean stop: the start after
// one lists no directories. It waits neither for the delay nor for readers,
// whose broker has ended.
func (s *Store) lastDiscards(ctx context.Context) error {
	if !s.discards.hurry() {
		return nil
	}
	if err := s.checkpoint(ctx, false); err != nil {
		return err
	}
	s.reap(s.cfg.Now())
	return nil
}
