package weir_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir"
)

// The scenarios of this file are about members of a group: order, hand-over,
// death. bubble_test.go runs them on virtual time, wall_test.go elsewhere.

func quickRetries() []weir.HandleOption {
	return []weir.HandleOption{weir.MaxAttempts(3), weir.Backoff(time.Millisecond, 5*time.Millisecond)}
}

// orderPerPartition fails every seventh record's first attempt, so that a
// retry that lets later records by would show.
func orderPerPartition(c *cluster) {
	topic := c.topic("orders", 6)
	c.produce(topic, 6, 200)
	h := newHandled()
	m := c.start("order", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			d, _ := weir.DeliveryOf(ctx)
			if d.Attempt == 1 && r.Offset%7 == 0 {
				return errors.New("once more")
			}
			if d.Topic != topic || d.Partition != r.Partition || d.Offset != r.Offset {
				return weir.Permanent(fmt.Errorf("delivery %+v of record %d-%d", d, r.Partition, r.Offset))
			}
			h.add("", r.Partition, r.Offset)
			return nil
		}, quickRetries()...)
	})
	c.eventually("all handled", func() bool { return h.total() >= 1200 })
	m.quit()
	h.onceInOrder(c.t, 6, 200)
	s := m.Stats().Topics[topic]
	if s.Handled != 1200 || s.Retried != 6*29 || s.DeadLettered != 0 {
		c.t.Errorf("stats %+v, want 1200 handled and %d retried", s, 6*29)
	}
	for p, o := range c.committed(c.name("order"), topic) {
		if o != 200 {
			c.t.Errorf("partition %d is committed up to %d, want 200", p, o)
		}
	}
}

// cleanHandOver stops one of two members midway.
func cleanHandOver(c *cluster) {
	topic := c.topic("orders", 6)
	h := newHandled()
	start := func(who string) *member {
		return c.start("hand-over", func(app *weir.App) {
			weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
				time.Sleep(time.Millisecond)
				h.add(who, r.Partition, r.Offset)
				return nil
			})
		})
	}
	first, second := start("first"), start("second")
	c.eventually("three partitions each", func() bool { return first.assigned(topic) == 3 && second.assigned(topic) == 3 })
	c.produce(topic, 6, 500)
	c.eventually("both at work", func() bool { return h.by("first") > 100 && h.by("second") > 100 })
	second.quit()
	c.eventually("the first has all", func() bool { return first.assigned(topic) == 6 })
	c.eventually("all handled", func() bool { return h.total() >= 3000 })
	first.quit()
	h.onceInOrder(c.t, 6, 500)
}

// secondMemberTakesItsShare has a member join one that is at work.
func secondMemberTakesItsShare(c *cluster) {
	topic := c.topic("orders", 6)
	h := newHandled()
	start := func(who string) *member {
		return c.start("share", func(app *weir.App) {
			weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
				time.Sleep(5 * time.Millisecond)
				h.add(who, r.Partition, r.Offset)
				return nil
			})
		})
	}
	c.produce(topic, 6, 600)
	first := start("first")
	c.eventually("the first at work", func() bool { return h.by("first") > 100 })
	second := start("second")
	c.eventually("the second at work", func() bool { return h.by("second") > 100 })
	c.eventually("all handled", func() bool { return h.total() >= 3600 })
	if first.assigned(topic) != 3 || second.assigned(topic) != 3 {
		c.t.Errorf("%d and %d partitions, want 3 each", first.assigned(topic), second.assigned(topic))
	}
	first.quit()
	second.quit()
	h.onceInOrder(c.t, 6, 600)
}

// deadMember cuts a member off for good; the other gets its partitions once the
// session has timed out, and handles what the dead one did not commit.
func deadMember(c *cluster) {
	topic := c.topic("orders", 4)
	h := newHandled()
	var block atomic.Bool
	start := func(who string) *member {
		return c.start("dead", func(app *weir.App) {
			weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
				if who == "first" && block.Load() {
					<-ctx.Done()
					return ctx.Err()
				}
				h.add(who, r.Partition, r.Offset)
				return nil
			})
		})
	}
	first, second := start("first"), start("second")
	c.eventually("two partitions each", func() bool { return first.assigned(topic) == 2 && second.assigned(topic) == 2 })
	block.Store(true)
	c.produce(topic, 4, 50)
	c.eventually("the second's share", func() bool { return h.by("second") == 100 })
	first.net.cut()
	c.eventually("the dead one's share", func() bool { return h.by("second") == 200 })
	h.onceInOrder(c.t, 4, 50)
	first.stop()
	<-first.done
}

