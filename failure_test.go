package weir_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir"
)

// The scenarios of this file are about records that fail, and about what a
// handler produces.

func contains(err error, part string) bool { return err != nil && strings.Contains(err.Error(), part) }

type stockError struct{ item string }

func (e *stockError) Error() string { return fmt.Sprintf("no item %q in store 7", e.item) }

// permanent checks the dead letter to the byte.
func permanent(c *cluster) {
	topic := c.topic("orders", 2)
	c.t.Cleanup(func() {})
	at := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	c.produceRecords(
		&kgo.Record{Topic: topic, Partition: 1, Key: []byte("a"), Value: []byte("fine")},
		&kgo.Record{Topic: topic, Partition: 1, Value: []byte("bad"), Timestamp: at, Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("x")}, {Key: "trace"}}},
		&kgo.Record{Topic: topic, Partition: 1, Key: []byte("c"), Value: []byte("fine")},
	)
	var calls atomic.Int32
	before := time.Now().Truncate(time.Millisecond)
	m := c.start("permanent", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			calls.Add(1)
			if r.Value == "bad" {
				return fmt.Errorf("book: %w", weir.Permanent(&stockError{"lamp"}))
			}
			return nil
		})
	})
	r := c.read(topic+".dlq", 1)[0]
	c.eventually("the offset counts", func() bool { return c.committed(c.name("permanent"), topic)[1] == 3 })
	m.quit()
	if calls.Load() != 3 {
		c.t.Errorf("%d attempts at 3 records, one of them bad for good", calls.Load())
	}
	if r.Key != nil || string(r.Value) != "bad" || !r.Timestamp.Equal(at) {
		c.t.Errorf("dead letter %q=%q of %v, want null=bad of %v", r.Key, r.Value, r.Timestamp, at)
	}
	var got []string
	for _, h := range r.Headers {
		got = append(got, h.Key+"="+string(h.Value))
	}
	want := []string{
		"trace=x", "trace=",
		"__streams.errors.exception=*weir_test.stockError",
		"__streams.errors.stacktrace=*fmt.wrapError: book: no item \"lamp\" in store 7\n*weir_test.stockError: no item \"lamp\" in store 7\n",
		"__streams.errors.message=book: no item \"lamp\" in store 7",
		"__streams.errors.topic=" + topic, "__streams.errors.partition=1", "__streams.errors.offset=1",
		"weir.dlq.app=" + c.name("permanent"), "weir.dlq.node=handle/" + topic, "weir.dlq.attempts=1",
		"weir.dlq.first-failed-at=", "weir.dlq.fingerprint=", "weir.dlq.stage=handle",
	}
	if len(got) != len(want) {
		c.t.Fatalf("headers\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, w := range want {
		switch {
		case strings.HasPrefix(w, "weir.dlq.first-failed-at="):
			failed, err := time.Parse(time.RFC3339, strings.TrimPrefix(got[i], w))
			if err != nil || failed.Before(before) || failed.After(time.Now()) || !strings.HasSuffix(got[i], "Z") {
				c.t.Errorf("%s: %v; want a time since %v", got[i], err, before)
			}
		case strings.HasPrefix(w, "weir.dlq.fingerprint="):
			if len(got[i]) != len(w)+16 {
				c.t.Errorf("%s, want 16 digits", got[i])
			}
		case got[i] != w:
			c.t.Errorf("header %q, want %q", got[i], w)
		}
	}
}

func header(r *kgo.Record, key string) (value string) {
	for _, h := range r.Headers {
		if h.Key == key {
			value = string(h.Value)
		}
	}
	return value
}

func attemptsUsedUp(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 3)
	var mu sync.Mutex
	var attempts []int
	m := c.start("attempts", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			d, _ := weir.DeliveryOf(ctx)
			mu.Lock()
			attempts = append(attempts, int(r.Offset)*10+d.Attempt)
			mu.Unlock()
			if r.Offset == 1 {
				return fmt.Errorf("attempt %d", d.Attempt)
			}
			return nil
		}, weir.DeadLetter(topic+".bad"), weir.MaxAttempts(3), weir.Backoff(time.Millisecond, time.Millisecond))
	})
	r := c.read(topic+".bad", 1)[0]
	c.eventually("the offset counts", func() bool { return c.committed(c.name("attempts"), topic)[0] == 3 })
	m.quit()
	if got := fmt.Sprint(attempts); got != "[1 11 12 13 21]" {
		c.t.Errorf("attempts %s (offset and attempt), want [1 11 12 13 21]", got)
	}
	if a, msg := header(r, "weir.dlq.attempts"), header(r, "__streams.errors.message"); a != "3" || msg != "attempt 3" {
		c.t.Errorf("dead letter of %s attempts with message %q, want 3 and the last one's", a, msg)
	}
	if s := m.Stats().Topics[topic]; s.Handled != 3 || s.DeadLettered != 1 || s.Retried != 2 {
		c.t.Errorf("stats %+v, want 3 handled, 1 dead letter, 2 retried", s)
	}
}

