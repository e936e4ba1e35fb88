package weir

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// HandleOption changes how one topic's records are handled.
type HandleOption func(*policy)

// policy is what happens when an attempt fails.
type policy struct {
	maxAttempts  int
	backoffFirst time.Duration
	backoffMax   time.Duration
	deadLetter   string // "": the App stops with the error instead
}

func defaultPolicy(topic string) policy {
	return policy{maxAttempts: 5, backoffFirst: 100 * time.Millisecond, backoffMax: 10 * time.Second, deadLetter: topic + ".dlq"}
}

// MaxAttempts is how often a record is tried, the first attempt included.
// Default 5.
func MaxAttempts(n int) HandleOption { return func(p *policy) { p.maxAttempts = n } }

// Backoff sets the waits between attempts: before attempt n+1 a random time up
// to first·2^(n-1), and never more than max. Default 100 ms and 10 s.
func Backoff(first, max time.Duration) HandleOption {
	return func(p *policy) { p.backoffFirst, p.backoffMax = first, max }
}

// DeadLetter names the topic for records that cannot be decoded or handled.
// Default: the topic's name with ".dlq". It is created when it is missing. A
// dead letter larger than the topic's max.message.bytes, or than the client's
// kgo.ProducerBatchMaxBytes (1,048,588), leaves out its stack trace, then the value,
// then key and headers; the header weir.dlq.omitted says so.
func DeadLetter(topic string) HandleOption { return func(p *policy) { p.deadLetter = topic } }

// NoDeadLetter stops the App with the error instead: App.Run returns it, the
// record stays unfinished, and the next start tries it again.
func NoDeadLetter() HandleOption { return func(p *policy) { p.deadLetter = "" } }

func (p policy) validate(topic string) error {
	var errs []error
	if p.maxAttempts < 1 {
		errs = append(errs, fmt.Errorf("weir: Handle(%s): MaxAttempts is %d; the first attempt counts, so it is at least 1", topic, p.maxAttempts))
	}
	if p.backoffFirst < 0 || p.backoffFirst > p.backoffMax {
		errs = append(errs, fmt.Errorf("weir: Handle(%s): Backoff first (%v) must lie between 0 and max (%v)", topic, p.backoffFirst, p.backoffMax))
	}
	if p.deadLetter == topic {
		errs = append(errs, fmt.Errorf("weir: Handle(%s): DeadLetter is %s, the topic being handled; its dead letters would come back to it", topic, p.deadLetter))
	}
	return errors.Join(errs...)
}

// subscription is one handled topic.
type subscription struct {
	topic  string
	policy policy
	call   func(*task) error // decodes, then calls the user's function

	retried      atomic.Int64
	deadLettered atomic.Int64
}

// Handle has the App call fn with every record of the topic. All errors in its
// arguments are returned together by App.Run, before anything is consumed.
//
// A record for which fn returns nil is finished once what fn produced is
// acknowledged. For any other error, and for a panic, fn is called again after
// a backoff, up to MaxAttempts, while later records of the partition wait; then,
// or at once for a Permanent error, the record goes to the dead letters.
//
// Delivery is at least once: after a crash the records since the last commit
// come again, so effects outside Kafka should bear repeating.
func Handle[K, V any](app *App, topic Topic[K, V], fn func(ctx context.Context, rec Record[K, V]) error, opts ...HandleOption) {
	pol := defaultPolicy(topic.Name)
	for _, o := range opts {
		o(&pol)
	}
	err := topic.validate()
	if fn == nil {
		err = errors.Join(err, fmt.Errorf("weir: Handle(%s): the handler is nil", topic.Name))
	}
	app.subscribe(&subscription{topic: topic.Name, policy: pol, call: typed(topic, fn)}, errors.Join(err, pol.validate(topic.Name)))
}

// typed binds a handler to its topic's serdes.
func typed[K, V any](topic Topic[K, V], fn func(context.Context, Record[K, V]) error) func(*task) error {
	return func(t *task) error {
		r := t.rec
		key, err := topic.Key.Decode(r.Key)
		if err != nil {
			return &decodeError{"key", err}
		}
		value, err := topic.Value.Decode(r.Value)
		if err != nil {
			return &decodeError{"value", err}
		}
		return fn(t, Record[K, V]{
			Key: key, Value: value, Headers: r.Headers, Timestamp: r.Timestamp,
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		})
	}
}
