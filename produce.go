package weir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce writes a record from inside a handler; ctx is the handler's, or one
// derived from it. It returns once the record is buffered, waiting only while
// the client's buffer is full: the acknowledgement is awaited before the record
// being handled counts as finished, not by the handler. So a handler that fails
// after it produced, and is called again, produces again.
//
// Its errors are ErrNoHandler, ErrHandlerReturned, the context's, and those of
// the serdes, as Permanent. What the broker refuses for itself (a record too
// large) sends the record being handled to the dead letters; what it refuses for
// another reason (authorization) stops the App.
func Produce[K, V any](ctx context.Context, topic Topic[K, V], key K, value V, headers ...Header) error {
	t := taskOf(ctx)
	if t == nil {
		return fmt.Errorf("produce to %s: %w", topic.Name, ErrNoHandler)
	}
	if err := topic.validate(); err != nil {
		return Permanent(err)
	}
	k, err := topic.Key.Encode(key)
	if err != nil {
		return Permanent(fmt.Errorf("encode a key for %s: %w", topic.Name, err))
	}
	v, err := topic.Value.Encode(value)
	if err != nil {
		return Permanent(fmt.Errorf("encode a value for %s: %w", topic.Name, err))
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("produce to %s: %w", topic.Name, err)
	}
	if !t.add() {
		return fmt.Errorf("produce to %s: %w", topic.Name, ErrHandlerReturned)
	}
	t.p.app.send((*origin)(t), &kgo.Record{Topic: topic.Name, Key: k, Value: v, Headers: headers}, acked)
	return nil
}

// send buffers a record whose acknowledgement completes a share of a task. No context
// of a handler may reach the client: it would take back what a handler produced
// that cancels its own on return, and the client fails a whole batch of many
// handlers' records for the context of its first.
func (a *App) send(from context.Context, rec *kgo.Record, ack func(*kgo.Record, error)) {
	rec.Context = from
	a.client.Produce(a.produceCtx, rec, ack)
}

// origin is the task as a produced record carries it: a context with the task's
// values, for hooks that trace, which never ends though the task's does.
type origin task

func (*origin) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*origin) Done() <-chan struct{}       { return nil }
func (*origin) Err() error                  { return nil }
func (o *origin) Value(key any) any         { return (*task)(o).Value(key) }

// acked runs on the client's producer goroutine, in the order of each
// partition's batches, and must not wait.
func acked(rec *kgo.Record, err error) {
	t := (*task)(rec.Context.(*origin))
	if err == nil {
		t.done()
		return
	}
	err = fmt.Errorf("produce to %s: %w", rec.Topic, err)
	if !isRefusal(err) {
		t.giveUp(fmt.Errorf("weir: %s-%d offset %d: %w", t.p.topic, t.p.id, t.rec.Offset, err))
		return
	}
	if t.mark(markRefused) {
		t.p.refuse(refusal{t: t, err: err})
	} else {
		t.done()
	}
}

// giveUp stops the App for a record that cannot be finished.
func (t *task) giveUp(err error) {
	t.p.app.fail(err)
	if t.mark(markHopeless) {
		t.p.hopeless.Add(1)
		t.p.signal()
	}
}

// isRefusal tells errors that lie in the record from those that lie around it.
func isRefusal(err error) bool {
	return isTooLarge(err) || errors.Is(err, kerr.InvalidRecord) || errors.Is(err, kerr.InvalidTimestamp)
}

func isTooLarge(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}
