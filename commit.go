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
	// commitTimeout bounds the commit before partitions are handed over, with
	// all its tries.
	commitTimeout = 10 * time.Second
	// tickTimeout bounds a periodic commit; one that hangs leaves that before a
	// hand-over half of its time.
	tickTimeout = commitTimeout / 2
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
	metadata func() (string, int32) // the client's GroupMetadata
	requests chan commitRequest
	done     chan struct{}
	told     lastErrors
}

// membership is who commits. It is read before the positions are, and before
// what is assigned: then one that has become stale is refused, while a newer
// one would commit for partitions which another member may have by now.
type membership struct {
	id         string
	generation int32
}

// commitRequest asks the committer to commit some partitions for the last time.
type commitRequest struct {
	ctx   context.Context
	as    membership
	parts []*partition
	done  chan struct{}
}

func newCommitter(a *App) *committer {
	return &committer{
		app: a, metadata: a.client.GroupMetadata,
		requests: make(chan commitRequest), done: make(chan struct{}), told: lastErrors{},
	}
}

// run commits what has moved, every CommitInterval and on request, until the
// App's life ends.
func (c *committer) run() {
	defer close(c.done)
	tick := time.NewTicker(c.app.cfg.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.report(c.commitNow())
		case r := <-c.requests:
			c.report(c.commitLast(r))
			close(r.done)
		case <-c.app.life.Done():
			return
		}
	}
}

func (c *committer) membership() membership {
	id, generation := c.metadata()
	return membership{id, generation}
}

func (c *committer) commitNow() outcome {
	ctx, cancel := context.WithTimeout(c.app.life, tickTimeout)
	defer cancel()
	return c.commit(ctx, c.membership(), c.app.assigned)
}

// last commits partitions before they are handed over, and waits for it.
func (c *committer) last(parts []*partition) {
	ctx, cancel := context.WithTimeout(c.app.life, commitTimeout)
	defer cancel()
	r := commitRequest{ctx, c.membership(), parts, make(chan struct{})}
	select {
	case c.requests <- r:
		<-r.done
	case <-ctx.Done():
	case <-c.done:
	}
}

// commitLast tries again until the request's context ends. A topic that does not
// exist any more is left out from then on: no further try finds it.
func (c *committer) commitLast(r commitRequest) outcome {
	var gone map[topicPartition]error
	parts := r.parts
	for {
		out := c.commit(r.ctx, r.as, func() []*partition { return parts })
		parts = nil
		again := out.err != nil && !isFatal(out.err)
		for _, p := range r.parts {
			tp := topicPartition{p.topic, p.id}
			switch err := out.refused[tp]; {
			case isGone(err):
				if gone == nil {
					gone = map[topicPartition]error{}
				}
				gone[tp] = err
			case err != nil && !isFatal(err):
				again = true
			}
			if gone[tp] == nil {
				parts = append(parts, p)
			}
		}
		if !again || !sleep(r.ctx, lastCommitPause) {
			return out.with(gone)
		}
	}
}

// sleep is false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// outcome is what became of a commit.
type outcome struct {
	err       error // of the whole
	committed []topicPartition
	refused   map[topicPartition]error
}

func (o outcome) with(refused map[topicPartition]error) outcome {
	if o.refused == nil {
		o.refused = refused
		return o
	}
	for tp, err := range refused {
		o.refused[tp] = err
	}
	return o
}

// report tells of a failed commit, once until its error changes. That is no
// reason to stop: the positions stand and go into the next commit.
func (c *committer) report(o outcome) {
	log, group := c.app.cfg.Logger, c.app.cfg.Group
	for _, tp := range o.committed {
		delete(c.told, tp)
	}
	for tp, err := range o.refused {
		if c.told.news(tp, err) {
			log.Warn("commit failed", "group", group, "topic", tp.topic, "partition", tp.partition, "err", err)
		}
		if isFatal(err) {
			c.app.fail(fmt.Errorf("weir: commit the offset of %s-%d as group %s: %w", tp.topic, tp.partition, group, err))
		}
	}
	whole := topicPartition{}
	switch {
	case o.err == nil && len(o.committed)+len(o.refused) > 0:
		delete(c.told, whole)
	case o.err != nil && c.app.life.Err() == nil && c.told.news(whole, o.err):
		log.Warn("commit failed", "group", group, "err", o.err)
	}
	if o.err != nil && isFatal(o.err) {
		c.app.fail(fmt.Errorf("weir: commit offsets of group %s: %w", group, o.err))
	}
}

// commit commits the positions that moved.
func (c *committer) commit(ctx context.Context, as membership, parts func() []*partition) outcome {
	moved := collect(parts())
	if len(moved) == 0 {
		return outcome{}
	}
	resp, err := c.request(as, moved).RequestWith(ctx, c.app.client)
	if err != nil {
		return outcome{err: err}
	}
	return accept(resp, moved)
}

// positions are on their way to the coordinator, by topic and partition. A
// topic that was made anew under its name is another.
type positions map[topicIdentity]map[int32]pending

type topicIdentity struct {
	name string
	id   topicID
}

type pending struct {
	p  *partition
	at kgo.EpochOffset
}

func collect(parts []*partition) positions {
	moved := positions{}
	for _, p := range parts {
		at, id, dirty := p.progress()
		if !dirty {
			continue
		}
		t := topicIdentity{p.topic, id}
		if moved[t] == nil {
			moved[t] = map[int32]pending{}
		}
		moved[t][p.id] = pending{p, at}
	}
	return moved
}

// request names topics in both ways: newer versions commit by the id (KIP-848),
// so that the position of a deleted topic cannot become that of its successor.
// The id is the one that the records came with.
func (c *committer) request(as membership, moved positions) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = c.app.cfg.Group
	req.MemberID, req.Generation = as.id, as.generation
	req.InstanceID = c.app.instanceID
	for topic, parts := range moved {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic.name, topic.id
		for id, pend := range parts {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = id, pend.at.Offset, pend.at.Epoch
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// accept marks what was committed.
func accept(resp *kmsg.OffsetCommitResponse, moved positions) outcome {
	out := outcome{refused: map[topicPartition]error{}}
	for _, t := range resp.Topics {
		for _, rp := range t.Partitions {
			pend, ok := moved.find(t.Topic, t.TopicID, rp.Partition)
			if !ok {
				continue
			}
			tp := topicPartition{pend.p.topic, rp.Partition}
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				out.refused[tp] = err
				continue
			}
			pend.p.committed(pend.at.Offset)
			out.committed = append(out.committed, tp)
		}
	}
	return out
}

// find takes a name, or an id if the response has no names.
func (m positions) find(name string, id topicID, partition int32) (pending, bool) {
	for t, parts := range m {
		if name != "" && t.name == name || name == "" && t.id == id {
			if pend, ok := parts[partition]; ok {
				return pend, true
			}
		}
	}
	return pending{}, false
}

// isGone tells that a topic, or this one of its name, does not exist.
func isGone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.InconsistentTopicID)
}

// lastErrors is what was told last of each partition, so that an error which
// lasts is not told again and again.
type lastErrors map[topicPartition]string

// news notes an error and tells whether it is another than before.
func (l lastErrors) news(tp topicPartition, err error) bool {
	text := err.Error()
	if l[tp] == text {
		return false
	}
	l[tp] = text
	return true
}
