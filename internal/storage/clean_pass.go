package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/internal/batch"
)

// cleanBuffer is how much the cleaner reads or writes at once.
const cleanBuffer = 256 << 10

// pass is one cleaning of one log.
type pass struct {
	*cleaner
	dirty
	now      int64 // ms
	keys     *keyMap
	until    int64           // the map knows all keys of [from, until)
	lasts    map[int64]int64 // base offset of each producer's newest batch
	outcomes outcomes
	rewriter batch.Rewriter
	buf      []byte // what was read
	out      []byte // what is to be written
}

// clean takes the older records of each key out of a log. The first walk, over
// what is dirty, notes the newest offset of each key; the second, over all up to
// there, copies what stays into new segments. Each group of old segments that
// fits one new segment is swapped as soon as it is copied, the oldest first: a
// tombstone never goes before the records that it deletes.
func (c *cleaner) clean(ctx context.Context, d *dirty) error {
	p := &pass{cleaner: c, dirty: *d, now: c.s.cfg.Now().UnixMilli()}
	for _, seg := range p.segs {
		if !seg.pin() {
			return errOvertaken
		}
		defer seg.unpin()
	}
	for _, seg := range p.segs {
		if err := p.check(ctx, seg); err != nil {
			return err
		}
	}
	if err := p.readKeys(ctx); err != nil {
		return err
	}
	p.lasts = p.p.lastBatches()
	for _, group := range p.groups() {
		if err := p.cleanGroup(ctx, group); err != nil {
			return err
		}
	}
	p.p.mu.Lock()
	p.p.cleaner.cleaned = max(p.p.cleaner.cleaned, p.until)
	p.p.mu.Unlock()
	p.p.changed.Store(true)
	c.s.cleaned.passes.Add(1)
	c.s.cfg.Logger.Debug("compacted", "topic", p.p.topic.name, "partition", p.p.number, "from", p.from, "to", p.until, "keys", p.keys.used)
	return nil
}

// lastBatches returns the base offset of the newest batch of each producer.
func (p *Partition) lastBatches() map[int64]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	lasts := make(map[int64]int64, len(p.windows))
	for id, w := range p.windows {
		if w.n > 0 {
			lasts[id] = w.window[w.n-1].base
		}
	}
	return lasts
}

// check compares what the batches' own checksums leave out with the index, once
// in a life: the copy gets a new index, which would make damage look whole.
func (p *pass) check(ctx context.Context, seg *segment) error {
	if seg.ownFrom == 0 || seg.prefixesGood.Load() {
		return nil
	}
	if err := seg.checkPrefixes(0, seg.size.Load()); err != nil {
		return err
	}
	seg.prefixesGood.Store(true)
	return p.spend(ctx, seg.size.Load())
}

// errUnreadable: the old files cannot be read. The new ones are not to blame.
var errUnreadable = errors.New("cannot be read")

func unreadable(err error) error {
	if corrupt := (*CorruptError)(nil); errors.As(err, &corrupt) || noDescriptor(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnreadable, err)
}

// walk shows all batches of a segment from pos on to f, checksums verified.
func (p *pass) walk(ctx context.Context, seg *segment, pos int64, f func(batch.Batch) error) error {
	size := seg.size.Load()
	for have := int64(0); pos < size; {
		// p.buf[:have] stands at pos.
		want := min(int64(cleanBuffer), size-pos)
		if have >= batch.HeaderLen {
			n, reason := checkHeader(batch.Batch(p.buf[:batch.HeaderLen]), size-pos)
			if reason != "" {
				return seg.corrupt(pos, -1, reason)
			}
			want = max(want, n)
		}
		if int64(cap(p.buf)) < want {
			p.buf = append(make([]byte, 0, want), p.buf[:have]...)
		}
		p.buf = p.buf[:want]
		if err := readFull(seg.log, p.buf[have:], pos+have); err != nil {
			return unreadable(seg.bad(err, -1))
		}
		p.s.cleaned.read.Add(want - have)
		if err := p.spend(ctx, want-have); err != nil {
			return err
		}
		rest := p.buf
		for len(rest) >= batch.HeaderLen {
			n, reason := checkHeader(batch.Batch(rest[:batch.HeaderLen]), size-pos)
			if reason != "" {
				return seg.corrupt(pos, -1, reason)
			}
			if n > int64(len(rest)) {
				break
			}
			b := batch.Batch(rest[:n:n])
			if err := b.CheckCRC(); err != nil {
				return seg.corrupt(pos, b.BaseOffset(), err.Error())
			}
			if err := f(b); err != nil {
				return err
			}
			pos, rest = pos+n, rest[n:]
		}
		if pos < size && pos+int64(len(rest)) == size && len(rest) < batch.HeaderLen {
			return seg.corrupt(pos, -1, "the segment ends inside a header")
		}
		have = int64(copy(p.buf, rest))
	}
	return nil
}

// errEnough ends a walk early.
var errEnough = errors.New("enough")

// readKeys fills the map with the keys of what is dirty. If they do not all fit,
// the pass ends at the first that does not, and the next one goes on there.
func (p *pass) readKeys(ctx context.Context) error {
	last := p.segs[len(p.segs)-1]
	p.until = last.end.Load()
	bytes := int64(0)
	for _, seg := range p.segs {
		if seg.end.Load() > p.from {
			bytes += seg.size.Load()
		}
	}
	const shortest = 8 // bytes of a record
	p.keys = newKeyMap(p.s.cfg.CleanMapBytes, bytes/shortest)
	for _, seg := range p.segs {
		if seg.end.Load() <= p.from {
			continue
		}
		pos := int64(0)
		if seg.base < p.from {
			var err error
			if pos, err = seg.find(p.from); err != nil {
				return err
			}
		}
		err := p.walk(ctx, seg, pos, p.noteKeys)
		if err == errEnough {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noteKeys notes the keys of a batch. Records of aborted transactions are left
// out: they must not hide older ones. Records that cannot
// be read, since a producer compressed something else, are left out and kept.
func (p *pass) noteKeys(b batch.Batch) error {
	aborted, err := p.isAborted(b)
	if err != nil {
		return err
	}
	if aborted || b.Control() {
		return nil
	}
	full := int64(-1)
	err = p.rewriter.Each(b, maxRecords, func(e batch.Entry) bool {
		if e.Offset < p.from || e.Key == nil {
			return true
		}
		if !p.keys.put(e.Key, e.Offset) {
			full = e.Offset
			return false
		}
		return true
	})
	if full >= 0 {
		p.until = full
		return errEnough
	}
	if err != nil {
		p.s.cfg.Logger.Warn("a batch cannot be opened and is kept as it is", "topic", p.p.topic.name, "partition", p.p.number,
			"offset", b.BaseOffset(), "error", err)
	}
	return nil
}
