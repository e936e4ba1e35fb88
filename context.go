package weir

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Delivery says where the record that a handler was called with lies, and
// which attempt the call is.
type Delivery struct {
	Topic     string
	Partition int32
	Offset    int64
	Attempt   int // from 1; counted anew after a restart or a rebalance
}

// DeliveryOf returns the delivery that a handler's context, or one derived from
// it, belongs to; false for any other context.
func DeliveryOf(ctx context.Context) (Delivery, bool) {
	t := taskOf(ctx)
	if t == nil {
		return Delivery{}, false
	}
	return Delivery{Topic: t.rec.Topic, Partition: t.rec.Partition, Offset: t.rec.Offset, Attempt: int(t.attempt)}, true
}

// Logger returns the App's logger with the delivery's topic, partition, offset
// and attempt; outside a handler, one that discards.
func Logger(ctx context.Context) *slog.Logger {
	t := taskOf(ctx)
	if t == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.log()
}

// task is one attempt at a record: the context the handler is called with, and
// what is left to do before the record is finished. The first attempt's task is
// the record's entry in the ledger; later attempts point to it. A task is never
// used again, so a context that a handler leaks stays true.
type task struct {
	p       *partition
	rec     *kgo.Record
	first   *task // the ledger's entry, if this is not it
	attempt int32

	left     atomic.Int32  // 1 for the handler, 1 for each unacknowledged record
	marks    atomic.Uint32 // refused, hopeless
	begun    atomic.Bool   // of the first attempt's task: rec and p are set
	finished atomic.Bool   // of the first attempt's task: the record is finished
	settled  bool          // the worker's: a further attempt was made, its dead letter is written, or it is left to the next owner
}

const (
	markRefused  = 1 << iota // a record it produced was refused
	markHopeless             // it cannot complete any more
)

// mark is true the first time.
func (t *task) mark(m uint32) bool { return t.marks.Or(m)&m == 0 }

// begin makes t the given attempt at rec.
func (t *task) begin(p *partition, rec *kgo.Record, attempt int32) {
	t.p, t.rec, t.attempt = p, rec, attempt
	t.left.Store(1)
	t.begun.Store(true)
}

// again returns the next attempt. The one before is never completed: its share
// of left is not given back.
func (t *task) again() *task {
	t.settled = true
	n := &task{first: t.entry()}
	n.begin(t.p, t.rec, t.attempt+1)
	return n
}

func (t *task) entry() *task {
	if t.first != nil {
		return t.first
	}
	return t
}

// add takes a share of the task for a record to be acknowledged; false if the
// task is already complete.
func (t *task) add() bool {
	for {
		left := t.left.Load()
		if left == 0 {
			return false // and is seen by nobody as anything else, not for a moment
		}
		if t.left.CompareAndSwap(left, left+1) {
			return true
		}
	}
}

// done gives one share back; the last one finishes the record.
func (t *task) done() {
	if t.left.Add(-1) == 0 {
		t.entry().finished.Store(true)
		t.p.finishedOne()
	}
}

func (t *task) log() *slog.Logger {
	return t.p.app.cfg.Logger.With("topic", t.rec.Topic, "partition", t.rec.Partition, "offset", t.rec.Offset, "attempt", t.attempt)
}

type taskKey struct{}

func taskOf(ctx context.Context) *task {
	if t, ok := ctx.(*task); ok {
		return t
	}
	t, _ := ctx.Value(taskKey{}).(*task)
	return t
}

// A task is a context whose life is its partition's.

func (t *task) Deadline() (time.Time, bool) { return time.Time{}, false }
func (t *task) Done() <-chan struct{}       { return t.p.ctx.Done() }
func (t *task) Err() error                  { return t.p.ctx.Err() }

func (t *task) Value(key any) any {
	if key == (taskKey{}) {
		return t
	}
	return t.p.ctx.Value(key)
}
