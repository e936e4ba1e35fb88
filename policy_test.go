package weir

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestConfigValidation(t *testing.T) {
	ok := Config{Brokers: []string{"localhost:9092"}, Group: "billing"}
	for _, tc := range []struct {
		change func(*Config)
		want   []string // what the message names; none: valid
	}{
		{func(*Config) {}, nil},
		{func(c *Config) { c.Brokers, c.Group = nil, "" }, []string{"Brokers is empty", "Group is empty"}},
		{func(c *Config) { c.DrainTimeout = time.Minute }, []string{"DrainTimeout (1m0s) must be below RebalanceTimeout (1m0s)"}},
		{func(c *Config) { c.RebalanceTimeout, c.DrainTimeout = 5*time.Second, 6*time.Second }, []string{"DrainTimeout (6s)", "RebalanceTimeout (5s)"}},
		{func(c *Config) { c.RebalanceTimeout = 5 * time.Second }, nil}, // DrainTimeout follows
		{func(c *Config) { c.HeartbeatInterval, c.SessionTimeout = 9*time.Second, 6*time.Second }, []string{"HeartbeatInterval (9s) must be below SessionTimeout (6s)"}},
		{func(c *Config) { c.SessionTimeout = 2 * time.Second }, nil}, // HeartbeatInterval follows
		{func(c *Config) { c.CommitInterval, c.MaxQueued = -1, -2 }, []string{"CommitInterval is negative", "MaxQueued is negative (-2)"}},
		{func(c *Config) { c.MaxQueuedBytes, c.MaxInFlight = -1, -1 }, []string{"MaxQueuedBytes", "MaxInFlight"}},
	} {
		cfg := ok
		tc.change(&cfg)
		_, err := New(cfg)
		if (err == nil) != (tc.want == nil) {
			t.Errorf("New(%+v): %v, want %q", cfg, err, tc.want)
		}
		for _, w := range tc.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("the message does not say %q:\n%v", w, err)
			}
		}
	}
}

// TestHandleValidation: Run returns everything Handle had to object to, before
// it connects to anything.
func TestHandleValidation(t *testing.T) {
	nothing := func(context.Context, Record[string, string]) error { return nil }
	text := Topic[string, string]{Name: "orders", Key: String(), Value: String()}
	for _, tc := range []struct {
		name   string
		handle func(*App)
		want   []string
	}{
		{"no handler", func(*App) {}, []string{"handles no topic"}},
		{"twice", func(a *App) { Handle(a, text, nothing); Handle(a, text, nothing) }, []string{"orders is handled twice"}},
		{"no serdes", func(a *App) { Handle(a, Topic[string, string]{Name: "a"}, nothing) }, []string{"topic a: Key is not set"}},
		{"no value", func(a *App) { Handle(a, Topic[string, string]{Name: "a", Key: String()}, nothing) }, []string{"topic a: Value is not set"}},
		{"no name", func(a *App) { Handle(a, Topic[string, string]{}, nothing) }, []string{"no Name"}},
		{"nil", func(a *App) { Handle(a, text, nil) }, []string{"Handle(orders): the handler is nil"}},
		{"options", func(a *App) {
			Handle(a, text, nothing, MaxAttempts(0), Backoff(time.Minute, time.Second), DeadLetter("orders"))
		}, []string{"MaxAttempts is 0", "Backoff first (1m0s) must lie between 0 and max (1s)", "DeadLetter is orders, the topic being handled"}},
		{"two topics", func(a *App) {
			Handle(a, text, nothing, MaxAttempts(0))
			Handle(a, Topic[string, string]{Name: "b"}, nothing)
		}, []string{"Handle(orders): MaxAttempts", "topic b: Key"}},
	} {
		app, err := New(Config{Brokers: []string{"localhost:1"}, Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		tc.handle(app)
		err = app.Run(context.Background())
		for _, w := range tc.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: Run returned %v, want %q", tc.name, err, w)
			}
		}
	}
}

func TestBackoff(t *testing.T) {
	p := policy{backoffFirst: 100 * time.Millisecond, backoffMax: 10 * time.Second}
	most := func() float64 { return 1 }
	for n, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 8: 10 * time.Second, 1000: 10 * time.Second} {
		if got := p.backoff(n, most); got != want {
			t.Errorf("at most %v after attempt %d, want %v", got, n, want)
		}
		if got := p.backoff(n, func() float64 { return 0.25 }); got != want/4 {
			t.Errorf("%v after attempt %d with a quarter of jitter, want %v", got, n, want/4)
		}
	}
	if got := (policy{}).backoff(3, most); got != 0 {
		t.Errorf("%v without a backoff", got)
	}
}

