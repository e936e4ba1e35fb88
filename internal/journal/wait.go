package journal

import (
	"context"
	"slices"
	"sync/atomic"
)

// waiter waits for an LSN or for room. Its channel gets one token, once.
type waiter struct {
	lsn  LSN   // or
	room int64 // bytes
	ch   chan struct{}
}

// frameCost stands for a frame's headers in the room that it takes.
const frameCost = frameHeader + entryHeader

func cost(n int64) int64 { return n + frameCost }

// Reserve waits for room for a frame with n bytes of batches. Each Reserve is
// followed by one Append or one Cancel. Room is given in the order of the calls;
// a frame larger than the whole buffer is let in when the buffer is empty.
func (j *Journal) Reserve(ctx context.Context, n int64) error {
	j.mu.Lock()
	if err := j.refusal(); err != nil {
		j.mu.Unlock()
		return err
	}
	need := min(cost(n), j.cfg.BufferBytes)
	if len(j.mu.reserveQueue) == 0 && j.mu.room >= need {
		j.mu.room -= cost(n)
		j.mu.Unlock()
		return nil
	}
	w := j.newWaiter()
	w.room = cost(n)
	j.mu.reserveQueue = append(j.mu.reserveQueue, w)
	j.mu.Unlock()
	wake(j.wakeWriter)
	select {
	case <-w.ch:
	case <-ctx.Done():
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.freeWaiter(w)
	if i := slices.Index(j.mu.reserveQueue, w); i >= 0 {
		j.mu.reserveQueue = slices.Delete(j.mu.reserveQueue, i, i+1)
		j.grant() // who stood behind may fit
		return ctx.Err()
	}
	if err := j.refusal(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		j.giveBack(w.room)
		return err
	}
	return nil
}

// refusal is why nothing is accepted any more. The caller holds mu.
func (j *Journal) refusal() error {
	switch {
	case j.mu.err != nil:
		return j.mu.err
	case j.mu.closing:
		return ErrClosed
	}
	return nil
}

// Cancel gives back a reservation of n.
func (j *Journal) Cancel(n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.giveBack(cost(n))
}

// giveBack and grant are called with mu held.
func (j *Journal) giveBack(bytes int64) {
	j.mu.room += bytes
	j.grant()
}

func (j *Journal) grant() {
	q := j.mu.reserveQueue
	for len(q) > 0 && j.mu.room >= min(q[0].room, j.cfg.BufferBytes) {
		j.mu.room -= q[0].room
		q[0].ch <- struct{}{}
		q = q[1:]
	}
	j.mu.reserveQueue = keepRest(j.mu.reserveQueue, q)
}

// keepRest moves the rest of a queue to its start, so that its memory is used
// again.
func keepRest(queue, rest []*waiter) []*waiter {
	n := copy(queue, rest)
	clear(queue[n:])
	return queue[:n]
}

func (j *Journal) refuseReservations() {
	for _, w := range j.mu.reserveQueue {
		w.ch <- struct{}{}
	}
	j.mu.reserveQueue = keepRest(j.mu.reserveQueue, nil)
}

// WaitWritten returns when lsn has been handed to the operating system, or with
// the failure that stopped the journal, or with ctx's error. It does not wait
// for a sync.
func (j *Journal) WaitWritten(ctx context.Context, lsn LSN) error {
	return j.wait(ctx, lsn, &j.written, &j.mu.writtenQueue)
}

// WaitDurable returns when lsn is durable, or with the failure that stopped
// the journal, or with ctx's error.
func (j *Journal) WaitDurable(ctx context.Context, lsn LSN) error {
	return j.wait(ctx, lsn, &j.durable, &j.mu.durableQueue)
}

func (j *Journal) wait(ctx context.Context, lsn LSN, mark *atomic.Uint64, queue *[]*waiter) error {
	if LSN(mark.Load()) >= lsn {
		return nil
	}
	j.mu.Lock()
	if LSN(mark.Load()) >= lsn {
		j.mu.Unlock()
		return nil
	}
	if j.mu.err != nil || j.mu.closed {
		defer j.mu.Unlock()
		return j.refusal()
	}
	w := j.newWaiter()
	w.lsn = lsn
	*queue = insert(*queue, w)
	if j.canWrite() {
		wake(j.wakeWriter)
	}
	j.mu.Unlock()
	select {
	case <-w.ch:
	case <-ctx.Done():
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.freeWaiter(w)
	if i := slices.Index(*queue, w); i >= 0 {
		*queue = slices.Delete(*queue, i, i+1)
	}
	switch {
	case LSN(mark.Load()) >= lsn:
		return nil
	case j.mu.err != nil:
		return j.mu.err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return ErrClosed
}

// insert keeps a queue ordered by LSN. Newcomers nearly always belong to the
// end, so it looks from there.
func insert(queue []*waiter, w *waiter) []*waiter {
	i := len(queue)
	for i > 0 && queue[i-1].lsn > w.lsn {
		i--
	}
	return slices.Insert(queue, i, w)
}

// wakeWaiters wakes those whose LSN has come and returns the others. The
// caller holds mu.
func (j *Journal) wakeWaiters(queue []*waiter, upTo LSN) []*waiter {
	i := 0
	for i < len(queue) && queue[i].lsn <= upTo {
		queue[i].ch <- struct{}{}
		i++
	}
	return keepRest(queue, queue[i:])
}

// wakeAll ends all waiting, for a failure or Close. The caller holds mu.
func (j *Journal) wakeAll() {
	j.refuseReservations()
	j.mu.writtenQueue = j.wakeWaiters(j.mu.writtenQueue, maxLSN)
	j.mu.durableQueue = j.wakeWaiters(j.mu.durableQueue, maxLSN)
	wake(j.wakeWriter)
	wake(j.wakeSyncer)
}

const maxLSN = ^LSN(0)

// newWaiter takes a waiter from the journal's own list: one shared by journals
// would carry channels from one synctest bubble to another. The caller holds mu.
func (j *Journal) newWaiter() *waiter {
	if n := len(j.mu.free); n > 0 {
		w := j.mu.free[n-1]
		j.mu.free = j.mu.free[:n-1]
		return w
	}
	return &waiter{ch: make(chan struct{}, 1)}
}

func (j *Journal) freeWaiter(w *waiter) {
	select {
	case <-w.ch:
	default:
	}
	w.lsn, w.room = 0, 0
	j.mu.free = append(j.mu.free, w)
}
