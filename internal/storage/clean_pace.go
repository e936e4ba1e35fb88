package storage

import (
	"context"
	"time"
)

// pace holds the cleaner to a number of bytes per second, read and written
// together.
type pace struct {
	perSecond int64 // 0: no limit
	free      time.Time
}

// paceSlack is how much may be caught up: a pause does not earn a burst.
const paceSlack = 100 * time.Millisecond

// take accounts for n bytes at the time now and returns how long to wait before
// the next.
func (p *pace) take(n int64, now time.Time) time.Duration {
	if p.perSecond <= 0 {
		return 0
	}
	if earliest := now.Add(-paceSlack); p.free.Before(earliest) {
		p.free = earliest
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.perSecond) * float64(time.Second)))
	return max(p.free.Sub(now), 0)
}

// spend accounts for n bytes of the cleaner and waits until they are paid for.
func (c *cleaner) spend(ctx context.Context, n int64) error {
	d := c.pace.take(n, c.s.cfg.Now())
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
