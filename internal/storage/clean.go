package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/weirstream/weir/internal/batch"
)

// Clean says how a topic's logs are compacted (cleanup.policy=compact): of the
// records of a key only the newest stays. The zero value leaves them alone.
type Clean struct {
	Compact               bool
	MinDirtyRatio         float64 // min.cleanable.dirty.ratio
	MinLagMillis          int64   // min.compaction.lag.ms
	MaxLagMillis          int64   // max.compaction.lag.ms; 0: none
	DeleteRetentionMillis int64   // delete.retention.ms, for tombstones
}

// cleaner compacts logs. It belongs to the goroutine of keepClean.
type cleaner struct {
	s      *Store
	pace   pace
	aside  map[*Partition]time.Time // damaged logs, and until when they are left alone
	behind bool                     // more could be cleaned after a checkpoint, which is asked for
}

// keepClean is the goroutine that compacts logs until Close.
func (s *Store) keepClean() {
	defer s.running.Done()
	c := &cleaner{s: s, pace: pace{perSecond: s.cfg.CleanBytesPerSecond}, aside: map[*Partition]time.Time{}}
	var tick <-chan time.Time
	if s.cfg.CleanInterval > 0 {
		t := time.NewTicker(s.cfg.CleanInterval)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-s.closing:
			return
		case <-s.failed:
			return
		case <-tick:
			if err := c.all(s.ctx); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Warn("compaction stopped; it is tried again later", "error", err)
			}
		case answer := <-s.cleanNow:
			err := c.settle(s.ctx)
			if err == nil {
				err = c.all(s.ctx)
			}
			answer <- err
		}
	}
}

// CleanNow compacts all logs that are due for it, as is done every
// Config.CleanInterval, and returns when that is done. It has a checkpoint
// written before, if there is more to be cleaned after one.
func (s *Store) CleanNow(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case s.cleanNow <- answer:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	case <-s.failed:
		return s.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle waits until a checkpoint covers what was sealed and durable at the call.
func (c *cleaner) settle(ctx context.Context) error {
	if _, err := c.dirtiest(nil); err != nil || !c.behind {
		return err
	}
	turn := c.s.discards.next()
	for {
		c.s.done.Lock()
		ch := c.s.done.ch
		c.s.done.Unlock()
		if c.s.discards.isCovered(turn) {
			return nil
		}
		c.s.discards.wanted.Store(true)
		c.s.askCheckpoint()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.s.failed:
			return c.s.Err()
		}
	}
}

// all cleans one log after the other, the dirtiest first, until none is dirty
// enough. A log whose keys do not fit the map at once comes again, but what
// becomes dirty meanwhile waits for the next round: no log keeps others waiting.
func (c *cleaner) all(ctx context.Context) error {
	ends := map[*Partition]int64{}
	for {
		if err := c.s.usable(); err != nil {
			return err
		}
		if c.s.space.low.Load() {
			return nil // what is left of the disk is not for copies
		}
		next, err := c.dirtiest(ends)
		if err != nil || next == nil {
			return err
		}
		if _, again := ends[next.p]; !again {
			ends[next.p] = next.segs[len(next.segs)-1].end.Load()
		}
		err = c.clean(ctx, next)
		switch {
		case err == nil:
		case errors.Is(err, errOvertaken):
			ends[next.p] = -1 // the next round sees the log as it is then
			if !next.p.gone() {
				continue
			}
			// The directory was not empty when the topic went.
			dir := next.p.topic.dir
			if err := c.s.cfg.FS.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				c.s.cfg.Logger.Debug("topic directory is not empty yet", "dir", dir, "error", err)
			}
		default:
			if err := c.setAside(next.p, err); err != nil {
				return fmt.Errorf("compact %s-%d: %w", next.p.topic.name, next.p.number, err)
			}
		}
	}
}

// dirty is a log and what of it may be cleaned.
type dirty struct {
	p     *Partition
	segs  []*segment // that may be cleaned, from the oldest on
	from  int64      // what lies below was cleaned before
	ratio float64    // share of bytes that were not cleaned
	must  bool       // max.compaction.lag.ms has passed
}