// fencedMember cuts a member off for longer than its session and then lets it
// come back: its handler's context ends, it commits nothing old, and it joins
// again.
func fencedMember(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 10)
	h := newHandled()
	lost := make(chan error, 1)
	var stale atomic.Bool
	start := func(who string) *member {
		return c.start("fenced", func(app *weir.App) {
			weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
				if who == "first" && r.Offset == 5 && stale.CompareAndSwap(false, true) {
					<-ctx.Done()
					lost <- context.Cause(ctx)
					return weir.Permanent(ctx.Err())
				}
				h.add(who, r.Partition, r.Offset)
				return nil
			})
		})
	}
	first := start("first")
	c.eventually("the first stands at record 5", stale.Load)
	c.eventually("the five before it are committed", func() bool { return c.committed(c.name("fenced"), topic)[0] == 5 })
	first.net.cut()
	second := start("second")
	c.eventually("the second handles the rest", func() bool { return h.by("second") == 5 })
	first.net.mend()
	if cause := <-lost; cause == nil {
		c.t.Error("the handler's context ended without a cause")
	}
	second.quit()
	c.eventually("the first has the partition again", func() bool { return first.assigned(topic) == 1 })
	c.produce(topic, 1, 3)
	c.eventually("the first at work again", func() bool { return h.by("first") == 8 })
	first.quit()
	h.onceInOrder(c.t, 1, 13)
	if d := first.Stats().Topics[topic].DeadLettered; d != 0 {
		c.t.Errorf("%d dead letters; a record that fails because its partition is lost is none", d)
	}
}

// atLeastOnceOverCrashes cuts members off at random places, again and again;
// each is followed by another. What they produced is complete.
func atLeastOnceOverCrashes(c *cluster) {
	in, out := c.topic("orders", 3), c.topic("copies", 3)
	const n = 400
	c.produce(in, 3, n)
	h := newHandled()
	handle := func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			h.add("", r.Partition, r.Offset)
			time.Sleep(2 * time.Millisecond)
			return weir.Produce(ctx, texts(out), fmt.Sprintf("%d-%d", r.Partition, r.Offset), r.Value)
		})
	}
	for crash := range 4 {
		m := c.start("crashes", handle)
		c.eventually("some more handled", func() bool { return h.distinct() >= (crash+1)*150 })
		m.net.cut()
		m.stop()
		c.t.Cleanup(func() { <-m.done })
	}
	m := c.start("crashes", handle)
	all := func() bool {
		done := c.committed(c.name("crashes"), in)
		return done[0] == n && done[1] == n && done[2] == n
	}
	c.eventually("all committed", all)
	m.quit()
	copies := map[string]bool{}
	for _, r := range c.read(out, int(c.end(out))) {
		copies[string(r.Key)] = true
	}
	if len(copies) != 3*n {
		c.t.Errorf("copies of %d records, want %d", len(copies), 3*n)
	}
}