func decodeFailure(c *cluster) {
	topic := c.topic("orders", 1)
	c.produceRecords(
		&kgo.Record{Topic: topic, Key: []byte("12345678"), Value: []byte(`{"n":1}`)},
		&kgo.Record{Topic: topic, Key: []byte("1234"), Value: []byte(`{"n":2}`)},
		&kgo.Record{Topic: topic, Key: []byte("12345678"), Value: []byte(`{"n":`)},
		&kgo.Record{Topic: topic, Key: []byte("12345678")},
	)
	type order struct{ N int }
	var calls atomic.Int32
	m := c.start("decode", func(app *weir.App) {
		weir.Handle(app, weir.Topic[int64, order]{Name: topic, Key: weir.Int64(), Value: weir.JSON[order]()},
			func(context.Context, weir.Record[int64, order]) error { calls.Add(1); return nil })
	})
	recs := c.read(topic+".dlq", 3)
	m.quit()
	if calls.Load() != 1 {
		c.t.Errorf("the handler was called %d times, want for the first record only", calls.Load())
	}
	for _, want := range []struct{ offset, message string }{
		{"1", "decode the key: an Int64 has 8 bytes, not 4"},
		{"2", "decode the value: unexpected end of JSON input"},
		{"3", "decode the value: null, which this type cannot hold"},
	} {
		found := false
		for _, r := range recs {
			if header(r, "__streams.errors.offset") != want.offset {
				continue
			}
			found = true
			if header(r, "weir.dlq.stage") != "decode" || header(r, "__streams.errors.message") != want.message || header(r, "weir.dlq.attempts") != "1" {
				c.t.Errorf("offset %s: headers %v, want %q", want.offset, r.Headers, want.message)
			}
		}
		if !found {
			c.t.Errorf("no dead letter for offset %s", want.offset)
		}
	}
}

// deadLetterNotAcked holds the dead letter back on the network: until it is
// acknowledged, nothing from its record on is committed.
func deadLetterNotAcked(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 10)
	h := newHandled()
	var m *member
	ready := make(chan struct{})
	m = c.start("unacked", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			<-ready
			h.add("", r.Partition, r.Offset)
			if r.Offset == 4 {
				return weir.Permanent(errors.New("bad"))
			}
			return nil
		})
	})
	m.net.holdBack(produceKey)
	close(ready)
	c.eventually("all handled", func() bool { return h.total() == 10 })
	c.eventually("committed up to the bad one", func() bool { return c.committed(c.name("unacked"), topic)[0] == 4 })
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		if o := c.committed(c.name("unacked"), topic)[0]; o > 4 {
			c.t.Fatalf("committed up to %d while the dead letter of record 4 is not acknowledged", o)
		}
	}
	if s := m.Stats().Topics[topic]; s.DeadLettered != 0 || s.Handled != 4 || s.Partitions[0].InFlight != 6 {
		c.t.Errorf("stats %+v, want 4 handled, 6 in flight, no dead letter yet", s)
	}
	m.net.release()
	c.eventually("all committed", func() bool { return c.committed(c.name("unacked"), topic)[0] == 10 })
	m.quit()
}

// deadLetterRefused has the client refuse even the smallest dead letter.
func deadLetterRefused(c *cluster) {
	topic := c.topic("orders", 1)
	c.produceRecords(&kgo.Record{Topic: topic, Value: []byte("fine")}, &kgo.Record{Topic: topic, Value: []byte("worse")}, &kgo.Record{Topic: topic, Value: []byte("fine")})
	m := c.start("refused", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(_ context.Context, r weir.Record[string, string]) error {
			if r.Value == "worse" {
				return weir.Permanent(errors.New(strings.Repeat("bad ", 100)))
			}
			return nil
		})
	}, func(cfg *weir.Config) { cfg.Client = append(cfg.Client, kgo.ProducerBatchMaxBytes(512)) })
	if err := m.failure(); !contains(err, "dead letter of "+topic+"-0 offset 1 to "+topic+".dlq") {
		c.t.Errorf("Run returned %v", err)
	}
	if o := c.committed(c.name("refused"), topic)[0]; o != 1 {
		c.t.Errorf("committed up to %d, want 1", o)
	}
}