// dirtiest finds the log to be cleaned next, or returns nil. ends says up to where
// logs are cleaned in this round.
func (c *cleaner) dirtiest(ends map[*Partition]int64) (*dirty, error) {
	var best *dirty
	now := c.s.cfg.Now().UnixMilli()
	c.behind = false
	c.takeUp()
	for _, t := range *c.s.topics.Load() {
		if !t.rules().clean.Compact {
			continue
		}
		for _, p := range t.partitions() {
			if !c.aside[p].IsZero() {
				continue
			}
			d, err := c.dirt(p, now)
			if err != nil {
				if err := c.setAside(p, err); err != nil {
					return nil, err
				}
				continue
			}
			if end, known := ends[p]; known && d != nil && d.from >= end {
				continue
			}
			if d != nil && (best == nil || d.must && !best.must || d.must == best.must && d.ratio > best.ratio) {
				best = d
			}
		}
	}
	if c.behind {
		c.s.discards.wanted.Store(true)
		c.s.askCheckpoint()
	}
	return best, nil
}

// dirt says what may be cleaned of the log at the time now (ms); nil if nothing
// is, or if it is not worth it yet: Kafka's min.cleanable.dirty.ratio, unless
// max.compaction.lag.ms asks for it.
func (c *cleaner) dirt(p *Partition, now int64) (*dirty, error) {
	rule := &p.topic.rules().clean
	if rule.MaxLagMillis > 0 {
		if err := p.rollOld(now, rule.MaxLagMillis); err != nil {
			return nil, err
		}
	}
	d, behind := &dirty{p: p}, false
	d.segs, d.from, behind = p.cleanable()
	c.behind = c.behind || behind
	var clean, total int64
	for i, seg := range d.segs {
		size := seg.size.Load()
		if seg.end.Load() > d.from {
			// A record whose minimum lag has not passed keeps all behind it.
			if rule.MinLagMillis > 0 && seg.largestTime() > now-rule.MinLagMillis {
				d.segs = d.segs[:i]
				break
			}
			d.must = d.must || rule.MaxLagMillis > 0 && size > 0 && seg.begun() < now-rule.MaxLagMillis
		} else {
			clean += size
		}
		total += size
	}
	if total == clean {
		return nil, nil
	}
	d.ratio = float64(total-clean) / float64(total)
	if !d.must && d.ratio <= rule.MinDirtyRatio {
		return nil, nil
	}
	return d, nil
}

// cleanable returns the segments that may be touched: those below the recovery
// point and the last stable offset, and before the batch that ends the log for
// readers, so that a reader who is below the end always finds something. behind
// says that a checkpoint would make them more.
func (p *Partition) cleanable() (segs []*segment, from int64, behind bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	defer p.state.Unlock()
	high, all := p.state.high, p.state.segments
	if p.state.deleted || p.state.closed || high.seg == nil {
		return nil, 0, false
	}
	n := slices.Index(all, high.seg)
	if high.pos == 0 { // the batch before the end stands in an earlier segment
		for n--; n > 0 && all[n].size.Load() == 0; n-- {
		}
	}
	stable := p.stableOffset()
	for n > 0 && all[n-1].end.Load() > min(p.cleaner.synced, stable) {
		behind = true
		n--
	}
	if n <= 0 {
		return nil, 0, behind
	}
	return all[:n:n], max(p.cleaner.cleaned, p.state.start, all[0].base), behind
}

// rollOld ends the active segment if its oldest records have waited too long to
// be cleaned: only what is sealed is.
func (p *Partition) rollOld(now, lag int64) error {
	p.state.Lock()
	gone, a := p.state.deleted || p.state.closed, p.active()
	p.state.Unlock()
	if gone || a == nil || a.size.Load() == 0 || a.begun() >= now-lag {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	gone = p.state.deleted || p.state.closed || p.active() != a
	p.state.Unlock()
	if gone {
		return nil
	}
	return p.rollAtEnd()
}

// begun is the time of the segment's first batch, in ms; of its making, if that
// has none.
func (s *segment) begun() int64 {
	first := s.made
	_, _ = scanHeaders(s.log, 0, s.size.Load(), func(_ int64, h batch.Batch) bool {
		if t := h.MaxTimestamp(); t >= 0 {
			first = t
		}
		return false
	})
	return first
}

// gone says whether the topic was deleted.
func (p *Partition) gone() bool {
	p.state.Lock()
	defer p.state.Unlock()
	return p.state.deleted
}
