package weir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// poll fetches and queues records until ctx ends.
func (a *App) poll(ctx context.Context) {
	told := lastErrors{}
	for ctx.Err() == nil {
		failed, gone := a.queue(a.client.PollRecords(ctx, a.cfg.MaxQueued), told)
		a.client.AllowRebalance()
		if len(gone) > 0 {
			a.beginAnew(gone)
		}
		if failed {
			sleep(ctx, errorPause)
		}
		a.awaitRoom(ctx)
	}
}

// errorPause is the wait after a poll that brought an error. The client asks
// again at once for a partition whose error it passed on, however long it lasts.
const errorPause = 50 * time.Millisecond

// queue gives workers what was fetched. It returns whether there were errors, and
// the topics that do not exist any more.
func (a *App) queue(fetches kgo.Fetches, told lastErrors) (failed bool, gone []string) {
	for _, fetch := range fetches {
		for _, t := range fetch.Topics {
			for _, f := range t.Partitions {
				tp := topicPartition{t.Topic, f.Partition}
				switch {
				case f.Err != nil:
					failed = true
					if a.fetchFailed(tp, f.Err, told.news(tp, f.Err)) && !slices.Contains(gone, t.Topic) {
						gone = append(gone, t.Topic)
					}
				case len(told) > 0:
					delete(told, tp)
				}
				a.mu.Lock()
				p := a.mu.parts[tp]
				a.mu.Unlock()
				if p != nil {
					p.push(f.Records, f.HighWatermark, t.TopicID)
				}
			}
		}
	}
	return failed, gone
}

// fetchFailed decides about an error the client passed on, which is not news if
// it is the partition's last one again. The client retries by itself what can be
// retried, so that most are told for information. It returns whether the topic
// does not exist any more, or not under its id.
func (a *App) fetchFailed(tp topicPartition, err error, news bool) (gone bool) {
	log := a.cfg.Logger.With("group", a.cfg.Group)
	place := fmt.Sprintf("group %s", a.cfg.Group) // what concerns no topic is the group's
	if tp.topic != "" {
		log = log.With("topic", tp.topic)
		place = fmt.Sprintf("consume %s as group %s", tp.topic, a.cfg.Group)
		if tp.partition >= 0 {
			log = log.With("partition", tp.partition)
			place = fmt.Sprintf("consume %s-%d as group %s", tp.topic, tp.partition, a.cfg.Group)
		}
	}
	var lost *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrClientClosed):
	case isFatal(err):
		a.fail(fmt.Errorf("weir: %s: %w", place, err))
	case errors.Is(err, kerr.UnknownTopicID) && a.subs[tp.topic] != nil:
		if news {
			log.Warn("the topic was deleted; should it be made again, it is handled from its start", "err", err)
		}
		return true
	case !news:
	case errors.As(err, &lost):
		log.Error("the broker has lost records that were fetched or committed before", "err", err)
	default:
		log.Warn("fetch", "err", err)
	}
	return false
}

// beginAnew gives up the partitions of topics that were deleted, and consumes
// those topics as if they were new: the client keeps to the topic it knew first
// and refuses one that was made again under the name. What was handled of the
// old one is not committed: where commits go by name it would be a position in
// the new one.
func (a *App) beginAnew(topics []string) {
	var parts []*partition
	for _, p := range a.assigned() {
		if slices.Contains(topics, p.topic) {
			p.disown()
			parts = append(parts, p)
		}
	}
	a.release(parts)
	a.client.PurgeTopicsFromConsuming(topics...)
	a.client.AddConsumeTopics(topics...)
}

// pauseGrace is how long full partitions may keep the others waiting before they
// are paused. A resumed partition waits for the fetch in flight, up to
// kgo.FetchMaxWait; handlers that make room within the grace never meet that.
const pauseGrace = 100 * time.Millisecond

// awaitRoom returns when the next poll is wanted. Full partitions are paused
// only if another partition's worker has nothing to do: until then not polling
// holds them back, and costs nothing, while pausing makes the client drop what it
// has fetched of them and fetch it again.
func (a *App) awaitRoom(ctx context.Context) {
	var grace <-chan time.Time
	for {
		full, idle := a.crowding()
		if len(full) == 0 {
			return
		}
		if idle && grace == nil {
			timer := time.NewTimer(pauseGrace)
			defer timer.Stop()
			grace = timer.C
		}
		select {
		case <-a.room:
		case <-grace:
			for _, p := range full {
				a.pause(p)
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

// crowding returns the partitions that are full and not paused, and whether
// there are idle workers.
func (a *App) crowding() (full []*partition, idle bool) {
	for _, p := range a.assigned() {
		p.mu.Lock()
		if p.full(&a.cfg) && !p.mu.paused {
			full = append(full, p)
		}
		idle = idle || p.mu.idle
		p.mu.Unlock()
	}
	return full, idle
}

// roomChanged tells the poll loop that a worker is idle or a queue is shorter.
func (a *App) roomChanged() {
	select {
	case a.room <- struct{}{}:
	default:
	}
}

func (a *App) pause(p *partition) {
	a.pauseMu.Lock()
	defer a.pauseMu.Unlock()
	p.mu.Lock()
	p.mu.paused = p.full(&a.cfg) && !p.mu.closed // the worker may have been quicker, or the hand-over
	paused := p.mu.paused
	p.mu.Unlock()
	if paused {
		a.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.id}})
	}
}

func (a *App) resume(p *partition) {
	a.pauseMu.Lock()
	defer a.pauseMu.Unlock()
	p.mu.Lock()
	was := p.mu.paused
	p.mu.paused = false
	p.mu.Unlock()
	if was {
		a.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.id}})
	}
}
