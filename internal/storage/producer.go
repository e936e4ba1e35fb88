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
	epoch       int16
	n           int8  // batches in window
	coordinator int32 // epoch in its last marker; -1: there was none
	used        int64
	txn         int64 // offset at which its open transaction began; -1: none is open
	// window holds the last batches, the newest at [n-1].
	window [windowLen]seen
}

func newProducer(epoch int16) *producer {
	return &producer{epoch: epoch, coordinator: -1, txn: -1}
}

// idempotent says whether the rules of sequence numbers apply to b. Offsets that a
// transaction commits and markers have a producer and no sequence.
func idempotent(b batch.Batch) bool { return b.ProducerID() >= 0 && b.BaseSequence() >= 0 }

// addSequence adds to a sequence number, which wraps at 2^31-1 to 0.
func addSequence(s, n int32) int32 {
	return int32((int64(s) + int64(n)) % (math.MaxInt32 + 1))
}

// check applies the rules of KIP-98 to a batch that has a producer. A duplicate
// returns the offset it got at first. An unknown producer (w is nil) may begin
// with any sequence: it may have been forgotten here (KIP-360). version is the
// transaction.version of who wrote a marker.
func (w *producer) check(b batch.Batch, version int16) (original int64, duplicate bool, err error) {
	if b.Control() {
		return 0, false, w.checkMarker(b, version)
	}
	if w == nil {
		return 0, false, nil
	}
	if epoch := b.ProducerEpoch(); epoch < w.epoch {
		return 0, false, fmt.Errorf("%w: producer %d sent epoch %d, the newest is %d", ErrProducerFenced, b.ProducerID(), epoch, w.epoch)
	}
	if idempotent(b) {
		if original, duplicate, err = w.checkSequence(b); duplicate || err != nil {
			return original, duplicate, err
		}
	}
	if w.txn >= 0 && !b.Transactional() {
		return 0, false, fmt.Errorf("%w: producer %d has had a transaction open since offset %d and sent a batch outside of it",
			ErrInvalidTxnState, b.ProducerID(), w.txn)
	}
	return 0, false, nil
}

// checkSequence looks at the sequence numbers of a batch whose epoch is not old.
// Behind a marker that raised the epoch the next one is 0.
func (w *producer) checkSequence(b batch.Batch) (original int64, duplicate bool, err error) {
	first := b.BaseSequence()
	last := addSequence(first, b.LastOffsetDelta())
	if epoch := b.ProducerEpoch(); epoch > w.epoch {
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
	expect := int32(0)
	if w.n > 0 {
		expect = addSequence(w.window[w.n-1].last, 1)
	}
	if first != expect {
		return 0, false, fmt.Errorf("%w: producer %d sent %d, expected %d", ErrOutOfOrderSequence, b.ProducerID(), first, expect)
	}
	return 0, false, nil
}

// checkMarker judges a control batch. Up to transaction.version 1 a marker has the
// epoch of its transaction or a later one. From version 2 on it has a later one
// (KIP-890), so that a delayed marker cannot end the next transaction; but one
// that is sent again, when nothing is open any more, is let through.
func (w *producer) checkMarker(b batch.Batch, version int16) error {
	m, ok, err := b.Marker()
	if err != nil || !ok || w == nil {
		return err
	}
	epoch := b.ProducerEpoch()
	late := epoch < w.epoch || version >= 2 && epoch == w.epoch && w.txn >= 0
	switch {
	case late:
		return fmt.Errorf("%w: a marker for producer %d has epoch %d, the newest is %d", ErrProducerFenced, b.ProducerID(), epoch, w.epoch)
	case m.CoordinatorEpoch < w.coordinator:
		return fmt.Errorf("%w: a marker for producer %d comes from epoch %d, the newest is %d",
			ErrCoordinatorFenced, b.ProducerID(), m.CoordinatorEpoch, w.coordinator)
	}
	return nil
}

// endsNothing says whether a marker would be refused and does not concern what is open:
// nothing is, or what is has a newer epoch.
func (w *producer) endsNothing(b batch.Batch, version int16) bool {
	return w != nil && (w.txn < 0 || b.ProducerEpoch() < w.epoch) && w.checkMarker(b, version) != nil
}

// change is what a batch does to the transactions of its partition.
type change struct {
	began   bool
	ended   bool
	first   int64 // of the transaction that ended
	aborted bool
}

// add remembers a batch that is appended, its base offset stamped.
func (w *producer) add(b batch.Batch, now int64) (c change) {
	w.used = now
	if b.Control() {
		m, ok, err := b.Marker()
		if err != nil || !ok {
			return change{} // another kind of control record: it ends nothing
		}
		w.setEpoch(b.ProducerEpoch())
		c = change{ended: w.txn >= 0, first: w.txn, aborted: !m.Commit}
		w.txn, w.coordinator = -1, m.CoordinatorEpoch
		return c
	}
	w.setEpoch(b.ProducerEpoch())
	if b.BaseSequence() >= 0 {
		w.remember(b)
	}
	if b.Transactional() && w.txn < 0 {
		w.txn, c.began = b.BaseOffset(), true
	}
	return c
}

func (w *producer) setEpoch(epoch int16) {
	if epoch != w.epoch {
		w.epoch, w.n = epoch, 0
	}
}

func (w *producer) remember(b batch.Batch) {
	if w.n == windowLen {
		copy(w.window[:], w.window[1:])
		w.n--
	}
	first := b.BaseSequence()
	w.window[w.n] = seen{first, addSequence(first, b.LastOffsetDelta()), b.BaseOffset()}
	w.n++
}

// producers are those of one partition; guarded by Partition.mu.
type producers map[int64]*producer

// check looks at all batches of an append. More than one is checked one upon
// the other; they are duplicates all or none.
func (ps producers) check(b []byte, version int16) (original int64, duplicate bool, err error) {
	first, rest, err := batch.Split(b)
	if err != nil {
		return 0, false, err
	}
	if len(rest) == 0 {
		if first.ProducerID() < 0 {
			return 0, false, nil
		}
		return ps[first.ProducerID()].check(first, version)
	}
	trial := map[int64]*producer{}
	count, duplicates := 0, 0
	for len(b) > 0 {
		var one batch.Batch
		if one, b, err = batch.Split(b); err != nil {
			return 0, false, err
		}
		count++
		id := one.ProducerID()
		if id < 0 {
			continue
		}
		w, ok := trial[id]
		if !ok && ps[id] != nil {
			c := *ps[id]
			w = &c
		}
		base, dup, err := w.check(one, version)
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
			w = newProducer(one.ProducerEpoch())
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
func (ps producers) add(b batch.Batch, now int64) change {
	if b.ProducerID() < 0 {
		return change{}
	}
	w := ps[b.ProducerID()]
	if w == nil {
		w = newProducer(b.ProducerEpoch())
		ps[b.ProducerID()] = w
	}
	return w.add(b, now)
}