func noDeadLetter(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 5)
	bad := errors.New("bad record")
	h := newHandled()
	handle := func(fail bool) func(*weir.App) {
		return func(app *weir.App) {
			weir.Handle(app, texts(topic), func(_ context.Context, r weir.Record[string, string]) error {
				if fail && r.Offset == 2 {
					return weir.Permanent(bad)
				}
				h.add("", r.Partition, r.Offset)
				return nil
			}, weir.NoDeadLetter())
		}
	}
	m := c.start("none", handle(true))
	if err := m.failure(); !errors.Is(err, bad) || !contains(err, topic+"-0 offset 2") {
		c.t.Errorf("Run returned %v, want the handler's error and its place", err)
	}
	m = c.start("none", handle(false))
	c.eventually("the rest", func() bool { return h.total() == 5 })
	m.quit()
	h.onceInOrder(c.t, 1, 5)
}

// commitOnlyContiguous: every third record produces, and acknowledgements are held
// back. Whatever was handled behind the first such record stays uncommitted.
func commitOnlyContiguous(c *cluster) {
	in, out := c.topic("orders", 1), c.topic("thirds", 1)
	c.produce(in, 1, 100)
	h := newHandled()
	ready := make(chan struct{})
	m := c.start("contiguous", func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			<-ready
			defer h.add("", r.Partition, r.Offset)
			if r.Offset >= 10 && r.Offset%3 == 0 {
				return weir.Produce(ctx, texts(out), r.Key, r.Value)
			}
			return nil
		})
	})
	m.net.holdBack(produceKey)
	close(ready)
	c.eventually("all handled", func() bool { return h.total() == 100 })
	c.eventually("committed up to the first unacknowledged", func() bool { return c.committed(c.name("contiguous"), in)[0] == 12 })
	time.Sleep(time.Second)
	if o := c.committed(c.name("contiguous"), in)[0]; o != 12 {
		c.t.Errorf("committed up to %d, want 12", o)
	}
	m.net.release()
	c.eventually("all committed", func() bool { return c.committed(c.name("contiguous"), in)[0] == 100 })
	m.quit()
	if n := c.end(out); n != 30 {
		c.t.Errorf("%d records produced, want 30", n)
	}
}

// inFlightBounded: while nothing is acknowledged, handlers stop being called.
func inFlightBounded(c *cluster) {
	in, out := c.topic("orders", 1), c.topic("copies", 1)
	c.produce(in, 1, 1000)
	h := newHandled()
	ready := make(chan struct{})
	m := c.start("in-flight", func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			<-ready
			h.add("", r.Partition, r.Offset)
			return weir.Produce(ctx, texts(out), r.Key, r.Value)
		})
	}, func(cfg *weir.Config) { cfg.MaxInFlight = 128 })
	m.net.holdBack(produceKey)
	close(ready)
	c.eventually("as many handled as may be in flight", func() bool { return h.total() == 128 })
	time.Sleep(time.Second)
	if n, s := h.total(), m.Stats().Topics[in].Partitions[0]; n != 128 || s.InFlight != 128 || s.Lag != 1000 {
		c.t.Errorf("%d handled, %+v; want 128 in flight and a lag of 1000", n, s)
	}
	m.net.release()
	c.eventually("all handled", func() bool { return h.total() == 1000 })
	m.quit()
	h.onceInOrder(c.t, 1, 1000)
	if n := c.end(out); n != 1000 {
		c.t.Errorf("%d records produced", n)
	}
}

