package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// do prints until the end, the count or an interruption.
func (c *consumption) do(ctx context.Context) (err error) {
	opts := []kgo.Opt{kgo.KeepControlRecords(), kgo.FetchMaxWait(500 * time.Millisecond), kgo.WithHooks(&reconnects{app: c.app})}
	if c.readCommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	ctx, done := c.whileRead(ctx)
	defer func() {
		done()
		if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errReaderGone) {
			err = errReaderGone
		}
	}()
	client, err := c.connect(ctx, opts...)
	if err != nil {
		return err
	}
	defer func() { client.Close() }()
	topics, err := c.find(ctx, client)
	if err != nil {
		return err
	}
	c.client = client
	if c.consumeFlags.group == "" {
		if err := c.assign(ctx, topics); err != nil {
			return err
		}
		return c.loop(ctx)
	}
	client.Close() // a group is joined by a client made for it
	if client, err = c.join(ctx, opts); err != nil {
		return err
	}
	return c.leave(c.loop(ctx))
}

// whileRead ends the context, with errReaderGone as its cause, when the reader of the
// output is gone: the next record may never come, and with it the failing write.
func (c *consumption) whileRead(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if c.ReaderGone == nil {
		return ctx, func() { cancel(nil) }
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if c.ReaderGone(ctx) {
			cancel(errReaderGone)
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
	}
}

// find looks the topics up, so that none is made by being consumed.
func (c *consumption) find(ctx context.Context, client *kgo.Client) (kadm.TopicDetails, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	topics, err := lookup(ctx, kadm.NewClient(client), c.topics...)
	if err != nil {
		return nil, err
	}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			return nil, t.Err
		}
		for _, p := range c.partitions {
			if _, ok := t.Partitions[p]; !ok {
				return nil, fmt.Errorf("topic %s has no partition %d (it has %d)", t.Topic, p, len(t.Partitions))
			}
		}
	}
	return topics, nil
}

// assign looks up where each partition begins and ends and consumes from there.
func (c *consumption) assign(ctx context.Context, topics kadm.TopicDetails) error {
	ctx, cancel := context.WithTimeout(ctx, 2*c.timeout)
	defer cancel()
	logs, err := lookUpLogs(ctx, kadm.NewClient(c.client), c.topics, c.readCommitted, c.span)
	if err != nil {
		return err
	}
	to := c.span.to
	if to.kind == unbounded && c.exitAtEnd {
		to.kind = atEnd
	}
	if to.kind != unbounded {
		c.left = marks{}
	}
	begin := map[string]map[int32]kgo.Offset{}
	for _, t := range topics.Sorted() {
		begin[t.Topic] = map[int32]kgo.Offset{}
		for _, p := range t.Partitions.Numbers() {
			if !c.wants(p) {
				continue
			}
			at, log := mark{t.Topic, p}, logs[mark{t.Topic, p}]
			from := c.span.from.resolve(log.start, log.end, log.fromTime)
			if to.kind != unbounded {
				// What is behind the log's end now is not waited for.
				stop := min(to.resolve(log.start, log.end, log.toTime), log.end)
				if from >= stop {
					continue // nothing to read here
				}
				c.left[at] = stop
			}
			begin[t.Topic][p] = kgo.NewOffset().At(from)
		}
	}
	c.client.AddConsumePartitions(begin)
	return nil
}

func (c *consumption) wants(p int32) bool {
	for _, wanted := range c.partitions {
		if wanted == p {
			return true
		}
	}
	return len(c.partitions) == 0
}

// loop polls and prints. Every poll's records are flushed before the next, so
// that a pipe sees them at once, and only what was flushed counts as printed.
func (c *consumption) loop(ctx context.Context) error {
	var idle int
	for !c.done() {
		fetches, err := c.poll(ctx)
		if err != nil {
			return err
		}
		if fetches.NumRecords() > 0 {
			idle = 0
		} else if idle++; c.left != nil && idle >= 3 {
			return c.giveUp(ctx)
		}
		if err := c.printAll(fetches); err != nil {
			return err
		}
		if c.group != nil {
			if err := c.group.settle(ctx, c); err != nil {
				return err
			}
			c.client.AllowRebalance()
		}
	}
	return nil
}

func (c *consumption) done() bool {
	return (c.number > 0 && c.printed >= c.number) || (c.left != nil && len(c.left) == 0)
}

// poll waits for records; while an end is being reached it returns after two
// seconds without any.
func (c *consumption) poll(ctx context.Context) (kgo.Fetches, error) {
	wait := ctx
	if c.left != nil || c.group != nil {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if c.group != nil && !c.group.known() {
			stop := c.group.wake(cancel) // an assignment without records ends the wait, too
			defer stop()
		}
	}
	most := 10_000
	if c.number > 0 {
		most = int(min(c.number-c.printed, int64(most)))
	}
	fetches := c.client.PollRecords(wait, most)
	if ctx.Err() != nil && fetches.NumRecords() == 0 {
		return nil, context.Cause(ctx)
	}
	if fetches.NumRecords() > 0 || c.group != nil && c.group.news() {
		c.refused = time.Time{}
	}
	for _, e := range fetches.Errors() {
		if wait.Err() != nil && e.Topic == "" {
			continue // only the wait is over
		}
		if passing(e.Err) {
			if err := c.refusal(e.Err); err != nil {
				return nil, err
			}
			continue
		}
		if e.Topic == "" {
			return nil, fmt.Errorf("consume: %w", e.Err)
		}
		return nil, fmt.Errorf("consume %s-%d: %w", e.Topic, e.Partition, e.Err)
	}
	return fetches, nil
}

// printAll writes the records, partition by partition, and then counts them.
func (c *consumption) printAll(fetches kgo.Fetches) error {
	var line []byte
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		if stop, bounded := c.left[mark{r.Topic, r.Partition}]; c.left != nil && c.group == nil && (!bounded || r.Offset >= stop) {
			c.left.reached(r, r.Offset+1) // a batch may go on behind the end
			continue
		}
		if !r.Attrs.IsControl() {
			line = c.render(line[:0], r)
			if _, err := c.out.Write(line); err != nil {
				return err
			}
			c.printed++
		}
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		c.left.reached(r, r.Offset+1)
	}
	if c.group != nil {
		c.client.MarkCommitRecords(fetches.Records()...)
	}
	return nil
}

// giveUp ends a bounded run that gets nothing more: the last offsets before the
// end may have been compacted away, or hold an open transaction. It is said,
// because it may also be a broker that does not answer.
func (c *consumption) giveUp(ctx context.Context) error {
	ping, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.client.Ping(ping); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unreachable(c.seeds(), err)
	}
	for m, stop := range c.left {
		c.notef("%s-%d: nothing more to read before offset %d", m.topic, m.partition, stop)
	}
	return nil
}
