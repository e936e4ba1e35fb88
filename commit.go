package weir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// commitTimeout bounds one commit.
	commitTimeout = 10 * time.Second
	// lastCommitPause is the wait between tries of the commit before partitions are
	// handed over, which no later one makes good.
	lastCommitPause = 200 * time.Millisecond
)

// committer commits, one commit after another on one goroutine, so that a
// position never goes back. It sends its own requests because the client's
// commits wait for a running rebalance to end, however long that takes, while
// the coordinator accepts those of a member that has yet to rejoin.
type committer struct {
	app      *App
	requests chan commitRequest
	stop     chan struct{}
	done     chan struct{}
	ids      map[string]topicID // of topics, which newer versions commit by (KIP-848)
}

type topicID [16]byte

// commitRequest asks the committer to commit some partitions for the last time.
type commitRequest struct {
	parts []*partition
	done  chan struct{}
}

func newCommitter(a *App) *committer {
	return &committer{app: a, requests: make(chan commitRequest), stop: make(chan struct{}), done: make(chan struct{}), ids: map[string]topicID{}}
}

// run commits what has moved, every CommitInterval and on request, until stop.
func (c *committer) run() {
	defer close(c.done)
	tick := time.NewTicker(c.app.cfg.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.report(c.commitNow())
		case r := <-c.requests:
			c.report(c.commitLast(r.parts))
			close(r.done)
		case <-c.stop:
			return
		}
	}
}

func (c *committer) commitNow() error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	return c.commit(ctx, c.app.assigned())
}

// last commits partitions before they are handed over, and waits for it.
func (c *committer) last(parts []*partition) {
	r := commitRequest{parts, make(chan struct{})}
	select {
	case c.requests <- r:
		<-r.done
	case <-c.done:
	}
}

// commitLast tries again until commitTimeout has passed.
func (c *committer) commitLast(parts []*partition) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	for {
		err := c.commit(ctx, parts)
		if err == nil || isFatal(err) {
			return err
		}
		pause := time.NewTimer(lastCommitPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// report tells of a failed commit, which is no reason to stop: the positions
// stand and go into the next commit.
func (c *committer) report(err error) {
	if err == nil {
		return
	}
	c.app.cfg.Logger.Warn("commit failed", "group", c.app.cfg.Group, "err", err)
	if isFatal(err) {
		c.app.fail(fmt.Errorf("weir: commit offsets of group %s: %w", c.app.cfg.Group, err))
	}
}

// commit commits the positions that moved.
func (c *committer) commit(ctx context.Context, parts []*partition) error {
	moved := map[string]map[int32]pending{}
	for _, p := range parts {
		if at, dirty := p.progress(); dirty {
			if moved[p.topic] == nil {
				moved[p.topic] = map[int32]pending{}
			}
			moved[p.topic][p.id] = pending{p, at}
		}
	}
	if len(moved) == 0 {
		return nil
	}
	if err := c.resolve(ctx, moved); err != nil {
		return err
	}
	resp, err := c.request(moved).RequestWith(ctx, c.app.client)
	if err != nil {
		return err
	}
	return c.accept(resp, moved)
}

// pending is a position on its way to the coordinator.
type pending struct {
	p  *partition
	at kgo.EpochOffset
}

// resolve learns the ids of topics. A broker without ids has none, and names
// are sent.
func (c *committer) resolve(ctx context.Context, moved map[string]map[int32]pending) error {
	req := kmsg.NewPtrMetadataRequest()
	for topic := range moved {
		if _, ok := c.ids[topic]; !ok {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(topic)
			req.Topics = append(req.Topics, t)
		}
	}
	if len(req.Topics) == 0 {
		return nil
	}
	resp, err := req.RequestWith(ctx, c.app.client)
	if err != nil {
		return fmt.Errorf("ask for the ids of topics: %w", err)
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("ask for the ids of topics: %w", err)
		}
		if t.Topic != nil {
			c.ids[*t.Topic] = t.TopicID
		}
	}
	return nil
}

func (c *committer) request(moved map[string]map[int32]pending) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = c.app.cfg.Group
	req.MemberID, req.Generation = c.app.client.GroupMetadata()
	req.InstanceID = c.app.instanceID
	for topic, parts := range moved {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic, c.ids[topic]
		for id, pend := range parts {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = id, pend.at.Offset, pend.at.Epoch
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// accept marks what was committed and returns the errors of the rest.
func (c *committer) accept(resp *kmsg.OffsetCommitResponse, moved map[string]map[int32]pending) error {
	var errs []error
	for _, t := range resp.Topics {
		topic := t.Topic
		if topic == "" {
			topic = c.nameOf(t.TopicID)
		}
		for _, rp := range t.Partitions {
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				errs = append(errs, fmt.Errorf("%s-%d: %w", topic, rp.Partition, err))
				delete(c.ids, topic) // it may have been made anew
			} else if pend, ok := moved[topic][rp.Partition]; ok {
				pend.p.committed(pend.at.Offset)
			}
		}
	}
	return errors.Join(errs...)
}

func (c *committer) nameOf(id topicID) string {
	for name, have := range c.ids {
		if have == id {
			return name
		}
	}
	return ""
}