// slowPartition blocks the handler in one partition: others go on, and its
// queue stays within its bound.
func slowPartition(c *cluster) {
	topic := c.topic("orders", 3)
	c.produce(topic, 3, 3000)
	h := newHandled()
	open := make(chan struct{})
	m := c.start("slow", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			if r.Partition == 1 {
				select {
				case <-open:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			h.add(fmt.Sprint(r.Partition), r.Partition, r.Offset)
			return nil
		})
	}, func(cfg *weir.Config) { cfg.MaxQueued = 100 })
	most := 0
	c.eventually("the others are done", func() bool {
		most = max(most, m.Stats().Topics[topic].Partitions[1].Queued)
		return h.by("0") == 3000 && h.by("2") == 3000
	})
	c.produce(topic, 1, 500)
	c.eventually("new records of the others", func() bool { return h.by("0") == 3500 })
	s := m.Stats().Topics[topic].Partitions[1]
	if most = max(most, s.Queued); most > 200 || s.Queued < 100 || !s.Paused {
		c.t.Errorf("%d records queued at most, now %+v; want it full and paused, and never more than 200", most, s)
	}
	if h.by("1") != 0 {
		c.t.Error("the blocked partition was handled")
	}
	close(open)
	c.eventually("the slow one goes on", func() bool { return h.by("1") == 3000 })
	m.quit()
	c.eventually("no lag", func() bool { return c.committed(c.name("slow"), topic)[1] == 3000 })
	h.seq[0] = h.seq[0][:3000]
	h.onceInOrder(c.t, 3, 3000)
}

// stopDuringBackoff: a record that waits for its next attempt does not hold up
// the stop; the next run tries it anew.
func stopDuringBackoff(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 3)
	h := newHandled()
	var attempts atomic.Int32
	start := func(ok bool) *member {
		return c.start("backoff", func(app *weir.App) {
			weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
				if r.Offset == 1 && !ok {
					attempts.Add(1)
					return errors.New("not now")
				}
				h.add("", r.Partition, r.Offset)
				return nil
			}, weir.Backoff(time.Hour, time.Hour))
		})
	}
	m := start(false)
	c.eventually("a failed attempt", func() bool { return attempts.Load() == 1 })
	begun := time.Now()
	m.quit()
	if d := time.Since(begun); d > 3*time.Second {
		c.t.Errorf("the stop took %v", d)
	}
	if o := c.committed(c.name("backoff"), topic)[0]; o != 1 {
		c.t.Errorf("committed up to %d, want 1", o)
	}
	m = start(true)
	c.eventually("the rest", func() bool { return h.total() == 3 })
	m.quit()
	h.onceInOrder(c.t, 1, 3)
}

// drainTimeout: a handler that outlasts DrainTimeout has its context cancelled,
// and its record comes again.
func drainTimeout(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 2)
	begun, cause := make(chan struct{}), make(chan error, 1)
	m := c.start("drain", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			if r.Offset == 1 {
				close(begun)
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return weir.Permanent(ctx.Err())
			}
			return nil
		})
	}, func(cfg *weir.Config) { cfg.DrainTimeout = 500 * time.Millisecond })
	<-begun
	m.quit()
	if err := <-cause; err == nil || !errors.Is(err, weir.ErrDrainTimeout) {
		c.t.Errorf("the context's cause is %v, want ErrDrainTimeout", err)
	}
	if o := c.committed(c.name("drain"), topic)[0]; o != 1 {
		c.t.Errorf("committed up to %d, want 1", o)
	}
	if d := m.Stats().Topics[topic].DeadLettered; d != 0 {
		c.t.Errorf("%d dead letters, want none", d)
	}
}

// stopFinishesTheRecordInHand and begins no further one, whatever is queued.
func stopFinishesTheRecordInHand(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 100)
	h := newHandled()
	m := c.start("in-hand", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(_ context.Context, r weir.Record[string, string]) error {
			time.Sleep(50 * time.Millisecond)
			h.add("", r.Partition, r.Offset)
			return nil
		})
	})
	c.eventually("some handled", func() bool { return h.total() >= 3 })
	m.stop()
	at := h.total()
	m.quit()
	if n := h.total(); n > at+2 {
		c.t.Errorf("%d records handled after the stop", n-at)
	}
	if o := c.committed(c.name("in-hand"), topic)[0]; o != int64(h.total()) {
		c.t.Errorf("committed up to %d, want %d", o, h.total())
	}
}

