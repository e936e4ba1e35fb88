package weir

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// worker handles one partition's records, one after another.
type worker struct {
	*partition
	slab    *slab
	next    int // the first unused slot of slab
	dropped int // begun records given up
}

// work is the worker. A handler that ends its goroutine (t.FailNow of a test does)
// takes the worker with it, and must not do so in silence.
func (p *partition) work() {
	returned := false
	defer func() {
		if !returned {
			p.app.fail(fmt.Errorf("weir: the handler of %s-%d ended its goroutine with runtime.Goexit", p.topic, p.id))
		}
		close(p.done)
	}()
	if p.prev != nil {
		<-p.prev
	}
	w := &worker{partition: p, next: slabSize}
	for w.handleChunk() {
	}
	w.drain()
	returned = true
}

// handleChunk waits for records and handles some; false when the partition is
// to be given up.
func (w *worker) handleChunk() bool {
	if w.trouble.Load() && !w.buryRefused() {
		return false
	}
	chunk, room := w.pop()
	if room {
		w.app.resume(w.partition)
		w.app.roomChanged()
	}
	if chunk == nil {
		w.app.roomChanged()
		select {
		case <-w.wake:
			return true
		case <-w.stop:
			return false
		}
	}
	for _, rec := range chunk {
		if w.halt.Load() {
			return false
		}
		t := w.begin(rec)
		if t == nil || !w.handle(t) {
			return false
		}
	}
	return true
}

// begin enters a record into the ledger, waiting for acknowledgements while too
// many are in flight; nil if the partition is to be given up meanwhile.
func (w *worker) begin(rec *kgo.Record) *task {
	if w.next == slabSize {
		if !w.awaitAcks(w.app.cfg.MaxInFlight - slabSize) {
			return nil
		}
		w.mu.Lock()
		w.slab, w.next = w.mu.ledger.grow(), 0
		w.mu.Unlock()
	}
	t := &w.slab[w.next]
	w.next++
	t.begin(w.partition, rec, 1)
	return t
}

// awaitAcks waits until at most limit records are in flight; false if the
// partition is to be given up first. What was refused is seen to meanwhile.
func (w *worker) awaitAcks(limit int) bool {
	w.waiting.Store(true)
	defer w.waiting.Store(false)
	for {
		if w.trouble.Load() && !w.buryRefused() {
			return false
		}
		if w.inFlight() <= max(0, limit) {
			return true
		}
		select {
		case <-w.wake:
		case <-w.stop:
			return false
		}
	}
}

// inFlight counts the begun records from the position on.
func (w *worker) inFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.ledger.advance()
	return w.mu.ledger.inFlight()
}

// drain waits for what is begun and can still finish, so that as much as
// possible is committed.
func (w *worker) drain() {
	w.waiting.Store(true)
	defer w.waiting.Store(false)
	for {
		if w.trouble.Load() {
			w.buryRefused()
		}
		if w.unfinished() <= w.dropped+int(w.hopeless.Load()) {
			return
		}
		select {
		case <-w.wake:
		case <-w.ctx.Done():
			return
		}
	}
}

// unfinished counts the begun records that are not finished.
func (w *worker) unfinished() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.ledger.advance()
	return w.mu.ledger.unfinished()
}

// abandon leaves a record unfinished.
func (w *worker) abandon(t *task) bool {
	t.settled = true
	w.dropped++
	return false
}

// handle makes attempts at a record until it succeeds or is a dead letter; false
// if it is left unfinished because the partition or the App ends.
func (w *worker) handle(t *task) bool {
	err := attempt(t)
	if err == nil {
		t.done()
		return true
	}
	return w.failed(t, err)
}

// attempt calls the handler and makes a panic an error.
func attempt(t *task) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return t.p.sub.call(t)
}

// failed goes on after a record's first failed attempt.
func (w *worker) failed(t *task, err error) bool {
	failedAt := time.Now()
	for {
		if w.ctx.Err() != nil {
			return w.abandon(t)
		}
		var pe *panicError
		if errors.As(err, &pe) {
			t.log().Error("handler panicked", "panic", pe.value, "stack", string(pe.stack))
		}
		if w.final(t, err) {
			return w.bury(t, letter{err: err, stage: stageOf(err), attempts: int(t.attempt), failedAt: failedAt})
		}
		wait := w.sub.policy.backoff(int(t.attempt), w.app.rand)
		t.log().Warn("attempt failed", "err", err, "retry_in", wait)
		if !w.sleep(wait) {
			return w.abandon(t)
		}
		w.sub.retried.Add(1)
		t = t.again()
		if err = attempt(t); err == nil {
			t.done()
			return true
		}
	}
}

// final tells whether no further attempt is to be made.
func (w *worker) final(t *task, err error) bool {
	return stageOf(err) == stageDecode || isPermanent(err) || int(t.attempt) >= w.sub.policy.maxAttempts
}

func stageOf(err error) stage {
	var d *decodeError
	if errors.As(err, &d) {
		return stageDecode
	}
	return stageHandle
}

// backoff is the wait after failed attempt n: exponential with full jitter, so
// that members which failed together do not come back together.
func (p policy) backoff(n int, rand func() float64) time.Duration {
	limit := p.backoffFirst
	for ; n > 1 && limit < p.backoffMax; n-- {
		limit *= 2
	}
	return time.Duration(rand() * float64(min(limit, p.backoffMax)))
}

// sleep is false if the partition is handed over first: the record fails
// anyway, and the next owner will try it.
func (w *worker) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.stop:
	case <-w.ctx.Done():
	}
	return false
}

// buryRefused writes the dead letters of records that were refused what they
// produced, unless that attempt failed too: then its failure has decided already.
// A dead letter that was refused itself is written smaller.
func (w *worker) buryRefused() bool {
	ok := true
	for _, r := range w.takeRefused() {
		switch {
		case r.letter != nil:
			r.t.log().Warn("dead letter too large", "to", w.sub.policy.deadLetter, "left_out", r.letter.omits, "err", r.err)
			w.app.bury(r.t, *r.letter)
		case r.t.settled:
			r.t.done()
		default:
			l := letter{err: r.err, stage: stageProduce, attempts: int(r.t.attempt), failedAt: time.Now()}
			ok = w.bury(r.t, l) && ok
		}
	}
	return ok
}

// bury sends a record to the dead letters, or stops the App if it has none.
func (w *worker) bury(t *task, l letter) bool {
	if w.sub.policy.deadLetter == "" {
		w.app.fail(fmt.Errorf("weir: %s %s-%d offset %d, attempt %d: %w", l.stage, w.topic, w.id, t.rec.Offset, l.attempts, l.err))
		return w.abandon(t)
	}
	t.settled = true
	t.log().Error("dead letter", "to", w.sub.policy.deadLetter, "stage", l.stage, "err", l.err)
	w.app.bury(t, l)
	return true
}
