package storage

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"syscall"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/journal"
	"github.com/weirstream/weir/internal/vfs"
)

// staged is an append between its check and its end.
type staged struct {
	batches []byte
	base    int64 // offset of its first record
	next    int64 // end offset after it
	seg     *segment
	pos     int64 // where the bytes go
	written bool
}

// prepare checks an append and stamps its batches. mu is held.
func (p *Partition) prepare(a *Append) error {
	p.staged = staged{}
	a.Duplicate = false
	p.state.Lock()
	deleted, closed, end := p.state.deleted, p.state.closed, p.state.end
	p.state.Unlock()
	switch {
	case deleted:
		return ErrDeleted
	case closed:
		return ErrClosed
	}
	p.forgetIdle(a.Batches)
	if a.Ends {
		if err := p.leaveOutLate(a); err != nil || a.Duplicate {
			return err
		}
	}
	original, duplicate, err := p.windows.check(a.Batches, a.TxnVersion)
	if err != nil {
		return err
	}
	if duplicate {
		a.Base, a.Duplicate = original, true
		return nil
	}
	if a.Guard != nil {
		if err := a.Guard.Admit(p.topic.id, p.number, batch.Batch(a.Batches)); err != nil {
			return err
		}
	}
	a.Base = end
	for rest := a.Batches; len(rest) > 0; {
		var b batch.Batch
		if b, rest, err = batch.Split(rest); err != nil {
			return err
		}
		if b.LastOffsetDelta() < 0 {
			return fmt.Errorf("%w: last offset delta is %d", batch.ErrInvalidRecord, b.LastOffsetDelta())
		}
		b.SetBaseOffset(end)
		b.SetLeaderEpoch(p.store.epoch)
		end = b.NextOffset()
	}
	p.staged = staged{batches: a.Batches, base: a.Base, next: end}
	return nil
}

// leaveOutLate takes those markers out of an append that come too late for their
// producer. mu is held.
func (p *Partition) leaveOutLate(a *Append) error {
	var kept []byte
	late := false
	for rest := a.Batches; len(rest) > 0; {
		b, more, err := batch.Split(rest)
		if err != nil {
			return err
		}
		if w := p.windows[b.ProducerID()]; w.endsNothing(b, a.TxnVersion) {
			if !late {
				kept, late = append(kept, a.Batches[:len(a.Batches)-len(rest)]...), true
			}
		} else if late {
			kept = append(kept, b...)
		}
		rest = more
	}
	if late {
		a.Batches, a.Duplicate = kept, len(kept) == 0
	}
	return nil
}

// place finds the segment for the staged bytes, rolling to a new one if they
// do not fit. mu is held.
func (p *Partition) place() error {
	if p.heldUntil > 0 {
		if err := p.held(); err != nil {
			return err
		}
	}
	g := &p.staged
	n := int64(len(g.batches))
	seg := p.active()
	if seg != nil {
		if err := seg.ensure(); err != nil {
			return p.replace(err)
		}
		size := seg.size.Load()
		fits := size+n <= p.topic.rules().segmentBytes && g.next-seg.base <= math.MaxInt32
		if size == 0 || fits && !p.overdue(seg) {
			if p.cutBack {
				if err := seg.log.truncate(size); err != nil {
					return err
				}
				p.cutBack = false
			}
			g.seg, g.pos = seg, size
			return nil
		}
	}
	next, err := p.roll(seg)
	if err != nil {
		return err
	}
	g.seg, g.pos = next, 0
	return nil
}

// roll makes a new active segment behind old, which is sealed; mu is held.
func (p *Partition) roll(old *segment) (*segment, error) {
	if !p.topic.made.Load() {
		if err := p.store.cfg.FS.MkdirAll(p.topic.dir); err != nil {
			return nil, err
		}
		p.topic.made.Store(true)
	}
	if old != nil { // whatever can fail comes before the new file is there
		if err := old.ensure(); err != nil {
			return nil, err
		}
	}
	if old != nil && p.cutBack {
		if err := old.log.truncate(old.size.Load()); err != nil {
			return nil, err
		}
		p.cutBack = false
	}
	end := p.staged.base
	seg := newSegment(p, end)
	if err := p.makeSegmentFile(seg); err != nil {
		return nil, fmt.Errorf("make segment: %w", err)
	}
	// Index files of that name could only be left over.
	for _, f := range []*file{seg.ix.f, seg.aborts.f} {
		if err := p.store.cfg.FS.Remove(f.name); err == nil && p.store.found == nil {
			p.store.cfg.Logger.Warn("removed a left-over index", "file", f.name)
		}
	}
	seg.ix.loaded.Store(true)
	if old != nil {
		if err := p.seal(old, end); err != nil {
			return nil, err
		}
	}
	p.newFile = true
	p.fresh = append(p.fresh, seg)
	p.state.Lock()
	p.state.segments = append(p.state.segments[:len(p.state.segments):len(p.state.segments)], seg)
	p.state.Unlock()
	p.changed.Store(true)
	return seg, nil
}

