package weir_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/vfs"
)

// The scenarios of this file are about what a group or its coordinator refuses,
// and about static members.

// groupRefuses: an error of the group as a whole names the group and no
// partition.
func groupRefuses(c *cluster) {
	topic := c.topic("orders", 1)
	m := c.start("refuses", func(app *weir.App) {
		weir.Handle(app, texts(topic), counted(newHandled()))
	}, func(cfg *weir.Config) { cfg.SessionTimeout = 3 * time.Hour })
	err := m.failure()
	if !errors.Is(err, kerr.InvalidSessionTimeout) || !strings.HasPrefix(err.Error(), "weir: group "+c.name("refuses")+": ") || contains(err, "-0 ") {
		c.t.Errorf("Run returned %q, want it to name the group", err)
	}
}

// stopWithFullDisk: a stop during which no commit can succeed is bounded, with the
// default timeouts too.
func stopWithFullDisk(c *cluster) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 10)
	var log syncBuffer
	h := newHandled()
	m := c.start("full", func(app *weir.App) {
		weir.Handle(app, texts(topic), counted(h))
	}, logTo(slog.NewTextHandler(&log, nil)), func(cfg *weir.Config) {
		cfg.SessionTimeout, cfg.HeartbeatInterval, cfg.RebalanceTimeout, cfg.DrainTimeout = 0, 0, 0, 0
	})
	c.eventually("all committed", func() bool { return c.committed(c.name("full"), topic)[0] == 10 })
	c.produce(topic, 1, 10) // to be there before the disk is full
	c.broker.Files().Add(vfs.Rule{Op: vfs.OpWrite, Err: syscall.ENOSPC})
	c.eventually("all handled", func() bool { return h.total() == 20 })
	time.Sleep(time.Minute)
	if n := strings.Count(log.String(), "commit failed"); n > 20 {
		c.t.Errorf("%d lines tell of commits that failed within a minute", n)
	}
	begun := time.Now()
	m.stop()
	<-m.done
	if d := time.Since(begun); d > 16*time.Second {
		c.t.Errorf("the stop took %v, want 10 s for the commit and 5 s for leaving", d)
	}
	c.broker.Files().Clear()
}

// staticMemberReturns within its session: its partitions wait for it, the group
// is not disturbed, and no record is handled twice.
func staticMemberReturns(c *cluster) {
	topic := c.topic("orders", 4)
	h := newHandled()
	static := func(id string) func(*weir.Config) {
		return func(cfg *weir.Config) { cfg.Client = append(cfg.Client, kgo.InstanceID(id)) }
	}
	start := func(who string) *member {
		return c.start("static", func(app *weir.App) {
			weir.Handle(app, texts(topic), func(_ context.Context, r weir.Record[string, string]) error {
				h.add(who, r.Partition, r.Offset)
				return nil
			})
		}, static(who))
	}
	first, second := start("first"), start("second")
	c.eventually("two partitions each", func() bool { return first.assigned(topic) == 2 && second.assigned(topic) == 2 })
	c.produce(topic, 4, 100)
	c.eventually("all handled", func() bool { return h.total() == 400 })
	second.quit()
	if n := c.members("static"); n != 2 {
		c.t.Errorf("%d members after the static one stopped, want both", n)
	}
	c.produce(topic, 4, 50)
	c.eventually("the other's share", func() bool { return h.by("first") == 300 })
	if n := first.assigned(topic); n != 2 || h.total() != 500 {
		c.t.Errorf("the other member has %d partitions and %d records are handled, want 2 and 500", n, h.total())
	}
	second = start("second")
	c.eventually("all handled again", func() bool { return h.total() >= 600 })
	first.quit()
	second.quit()
	h.onceInOrder(c.t, 4, 150)
}

// staticMemberTwice: of two Apps with one instance id the newer one remains, and
// the other says why it cannot go on.
func staticMemberTwice(c *cluster) {
	topic := c.topic("orders", 2)
	h := newHandled()
	start := func() *member {
		return c.start("twice", func(app *weir.App) {
			weir.Handle(app, texts(topic), counted(h))
		}, func(cfg *weir.Config) { cfg.Client = append(cfg.Client, kgo.InstanceID("one")) })
	}
	older := start()
	c.eventually("it is assigned", func() bool { return older.assigned(topic) == 2 })
	newer := start()
	if err := older.failure(); !errors.Is(err, kerr.FencedInstanceID) || !contains(err, c.name("twice")) {
		c.t.Errorf("Run returned %v, want the fenced instance id and the group", err)
	}
	c.produce(topic, 2, 10)
	c.eventually("the newer one handles all", func() bool { return h.total() == 20 && newer.assigned(topic) == 2 })
	newer.quit()
}