// queuedBytesBounded: large records fill a queue before MaxQueued does.
func queuedBytesBounded(c *cluster) {
	topic := c.topic("orders", 2)
	var recs []*kgo.Record
	for range 100 {
		recs = append(recs, &kgo.Record{Topic: topic, Partition: 0, Value: bytes.Repeat([]byte("x"), 10_000)})
	}
	c.produceRecords(recs...)
	end := make(chan struct{})
	m := c.start("bytes", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			<-end
			return nil
		})
	}, func(cfg *weir.Config) {
		cfg.MaxQueuedBytes = 100_000
		cfg.Client = append(cfg.Client, kgo.FetchMaxPartitionBytes(50_000))
	})
	c.eventually("it is paused", func() bool { return m.Stats().Topics[topic].Partitions[0].Paused })
	time.Sleep(time.Second)
	if n := m.Stats().Topics[topic].Partitions[0].Queued; n > 99 {
		c.t.Errorf("%d records of 10 kB are queued, want about 10", n)
	}
	close(end)
	c.eventually("all handled", func() bool { return m.Stats().Topics[topic].Handled == 100 })
	m.quit()
}

// produceAwaited: a graceful stop waits for acknowledgements before it commits.
func produceAwaited(c *cluster) {
	in, out := c.topic("orders", 2), c.topic("copies", 2)
	c.produce(in, 2, 50)
	h := newHandled()
	m := c.start("awaited", func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			h.add("", r.Partition, r.Offset)
			inner, cancel := context.WithCancel(ctx)
			defer cancel() // must not take back what was produced
			return weir.Produce(inner, texts(out), r.Key, r.Value, weir.Header{Key: "from", Value: []byte(r.Topic)})
		})
	}, func(cfg *weir.Config) { cfg.Client = append(cfg.Client, kgo.ProducerLinger(300*time.Millisecond)) })
	c.eventually("all handled", func() bool { return h.total() == 100 })
	m.quit()
	if got := c.committed(c.name("awaited"), in); got[0] != 50 || got[1] != 50 {
		c.t.Errorf("committed %v, want 50 each", got)
	}
	recs := c.read(out, 100)
	if len(recs) != 100 || header(recs[0], "from") != in {
		c.t.Errorf("%d copies, headers %v", len(recs), recs[0].Headers)
	}
}

// produceRefused: what the handler produced is too large; nobody but the
// record is to blame.
func produceRefused(c *cluster) {
	in, out := c.topic("orders", 1), c.topic("copies", 1)
	c.produce(in, 1, 10)
	var calls atomic.Int32
	m := c.start("too-large", func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			calls.Add(1)
			value := r.Value
			if r.Offset == 3 {
				value = strings.Repeat("x", 5000)
			}
			return errors.Join(weir.Produce(ctx, texts(out), r.Key, value), weir.Produce(ctx, texts(out), r.Key, value))
		})
	}, func(cfg *weir.Config) { cfg.Client = append(cfg.Client, kgo.ProducerBatchMaxBytes(2048)) })
	r := c.read(in+".dlq", 1)[0]
	c.eventually("the offset counts", func() bool { return c.committed(c.name("too-large"), in)[0] == 10 })
	m.quit()
	if header(r, "weir.dlq.stage") != "produce" || header(r, "__streams.errors.offset") != "3" || calls.Load() != 10 {
		c.t.Errorf("dead letter %v after %d calls, want stage produce of offset 3 after 10", r.Headers, calls.Load())
	}
	if n := c.end(in + ".dlq"); n != 1 {
		c.t.Errorf("%d dead letters, want 1", n)
	}
}

// syncBuffer is a log for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func explode(v string) { panic("cannot bear " + v) }

func panicIsAFailedAttempt(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 2)
	var log syncBuffer
	m := c.start("panic", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			weir.Logger(ctx).Info("handling")
			if r.Offset == 0 {
				explode(r.Value)
			}
			return nil
		}, weir.MaxAttempts(2), weir.Backoff(0, 0))
	}, logTo(slog.NewTextHandler(&log, nil)))
	r := c.read(topic+".dlq", 1)[0]
	c.eventually("the offset counts", func() bool { return c.committed(c.name("panic"), topic)[0] == 2 })
	m.quit()
	if header(r, "weir.dlq.attempts") != "2" || header(r, "__streams.errors.message") != "handler panicked: cannot bear 0" || !strings.Contains(header(r, "__streams.errors.stacktrace"), "explode") {
		c.t.Errorf("dead letter %v", r.Headers)
	}
	text := log.String()
	if n := strings.Count(text, "handler panicked"); n < 2 || !strings.Contains(text, "weir_test.explode") {
		c.t.Errorf("the log shows %d panics, want both attempts with their stack:\n%s", n, text)
	}
	if !strings.Contains(text, "msg=handling topic="+topic+" partition=0 offset=0 attempt=2") {
		c.t.Errorf("the handler's logger does not say where it is:\n%s", text)
	}
}
