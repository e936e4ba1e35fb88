package weir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// poll fetches and queues records until ctx ends.
func (a *App) poll(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := a.client.PollRecords(ctx, a.cfg.MaxQueued)
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if f.Err != nil {
				a.fetchFailed(f.Topic, f.Partition, f.Err)
			}
			a.mu.Lock()
			p := a.mu.parts[topicPartition{f.Topic, f.Partition}]
			a.mu.Unlock()
			if p != nil {
				p.push(f.Records, f.HighWatermark)
			}
		})
		a.client.AllowRebalance()
		a.awaitRoom(ctx)
	}
}

// fetchFailed decides about an error the client passed on. It retries by itself
// what can be retried, so that most are told for information.
func (a *App) fetchFailed(topic string, partition int32, err error) {
	var lost *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrClientClosed):
	case errors.As(err, &lost):
		a.cfg.Logger.Error("the broker has lost records that were fetched or committed before", "topic", lost.Topic, "partition", lost.Partition, "err", err)
	case isFatal(err):
		a.fail(fmt.Errorf("weir: consume %s-%d as group %s: %w", topic, partition, a.cfg.Group, err))
	default:
		a.cfg.Logger.Warn("fetch", "topic", topic, "partition", partition, "err", err)
	}
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
	p.mu.paused = p.full(&a.cfg) // the worker may have been quicker
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
