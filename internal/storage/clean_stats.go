package storage

import (
	"errors"
	"sync/atomic"
	"time"
)

// CleanStats tell what compaction did since the start.
type CleanStats struct {
	Passes   int64 // cleanings of a log that came to their end
	Read     int64 // bytes
	Written  int64 // bytes
	Removed  int64 // bytes that the logs lost
	SetAside int64 // logs that are left alone now, as they are damaged
}

// cleanCounters are CleanStats while they are counted.
type cleanCounters struct{ passes, read, written, removed, setAside atomic.Int64 }

// CleanStats returns what compaction did since the start.
func (s *Store) CleanStats() CleanStats {
	c := &s.cleaned
	return CleanStats{c.passes.Load(), c.read.Load(), c.written.Load(), c.removed.Load(), c.setAside.Load()}
}

// asideFor is how long a damaged log is left alone: retention may take what is
// damaged out of it, and reading it again costs as much as cleaning it.
const asideFor = time.Hour

// setAside leaves a damaged log alone for a while, so that it keeps no other
// waiting; what is no damage is returned.
func (c *cleaner) setAside(p *Partition, err error) error {
	corrupt := (*CorruptError)(nil)
	if !errors.As(err, &corrupt) && !errors.Is(err, errUnreadable) {
		return err
	}
	c.aside[p] = c.s.cfg.Now().Add(asideFor)
	c.s.cleaned.setAside.Store(int64(len(c.aside)))
	c.s.cfg.Logger.Error("a log cannot be compacted; it is tried again later", "topic", p.topic.name, "partition", p.number,
		"in", asideFor, "error", err)
	return nil
}

// takeUp ends the time of those logs that were left alone for long enough, and
// forgets those whose topics are gone.
func (c *cleaner) takeUp() {
	now := c.s.cfg.Now()
	for p, until := range c.aside {
		if !until.After(now) || p.gone() {
			delete(c.aside, p)
		}
	}
	c.s.cleaned.setAside.Store(int64(len(c.aside)))
}