func TestPermanentError(t *testing.T) {
	base := errors.New("gone")
	err := fmt.Errorf("charge: %w", Permanent(base))
	if !isPermanent(err) || !errors.Is(err, base) || err.Error() != "charge: gone" || isPermanent(base) {
		t.Errorf("permanent %v, is base %v, says %q", isPermanent(err), errors.Is(err, base), err)
	}
	if Permanent(nil) != nil {
		t.Error("Permanent(nil) is not nil")
	}
	if p := (&panicError{value: base}); !errors.Is(p, base) {
		t.Error("a panic with an error does not wrap it")
	}
	if p := (&panicError{value: "text"}); errors.Unwrap(p) != nil {
		t.Error("a panic with a text wraps something")
	}
}

func TestFingerprint(t *testing.T) {
	same := func(a, b error) bool { return fingerprint(stageHandle, a) == fingerprint(stageHandle, b) }
	a := errors.New(`order 4711 of "Smith": no item 12.50`)
	if b := errors.New(`order 9 of "O. 'Hara": no item 3.1`); !same(a, b) {
		t.Error("numbers or quoted text make a difference")
	}
	if !same(a, Permanent(a)) {
		t.Error("Permanent makes a difference")
	}
	for _, b := range []error{errors.New(`order 4711 of "Smith": no price 12.50`), &panicError{value: a.Error()}, fmt.Errorf("book: %w", a)} {
		if same(a, b) {
			t.Errorf("%q and %q are taken for the same", a, b)
		}
	}
	if fingerprint(stageHandle, a) == fingerprint(stageDecode, a) {
		t.Error("the stage makes no difference")
	}
	if got := pattern("id=550e8400 `x` \"y"); got != `id=0e0 " "` {
		t.Errorf("pattern %q", got)
	}
}

// TestLetterIsCut: an endless message must not make the dead letter too large to
// be written.
func TestLetterIsCut(t *testing.T) {
	rec := &kgo.Record{Topic: "orders", Partition: 3, Offset: 9, Headers: []Header{{Key: "own"}}}
	l := letter{err: errors.New(strings.Repeat("ä", 100_000)), stage: stageHandle, attempts: 5}
	dead := l.record(rec, "billing", "orders.dlq")
	size := 0
	for _, h := range dead.Headers {
		size += len(h.Key) + len(h.Value)
	}
	if size > maxMessageBytes+maxStacktraceBytes+1024 {
		t.Errorf("headers of %d bytes", size)
	}
	if len(rec.Headers) != 1 || cap(rec.Headers) > 1 && rec.Headers[:2][1].Key != "" {
		t.Error("the record's own headers were changed")
	}
	if s := cut("aä", 2); s != "a…" {
		t.Errorf("cut within a rune: %q", s)
	}
}

func TestTypeName(t *testing.T) {
	for want, err := range map[string]error{
		"*errors.errorString": fmt.Errorf("a: %w", Permanent(errors.New("b"))),
		"*weir.panicError":    &panicError{value: 1},
		"*fmt.wrapErrors":     fmt.Errorf("%w %w", errors.New("a"), errors.New("b")),
	} {
		if got := typeName(err); got != want {
			t.Errorf("%q has type %s, want %s", err, got, want)
		}
	}
}

func TestProduceOutsideAHandler(t *testing.T) {
	topic := Topic[string, string]{Name: "orders", Key: String(), Value: String()}
	if err := Produce(context.Background(), topic, "k", "v"); !errors.Is(err, ErrNoHandler) {
		t.Errorf("without a handler: %v", err)
	}
	if _, ok := DeliveryOf(context.Background()); ok {
		t.Error("a context without a handler has a delivery")
	}
	Logger(context.Background()).Info("discarded")

	p := testPartition()
	tk := new(task)
	tk.begin(p, &kgo.Record{Topic: "orders"}, 1)
	inner, cancel := context.WithCancel(tk)
	if err := Produce(inner, Topic[string, string]{Name: "orders"}, "k", "v"); !isPermanent(err) {
		t.Errorf("a topic without serdes: %v", err)
	}
	if err := Produce(inner, Topic[string, chan int]{Name: "orders", Key: String(), Value: JSON[chan int]()}, "k", make(chan int)); !isPermanent(err) {
		t.Errorf("a value that cannot be encoded: %v", err)
	}
	cancel()
	if err := Produce(inner, topic, "k", "v"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	tk.done()
	if err := Produce(tk, topic, "k", "v"); !errors.Is(err, ErrHandlerReturned) {
		t.Errorf("after the handler: %v", err)
	}
}