// makeSegmentFile makes the file of a new segment. One that is there holds what
// is being redone; otherwise it is what a refused append or an unlink that a
// power cut took back has left, and is emptied.
func (p *Partition) makeSegmentFile(seg *segment) error {
	if err := seg.log.openOrCreate(); err != nil {
		return err
	}
	if p.store.found != nil {
		return nil
	}
	size, err := seg.log.size()
	if err != nil || size == 0 {
		return err
	}
	p.store.cfg.Logger.Warn("emptied a left-over segment", "file", seg.log.name, "bytes", size)
	return seg.log.truncate(0)
}

// seal ends a segment at offset end and completes its index.
func (p *Partition) seal(s *segment, end int64) error {
	if err := s.ensure(); err != nil {
		return err
	}
	s.ix.seal(end-s.base, s.size.Load())
	s.end.Store(end)
	return p.flushIndex(s)
}

// flushIndex writes the tails of the indexes out. A full disk or a lack of file
// descriptors is no failure: the entries stay in memory and go with the next
// flush, and an index that is incomplete at a start is made anew.
func (p *Partition) flushIndex(s *segment) error {
	made, err := s.aborts.flush()
	if made {
		p.newFile = true
	}
	if err == nil {
		err = s.ix.flush(s.end.Load() >= 0)
	}
	if err != nil && !noSpace(err) && !noDescriptor(err) {
		return err
	}
	return nil
}

// write puts the staged bytes behind the segment; nobody sees them yet. mu is held.
func (p *Partition) write() error {
	if err := p.place(); err != nil {
		return err
	}
	g := &p.staged
	g.written = true
	if p.store.found != nil && g.seg.log.holds(g.batches, g.pos) {
		return nil // redone after a kill: the page cache has it already
	}
	return g.seg.log.writeAt(g.batches, g.pos)
}

// Blocks of a file system. What it tells of itself is believed between these: some name
// the size that they like to read at once, which is larger.
const (
	leastBlock = 512
	mostBlock  = 4096
)

func blockOf(fs vfs.FS, dir string) int64 {
	u, err := fs.Usage(dir)
	if err != nil || u.Block < leastBlock || u.Block&(u.Block-1) != 0 {
		return leastBlock
	}
	return min(u.Block, mostBlock)
}

// reserve makes sure that the staged bytes will find room. They have it if the byte
// before them is in the same block; nothing is asked of the file system then, which
// takes longer over it than over a write.
func (p *Partition) reserve() error {
	if err := p.place(); err != nil {
		return err
	}
	g := &p.staged
	block := p.store.block
	if last := g.pos + int64(len(g.batches)) - 1; g.pos%block != 0 && g.pos/block == last/block {
		return nil
	}
	f, err := g.seg.log.acquire()
	if err != nil {
		return err
	}
	defer g.seg.log.release()
	g.written = true
	return f.Preallocate(g.pos, int64(len(g.batches)))
}

// undo cuts off what was written, or remembers that it must be.
func (p *Partition) undo() {
	if g := &p.staged; g.written {
		p.cutBack = g.seg.log.truncate(g.pos) != nil
	}
	p.staged = staged{}
}

// publish makes the written bytes part of the log: known to the index and
// waiting for the frame, but below no high watermark yet. mu is held.
func (p *Partition) publish(now int64, framed bool) {
	g := &p.staged
	pos := g.pos
	for rest := g.batches; len(rest) > 0; {
		b, more, err := batch.Split(rest)
		if err != nil {
			panic(fmt.Sprintf("batch changed under Commit: %v", err))
		}
		g.seg.ix.note(b, b.BaseOffset()-g.seg.base, pos, int64(len(b)))
		p.took(g.seg, b, pos-g.pos, now)
		pos += int64(len(b))
		rest = more
	}
	g.seg.size.Store(pos)
	if !p.changed.Load() {
		p.changed.Store(true)
	}
	if len(p.fresh) == 0 || p.fresh[len(p.fresh)-1] != g.seg {
		p.fresh = append(p.fresh, g.seg)
	}
	p.state.Lock()
	p.state.txns.appended += int64(len(g.batches))
	if framed {
		p.push(pending{mark{g.next, g.seg, pos}, int64(len(g.batches))})
	}
	p.state.Unlock()
}

// finish moves the end, and the high watermark too if there is no frame to
// wait for. mu is held.
func (p *Partition) finish(lsn LSN, visible bool) {
	g := &p.staged
	p.state.Lock()
	p.state.end = max(p.state.end, g.next)
	p.state.lastLSN = max(p.state.lastLSN, lsn)
	if visible {
		p.state.high = mark{g.next, g.seg, g.pos + int64(len(g.batches))}
		p.moved(int64(len(g.batches)))
	}
	p.state.Unlock()
	seg := g.seg
	p.staged = staged{}
	if seg.ix.full() || seg.aborts.full() {
		if err := p.flushIndex(seg); err != nil {
			p.store.fail(fmt.Errorf("write index: %w", err))
		}
	}
}

func (p *Partition) frame() journal.Entry {
	e := journal.Entry{Topic: p.topic.id, Partition: p.number, Batches: p.staged.batches, End: p.staged.next}
	if p.store.cfg.Durability == Sync {
		e.Notify = (*durable)(p)
	}
	return e
}

// noDescriptor says whether err means that too many files are open.
func noDescriptor(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// noSpace says whether err means that the disk or the quota is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func topicDir(root string, id TopicID) string {
	return filepath.Join(root, "topics", fmt.Sprintf("%x", id[:]))
}
