package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// refusals hears what a broker answers to Produce while nothing is acknowledged.
// The client retries such answers and tells them to its log only, at the debug
// level, so that level is in force only while acknowledgements fail to come.
type refusals struct {
	patience time.Duration // from the first refusal, without an acknowledgement
	after    time.Duration // without an acknowledgement, to listen
	now      func() time.Time

	mu struct {
		sync.Mutex
		acked time.Time // or the start
		since time.Time // of the first refusal after acked; zero: none
		last  error
	}
}

var _ kgo.Logger = (*refusals)(nil)

func newRefusals(patience time.Duration, now func() time.Time) *refusals {
	r := &refusals{patience: patience, after: min(time.Second, patience/4), now: now}
	r.mu.acked = now()
	return r
}

// retried is how the client writes an answer that it will try again.
var retried = regexp.MustCompile(`retrying@[^(]*\(([A-Z_]+)`)

// Level is asked by the client before every message.
func (r *refusals) Level() kgo.LogLevel {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now().Sub(r.mu.acked) >= r.after {
		return kgo.LogLevelDebug
	}
	return kgo.LogLevelNone
}

// Log keeps the last refusal among what the client says.
func (r *refusals) Log(_ kgo.LogLevel, _ string, keyvals ...any) {
	for _, v := range keyvals {
		var kafka *kerr.Error
		if err, ok := v.(error); ok && errors.As(err, &kafka) && kafka.Retriable {
			r.refused(kafka) // of the request for a producer's id
		}
		text, ok := v.(string)
		if !ok {
			continue
		}
		found := retried.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		if err := errorNamed(found[1]); err != nil {
			r.refused(err)
		}
	}
}

func (r *refusals) refused(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.since.IsZero() {
		r.mu.since = r.now()
	}
	r.mu.last = err
}

func (r *refusals) acknowledged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.acked, r.mu.since, r.mu.last = r.now(), time.Time{}, nil
}

// cause is the last refusal since the last acknowledgement, or nil.
func (r *refusals) cause() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.last == nil {
		return nil
	}
	return fmt.Errorf("the broker answers again and again: %w", r.mu.last)
}

// watch calls giveUp, once, when the broker has refused for too long.
func (r *refusals) watch(ctx context.Context, giveUp func()) {
	tick := time.NewTicker(r.after / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		over := !r.mu.since.IsZero() && r.now().Sub(r.mu.since) >= r.patience
		r.mu.Unlock()
		if over {
			giveUp()
			return
		}
	}
}

// errorNamed finds an error of the protocol by its name, or nil.
func errorNamed(name string) error {
	for code := int16(1); code < 200; code++ {
		var e *kerr.Error
		if errors.As(kerr.ErrorForCode(code), &e) && e.Message == name {
			return e
		}
	}
	return nil
}
