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

// replace is called when the active segment cannot be appended to, because of err.
// If that is damage, and all records of the log were deleted, another segment takes
// its place, and nothing damaged is left. Appends are held until a checkpoint that
// does not list the damaged one is durable: the next start would redo them upon it.
// mu is held; what is staged stands at the end of the log.
func (p *Partition) replace(err error) error {
	p.state.Lock()
	start, end := p.state.start, p.state.end
	p.state.Unlock()
	if corrupt := (*CorruptError)(nil); !errors.As(err, &corrupt) || start < end || p.store.found != nil {
		return err
	}
	if _, err := p.roll(nil); err != nil {
		return err
	}
	p.cutBack = false
	p.drop(start)
	p.store.cfg.Logger.Warn("a damaged segment is replaced: all its records were deleted", "topic", p.topic.name, "partition", p.number, "offset", end, "error", err)
	p.heldUntil = p.store.discards.next()
	return p.hold()
}

// held refuses an append until the checkpoint that heldUntil names is durable. mu
// is held.
func (p *Partition) held() error {
	if p.store.discards.isCovered(p.heldUntil) {
		p.heldUntil = 0
		return nil
	}
	return p.hold()
}

// hold refuses an append, and asks for the checkpoint that it waits for.
func (p *Partition) hold() error {
	p.store.discards.wanted.Store(true)
	p.store.askCheckpoint()
	return ErrHeld
}
