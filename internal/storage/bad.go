package storage

import (
	"errors"
	"sync/atomic"

	"github.com/weirstream/weir/internal/batch"
)

// badPlace is where in a segment a batch begins that a reader found corrupt; 0
// if none was found, or one at the very start, before which nothing is good. An
// extent that begins before it ends there, so that what is good can be read; one
// that begins at it meets the error, and one behind it is not concerned. Only
// the last place that was found is kept: with several, a reader meets each anew.
type badPlace struct{ pos atomic.Int64 }

// before is limit, or the bad place if that lies between pos and limit.
func (p *badPlace) before(pos, limit int64) (int64, bool) {
	if bad := p.pos.Load(); pos < bad && bad < limit {
		return bad, true
	}
	return limit, false
}

// spoilt notes what a reader of the extent met, if good batches come before it,
// and returns err.
func (e *Extent) spoilt(err error) error {
	var c *CorruptError
	if !errors.As(err, &c) || c.Position <= e.pos {
		return err
	}
	good := e.pos
	// The place may lie inside a batch, whose start the walk then does not pass.
	_, _ = scanHeaders(e.seg.log, e.pos, c.Position, func(pos int64, h batch.Batch) bool {
		good = pos + int64(h.Len())
		return true
	})
	if good > e.pos {
		e.seg.spoil.pos.Store(good)
	}
	return err
}
