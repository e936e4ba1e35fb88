package weir_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir"
)

// The scenarios of this file are about dead letters that do not fit, and about
// how many there are for one record.

// deadLetterTooLarge: what does not fit is left out, in the order of its worth.
func deadLetterTooLarge(c *cluster) {
	topic := c.topic("orders", 1)
	long, longer := bytes.Repeat([]byte("x"), 1500), bytes.Repeat([]byte("x"), 3000)
	own := []kgo.RecordHeader{{Key: "trace", Value: []byte("7")}}
	c.produceRecords(
		&kgo.Record{Topic: topic, Key: []byte("k"), Value: long, Headers: own},
		&kgo.Record{Topic: topic, Key: []byte("k"), Value: longer, Headers: own},
		&kgo.Record{Topic: topic, Key: longer, Value: []byte("v"), Headers: own},
		&kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "trace", Value: longer}}},
	)
	m := c.start("large", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(_ context.Context, r weir.Record[string, string]) error {
			return weir.Permanent(errors.New(strings.Repeat("no ", 200)))
		})
	}, func(cfg *weir.Config) {
		cfg.Client = append(cfg.Client, kgo.ProducerBatchMaxBytes(3072), kgo.ProducerBatchCompression(kgo.NoCompression()))
	})
	c.eventually("the offsets count", func() bool { return c.committed(c.name("large"), topic)[0] == 4 })
	m.quit()
	want := map[string]struct {
		key, value, own int
		omitted         string
	}{
		"0": {1, 1500, 1, ""},
		"1": {1, 0, 1, fmt.Sprintf("value; the value has 3000 bytes and lies in %s-0 at offset 1", topic)},
		"2": {0, 0, 0, fmt.Sprintf("key, value and headers; the value has 1 bytes and lies in %s-0 at offset 2", topic)},
		"3": {0, 0, 0, fmt.Sprintf("key, value and headers; the value has 1 bytes and lies in %s-0 at offset 3", topic)},
	}
	for _, r := range c.read(topic+".dlq", 4) {
		offset := header(r, "__streams.errors.offset")
		w, ok := want[offset]
		delete(want, offset)
		own := 0
		if header(r, "trace") != "" {
			own = 1
		}
		if !ok || len(r.Key) != w.key || len(r.Value) != w.value || own != w.own || header(r, "weir.dlq.omitted") != w.omitted {
			c.t.Errorf("dead letter of offset %s: key of %d, value of %d bytes, %v; want %+v", offset, len(r.Key), len(r.Value), r.Headers, w)
		}
		if header(r, "__streams.errors.stacktrace") != "" || header(r, "weir.dlq.stage") != "handle" {
			c.t.Errorf("dead letter of offset %s: headers %v, want no stack trace", offset, r.Headers)
		}
	}
	if n := c.end(topic + ".dlq"); n != 4 || len(want) != 0 {
		c.t.Errorf("%d dead letters, none of offsets %v; want one each", n, want)
	}
}

// deadLetterOfTheLargestRecord that a broker takes by default, or almost: it
// has room for all but what it says itself.
func deadLetterOfTheLargestRecord(c *cluster) {
	topic := c.topic("orders", 1)
	for _, n := range []int{1_040_000, 1_048_500} {
		c.produceWith([]*kgo.Record{{Topic: topic, Value: bytes.Repeat([]byte("x"), n)}}, kgo.ProducerBatchMaxBytes(1<<20+12))
	}
	m := c.start("largest", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(_ context.Context, r weir.Record[string, string]) error {
			return weir.Permanent(errors.New("bad"))
		})
	}, func(cfg *weir.Config) {
		cfg.Client = append(cfg.Client, kgo.ProducerBatchCompression(kgo.NoCompression()))
	})
	c.eventually("the offsets count", func() bool { return c.committed(c.name("largest"), topic)[0] == 2 })
	m.quit()
	for _, r := range c.read(topic+".dlq", 2) {
		switch header(r, "__streams.errors.offset") {
		case "0":
			if len(r.Value) != 1_040_000 || header(r, "__streams.errors.stacktrace") == "" {
				c.t.Errorf("a dead letter that fits has %d bytes and headers %v", len(r.Value), r.Headers)
			}
		case "1":
			if r.Value != nil || !strings.HasPrefix(header(r, "weir.dlq.omitted"), "value; the value has 1048500 bytes") {
				c.t.Errorf("a dead letter that does not fit has %d bytes and headers %v", len(r.Value), r.Headers)
			}
		}
	}
}

// oneDeadLetterForTwoReasons: the handler failed and what it had produced was
// refused, before its return or after.
func oneDeadLetterForTwoReasons(c *cluster) {
	in, out := c.topic("orders", 1), c.topic("copies", 1)
	c.produce(in, 1, 4)
	huge := strings.Repeat("x", 3<<20)
	m := c.start("two", func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			d, _ := weir.DeliveryOf(ctx)
			if r.Offset == 3 || r.Offset == 2 && d.Attempt == 2 {
				return nil
			}
			if err := weir.Produce(ctx, texts(out), r.Key, huge); err != nil {
				return err
			}
			if r.Offset > 0 {
				time.Sleep(200 * time.Millisecond)
			}
			if r.Offset == 2 {
				return errors.New("once more")
			}
			return weir.Permanent(errors.New("bad"))
		}, quickRetries()...)
	})
	c.eventually("the offsets count", func() bool { return c.committed(c.name("two"), in)[0] == 4 })
	m.quit()
	if n := c.end(in + ".dlq"); n != 2 {
		c.t.Errorf("%d dead letters, want one each of offsets 0 and 1", n)
	}
	for _, r := range c.read(in+".dlq", 2) {
		if header(r, "weir.dlq.stage") != "handle" || header(r, "__streams.errors.message") != "bad" {
			c.t.Errorf("dead letter %v, want the handler's error", r.Headers)
		}
	}
	if s := m.Stats().Topics[in]; s.DeadLettered != 2 || s.Handled != 4 {
		c.t.Errorf("stats %+v, want 4 handled and 2 dead letters", s)
	}
}

// refusedWhileHandedOver: a record that is left to the next owner is no dead
// letter, though something it produced was refused.
func refusedWhileHandedOver(c *cluster) {
	in, out := c.topic("orders", 2), c.topic("copies", 1)
	c.produce(in, 2, 1)
	var begun atomic.Int32
	lost := make(chan error, 2)
	first := c.start("refused-over", func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			err := weir.Produce(ctx, texts(out), r.Key, strings.Repeat("x", 3<<20))
			begun.Add(1)
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return errors.Join(err, ctx.Err())
		})
	}, func(cfg *weir.Config) { cfg.DrainTimeout = 500 * time.Millisecond })
	c.eventually("both records in hand", func() bool { return begun.Load() == 2 })
	h := newHandled()
	second := c.start("refused-over", func(app *weir.App) { weir.Handle(app, texts(in), counted(h)) })
	if err := <-lost; !errors.Is(err, weir.ErrDrainTimeout) {
		c.t.Errorf("the context's cause is %v, want ErrDrainTimeout", err)
	}
	c.eventually("the next owner handles it", func() bool { return h.total() == 1 })
	time.Sleep(time.Second)
	first.quit()
	second.quit()
	if n := c.end(in + ".dlq"); n != 0 {
		c.t.Errorf("%d dead letters, want none", n)
	}
}
