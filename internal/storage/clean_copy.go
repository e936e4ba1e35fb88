package storage

import (
	"context"
	"errors"
	"math"

	"github.com/weirstream/weir/internal/batch"
)

// groups splits the segments that are to be copied into runs that one segment
// can hold, so that what became small becomes one file.
func (p *pass) groups() (groups [][]*segment) {
	first, bytes := 0, int64(0)
	for i, seg := range p.segs {
		if seg.base >= p.until {
			return append(groups, p.segs[first:i])
		}
		size := seg.size.Load()
		if i > first && (bytes+size > p.p.topic.rules().segmentBytes || seg.end.Load()-p.segs[first].base > math.MaxInt32) {
			groups = append(groups, p.segs[first:i])
			first, bytes = i, 0
		}
		bytes += size
	}
	return append(groups, p.segs[first:])
}

// cleanGroup copies what stays of a group and puts it in the group's place.
func (p *pass) cleanGroup(ctx context.Context, group []*segment) error {
	seg, changed, err := p.copyGroup(ctx, group)
	if err == nil {
		err = p.install(seg, group, changed)
	}
	if err != nil {
		if seg != nil {
			seg.remove()
		}
		return p.trouble(err)
	}
	return nil
}

// install swaps a copy in. A copy of one segment in which all stayed is no gain.
func (p *pass) install(seg *segment, group []*segment, changed bool) error {
	if !changed && len(group) == 1 {
		seg.remove()
		return nil
	}
	if seg.size.Load() == 0 {
		if err := p.p.swap(group, nil); err != nil {
			return err
		}
		seg.remove()
	} else {
		if err := p.seal(seg, group); err != nil {
			return err
		}
		if err := p.p.swap(group, seg); err != nil {
			return err
		}
	}
	removed := -seg.size.Load()
	for _, old := range group {
		removed += old.size.Load()
	}
	p.s.cleaned.removed.Add(removed)
	p.s.discards.wanted.Store(true)
	p.s.askCheckpoint()
	return nil
}

// seal completes a copied segment and makes it durable, name included.
func (p *pass) seal(seg *segment, group []*segment) error {
	end := group[len(group)-1].end.Load()
	seg.ix.seal(end-seg.base, seg.size.Load())
	seg.end.Store(end)
	if err := seg.ix.flush(true); err != nil {
		return err
	}
	if err := p.copyTxns(seg, group); err != nil {
		return err
	}
	for _, f := range []*file{seg.log, seg.ix.f, seg.aborts.f} {
		if err := f.sync(); err != nil {
			return err
		}
	}
	return p.s.cfg.FS.SyncDir(p.p.topic.dir)
}

// trouble judges what went wrong with new files. A full disk and a topic that is
// deleted meanwhile are none; damage of the old files refuses this log; anything
// else is a disk that fails, and final.
func (p *pass) trouble(err error) error {
	corrupt := (*CorruptError)(nil)
	switch {
	case p.p.gone():
		return errOvertaken
	case noSpace(err):
		p.s.space.met()
		return err
	case errors.As(err, &corrupt), errors.Is(err, errUnreadable), errors.Is(err, context.Canceled), errors.Is(err, errOvertaken), noDescriptor(err):
		return err
	}
	return p.s.fail(err)
}

// copyGroup writes what stays of a group into a new segment. changed says
// whether that is less than there was.
func (p *pass) copyGroup(ctx context.Context, group []*segment) (seg *segment, changed bool, err error) {
	if seg, err = p.p.newGeneration(group[0].base); err != nil {
		return nil, false, err
	}
	p.out = p.out[:0]
	size := int64(0)
	for _, old := range group {
		err := p.walk(ctx, old, 0, func(b batch.Batch) error {
			kept, err := p.keep(b)
			if err != nil || kept == nil {
				changed = true
				return err
			}
			changed = changed || &kept[0] != &b[0]
			seg.ix.note(kept, kept.BaseOffset()-seg.base, size, int64(len(kept)))
			size += int64(len(kept))
			p.out = append(p.out, kept...)
			if len(p.out) >= cleanBuffer {
				return p.write(ctx, seg)
			}
			return nil
		})
		if err != nil {
			return seg, changed, err
		}
	}
	return seg, changed, p.write(ctx, seg)
}

// write puts what has gathered behind the new segment.
func (p *pass) write(ctx context.Context, seg *segment) error {
	at, n := seg.size.Load(), int64(len(p.out))
	if n == 0 {
		return nil
	}
	if err := seg.log.writeAt(p.out, at); err != nil {
		return err
	}
	seg.size.Store(at + n)
	p.s.cleaned.written.Add(n)
	p.out = p.out[:0]
	if seg.ix.full() {
		if err := seg.ix.flush(false); err != nil {
			return err
		}
	}
	return p.spend(ctx, n)
}

// newHorizon is until when tombstones and markers stay that are found now.
func (p *pass) newHorizon() int64 {
	return p.now + min(p.p.topic.rules().clean.DeleteRetentionMillis, math.MaxInt64/2)
}

// keep returns what stays of a batch: nil if nothing does. It is valid until the
// next call.
func (p *pass) keep(b batch.Batch) (batch.Batch, error) {
	if b.Control() {
		return p.keepMarker(b)
	}
	p.outcomes.follow(b)
	if b.BaseOffset() >= p.until {
		return b, nil
	}
	aborted, err := p.isAborted(b)
	if err != nil {
		return nil, err
	}
	horizon, has := b.DeleteHorizon()
	stays := func(e batch.Entry) bool {
		switch {
		case aborted:
			return false
		case e.Offset >= p.until:
			return true
		case e.Key == nil:
			return false // a compacted topic takes none; it is from before it was one
		case e.Offset < p.keys.newest(e.Key):
			return false
		}
		return !e.Tombstone || !has || p.now < horizon
	}
	kept, err := p.rewriter.Rewrite(b, maxRecords, p.newHorizon(), stays)
	if err != nil {
		return b, nil // noteKeys told it
	}
	if last, known := p.lasts[b.ProducerID()]; kept == nil && known && last == b.BaseOffset() {
		if b.Count() == 0 {
			return b, nil
		}
		return b.Emptied(), nil
	}
	return kept, nil
}
