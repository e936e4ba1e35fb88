package storage

import (
	"fmt"
	"math"

	"github.com/weirstream/weir/internal/batch"
)

// windowLen is how many batches of a producer are remembered (KIP-98).
const windowLen = 5

// seen is a batch that an idempotent producer appended.
type seen struct {
	first, last int32 // sequence numbers
	base        int64
}

// producer is what a partition remembers of an idempotent producer: primary
// state, kept in checkpoints, since the batches it came from may be deleted.
type producer struct {
	epoch int16
	n     int8 // batches in window
	used  int64
	// window holds the last batches, the newest at [n-1].
	window [windowLen]seen
}

// idempotent says whether the rules of sequence numbers apply to b.
func idempotent(b batch.Batch) bool { return b.ProducerID() >= 0 && b.BaseSequence() >= 0 }

// addSequence adds to a sequence number, which wraps at 2^31-1 to 0.
func addSequence(s, n int32) int32 {
	return int32((int64(s) + int64(n)) % (math.MaxInt32 + 1))
}

// check applies KIP-98's rules. A duplicate returns the offset it got at first.
// An unknown producer (w is nil) may begin with any sequence: it may have been
// forgotten here (KIP-360).
func (w *producer) check(b batch.Batch) (original int64, duplicate bool, err error) {
	if w == nil {
		return 0, false, nil
	}
	first := b.BaseSequence()
	last := addSequence(first, b.LastOffsetDelta())
	switch epoch := b.ProducerEpoch(); {
	case epoch < w.epoch:
		return 0, false, fmt.Errorf("%w: producer %d sent epoch %d, the newest is %d", ErrProducerFenced, b.ProducerID(), epoch, w.epoch)
	case epoch > w.epoch:
		if first != 0 {
			return 0, false, fmt.Errorf("%w: producer %d begins epoch %d with %d, not 0", ErrOutOfOrderSequence, b.ProducerID(), epoch, first)
		}
		return 0, false, nil
	}
	for _, s := range w.window[:w.n] {
		if s.first == first && s.last == last {
			return s.base, true, nil
		}
	}
	if w.n > 0 {
		if expect := addSequence(w.window[w.n-1].last, 1); first != expect {
			return 0, false, fmt.Errorf("%w: producer %d sent %d, expected %d", ErrOutOfOrderSequence, b.ProducerID(), first, expect)
		}
	}
	return 0, false, nil
}

// add remembers a batch that is appended, its base offset stamped.
func (w *producer) add(b batch.Batch, now int64) {
	if b.ProducerEpoch() != w.epoch {
		w.epoch, w.n = b.ProducerEpoch(), 0
	}
	if w.n == windowLen {
		copy(w.window[:], w.window[1:])
		w.n--
	}
	first := b.BaseSequence()
	w.window[w.n] = seen{first, addSequence(first, b.LastOffsetDelta()), b.BaseOffset()}
	w.n++
	w.used = now
}

// producers are those of one partition; guarded by Partition.mu.
type producers map[int64]*producer

// check looks at all batches of an append. More than one is checked one upon
// the other; they are duplicates all or none.
func (ps producers) check(b []byte) (original int64, duplicate bool, err error) {
	first, rest, err := batch.Split(b)
	if err != nil {
		return 0, false, err
	}
	if len(rest) == 0 {
		if !idempotent(first) {
			return 0, false, nil
		}
		return ps[first.ProducerID()].check(first)
	}
	trial := map[int64]*producer{}
	count, duplicates := 0, 0
	for len(b) > 0 {
		var one batch.Batch
		if one, b, err = batch.Split(b); err != nil {
			return 0, false, err
		}
		count++
		if !idempotent(one) {
			continue
		}
		id := one.ProducerID()
		w, ok := trial[id]
		if !ok && ps[id] != nil {
			c := *ps[id]
			w = &c
		}
		base, dup, err := w.check(one)
		if err != nil {
			return 0, false, err
		}
		if dup {
			if duplicates++; duplicates == 1 {
				original = base
			}
			continue
		}
		if w == nil {
			w = &producer{epoch: one.ProducerEpoch()}
		}
		w.add(one, 0)
		trial[id] = w
	}
	if duplicates > 0 && duplicates < count {
		return 0, false, fmt.Errorf("%w: %d of %d batches were appended before", ErrOutOfOrderSequence, duplicates, count)
	}
	return original, duplicates > 0, nil
}

// add remembers an appended batch.
func (ps producers) add(b batch.Batch, now int64) {
	if !idempotent(b) {
		return
	}
	w := ps[b.ProducerID()]
	if w == nil {
		w = &producer{epoch: b.ProducerEpoch()}
		ps[b.ProducerID()] = w
	}
	w.add(b, now)
}