// returnedPartitionWaits: a partition that is lost and comes back while the
// handler of before still runs is not handled by two at once.
func returnedPartitionWaits(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 5)
	h := newHandled()
	end := make(chan struct{})
	var stale, lost atomic.Bool
	m := c.start("returned", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			if r.Offset == 2 && stale.CompareAndSwap(false, true) {
				<-ctx.Done()
				lost.Store(true)
				<-end
				return nil // too late to count
			}
			h.add("", r.Partition, r.Offset)
			return nil
		})
	})
	c.eventually("two committed", func() bool { return c.committed(c.name("returned"), topic)[0] == 2 })
	m.net.cut()
	c.eventually("the session is over", func() bool { return c.members("returned") == 0 })
	m.net.mend()
	c.eventually("lost and assigned again", func() bool { return lost.Load() && m.assigned(topic) == 1 })
	time.Sleep(time.Second)
	if n := h.total(); n != 2 {
		c.t.Errorf("%d records handled while the handler of before still runs, want 2", n)
	}
	close(end)
	c.eventually("the rest", func() bool { return h.total() == 5 })
	m.quit()
	h.onceInOrder(c.t, 1, 5)
}

// handlerThatDoesNotReturn ignores its context: Run says which one, instead of
// waiting for ever.
func handlerThatDoesNotReturn(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 1)
	begun, end := make(chan struct{}), make(chan struct{})
	m := c.start("stuck", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(context.Context, weir.Record[string, string]) error {
			close(begun)
			<-end
			return nil
		})
	})
	<-begun
	m.stop()
	if err := m.failure(); !contains(err, topic+"-0") {
		c.t.Errorf("the reason %q does not name the partition", err)
	}
	close(end)
}

// stopWithoutBroker: a stop is bounded even if nobody answers any more.
func stopWithoutBroker(c *cluster) {
	in, out := c.topic("orders", 2), c.topic("copies", 1)
	c.produce(in, 2, 20)
	h := newHandled()
	var cut atomic.Bool
	var m *member
	ready := make(chan struct{})
	m = c.start("without", func(app *weir.App) {
		weir.Handle(app, texts(in), func(ctx context.Context, r weir.Record[string, string]) error {
			<-ready
			if r.Offset == 10 && cut.CompareAndSwap(false, true) {
				m.net.cut()
			}
			h.add("", r.Partition, r.Offset)
			return weir.Produce(ctx, texts(out), r.Key, r.Value)
		})
	})
	close(ready)
	c.eventually("all handled", func() bool { return h.total() == 40 })
	begun := time.Now()
	m.quit()
	if d := time.Since(begun); d > 45*time.Second {
		c.t.Errorf("the stop took %v", d)
	}
	if s := m.Stats().Topics[in]; s.Handled > 40 || len(s.Partitions) != 0 {
		c.t.Errorf("after the stop: %+v", s)
	}
}

// topicMadeLater is handled once it exists.
func topicMadeLater(c *cluster) {
	var log syncBuffer
	topic := c.name("late")
	h := newHandled()
	m := c.start("later", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(_ context.Context, r weir.Record[string, string]) error {
			h.add("", r.Partition, r.Offset)
			return nil
		})
	}, logTo(slog.NewTextHandler(&log, nil)))
	c.eventually("a word about the missing topic", func() bool { return strings.Contains(log.String(), "does not exist yet") })
	c.produce(c.topic("late", 1), 1, 3)
	c.eventually("its records", func() bool { return h.total() == 3 })
	m.quit()
}

// unreachable: an address where nobody listens is named.
func unreachable(c *cluster) {
	m := c.start("nobody", func(app *weir.App) {
		weir.Handle(app, texts(c.name("orders")), func(context.Context, weir.Record[string, string]) error { return nil })
	}, func(cfg *weir.Config) {
		cfg.Client = append(cfg.Client, kgo.Dialer(func(context.Context, string, string) (net.Conn, error) { return nil, errCut }))
	})
	if err := m.failure(); !contains(err, c.brokers[0]) || !errors.Is(err, errCut) {
		c.t.Errorf("Run returned %v, want the address and why", err)
	}
}

// goexit: a handler that ends its goroutine stops the App, instead of leaving a
// partition that nobody handles.
func goexit(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 1)
	m := c.start("goexit", func(app *weir.App) {
		weir.Handle(app, texts(topic), func(context.Context, weir.Record[string, string]) error {
			runtime.Goexit()
			return nil
		})
	})
	if err := m.failure(); !contains(err, topic+"-0 ended its goroutine") {
		c.t.Errorf("Run returned %v", err)
	}
}
