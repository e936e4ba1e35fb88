package weir_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/weirstream/weir"
)

// The scenarios of this file delete a topic that is being handled.

// topicDeleted has uncommitted work in two topics when one of them is deleted:
// the other's is committed all the same, and at once.
func topicDeleted(c *cluster) {
	gone, kept := c.topic("gone", 1), c.topic("kept", 1)
	c.produce(gone, 1, 20)
	c.produce(kept, 1, 20)
	hg, hk := newHandled(), newHandled()
	handle := func(app *weir.App) {
		weir.Handle(app, texts(gone), counted(hg))
		weir.Handle(app, texts(kept), counted(hk))
	}
	never := func(cfg *weir.Config) { cfg.CommitInterval = time.Hour }
	m := c.start("deleted", handle, never)
	c.eventually("all handled", func() bool { return hg.total() == 20 && hk.total() == 20 })
	c.deleteTopic(gone)
	begun := time.Now()
	m.quit()
	if d := time.Since(begun); d > 3*time.Second {
		c.t.Errorf("the stop took %v", d)
	}
	if o := c.committed(c.name("deleted"), kept)[0]; o != 20 {
		c.t.Errorf("the other topic is committed up to %d, want 20", o)
	}
	m = c.start("deleted", handle, never)
	c.eventually("the next member has the topic", func() bool { return m.assigned(kept) == 1 })
	c.produce(kept, 1, 5)
	c.eventually("the rest", func() bool { return hk.total() >= 25 })
	m.quit()
	hk.onceInOrder(c.t, 1, 25)
}

func counted(h *handled) func(context.Context, weir.Record[string, string]) error {
	return func(_ context.Context, r weir.Record[string, string]) error {
		h.add("", r.Partition, r.Offset)
		return nil
	}
}

// topicMadeAnew deletes a topic and makes it again later, with two members at
// work: it is handled from its start, another topic is not touched, and what
// the log says about it does not grow with time.
func topicMadeAnew(c *cluster) {
	kept, gone := c.topic("kept", 2), c.topic("gone", 2)
	c.produce(gone, 2, 50)
	first, second, other := newHandled(), newHandled(), newHandled()
	h := first
	var logs [2]syncBuffer
	var members [2]*member
	for i := range members {
		members[i] = c.start("anew", func(app *weir.App) {
			weir.Handle(app, texts(gone), func(ctx context.Context, r weir.Record[string, string]) error {
				if strings.HasPrefix(r.Value, "new") {
					return counted(second)(ctx, r)
				}
				return counted(h)(ctx, r)
			})
			weir.Handle(app, texts(kept), counted(other))
		}, logTo(slog.NewTextHandler(&logs[i], nil)))
	}
	c.eventually("all handled", func() bool { return first.total() == 100 })
	c.eventually("both at work", func() bool {
		return members[0].assigned(gone)+members[0].assigned(kept) == 2 && members[1].assigned(gone)+members[1].assigned(kept) == 2
	})
	c.deleteTopic(gone)
	if c.broker != nil { // others may say so only once the topic is made again
		c.eventually("the members have given it up", func() bool { return members[0].assigned(gone)+members[1].assigned(gone) == 0 })
	}
	for i := range 20 {
		c.produce(kept, 2, 5)
		c.eventually("the other topic is handled", func() bool { return other.total() == 10*(i+1) })
	}
	time.Sleep(3 * time.Second)
	for i := range logs {
		text := logs[i].String()
		if n := strings.Count(text, "\n"); n > 60 || strings.Count(text, "the topic was deleted") > 4 {
			c.t.Errorf("member %d has logged %d lines:\n%.5000s", i, n, text)
		}
	}
	c.topic("gone", 2)
	c.produceValues(gone, 2, 30, "new")
	c.eventually("the new topic's records", func() bool { return second.total() >= 60 })
	c.eventually("they are committed", func() bool {
		done := c.committed(c.name("anew"), gone)
		return done[0] == 30 && done[1] == 30
	})
	members[0].quit()
	members[1].quit()
	second.onceInOrder(c.t, 2, 30)
	other.onceInOrder(c.t, 2, 100)
}

// topicMadeAnewAtOnce leaves no time between: the client meets the new topic
// while it still fetches the old one, whose uncommitted position must not become
// the new one's.
func topicMadeAnewAtOnce(c *cluster) {
	madeAnew(c, "at-once", func(cfg *weir.Config) { cfg.CommitInterval = 3 * time.Second })
}

// topicMadeAnewByName: as before, but commits name topics, as those of Kafka
// before 4.1 do, and the broker cannot tell old from new.
func topicMadeAnewByName(c *cluster) {
	madeAnew(c, "by-name", func(cfg *weir.Config) {
		cfg.CommitInterval = 20 * time.Second // none while the client has yet to notice
		cfg.Client = append(cfg.Client, kgo.MaxVersions(kversion.V3_7_0()))
	})
}

func madeAnew(c *cluster, group string, change func(*weir.Config)) {
	topic := c.topic("orders", 1)
	c.produce(topic, 1, 50)
	old, new := newHandled(), newHandled()
	m := c.start(group, func(app *weir.App) {
		weir.Handle(app, texts(topic), func(ctx context.Context, r weir.Record[string, string]) error {
			if strings.HasPrefix(r.Value, "new") {
				return counted(new)(ctx, r)
			}
			return counted(old)(ctx, r)
		})
	}, change)
	c.eventually("all handled", func() bool { return old.total() == 50 })
	c.deleteTopic(topic)
	c.topic("orders", 1)
	c.produceValues(topic, 1, 80, "new")
	c.eventually("the new topic's records", func() bool { return new.total() >= 80 })
	c.eventually("they are committed", func() bool { return c.committed(c.name(group), topic)[0] == 80 })
	m.quit()
	new.onceInOrder(c.t, 1, 80)
}

// produceValues writes n records to each partition, whose values begin with a
// word.
func (c *cluster) produceValues(topic string, partitions int32, n int, word string) {
	c.t.Helper()
	for p := range partitions {
		for i := range n {
			c.produceRecords(record(topic, p, fmt.Sprintf("%s %d", word, i)))
		}
	}
}
