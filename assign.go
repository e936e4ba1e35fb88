package weir

import (
	"context"
	"errors"
	"time"
)

// ErrPartitionLost is the cause (context.Cause) of a handler's context whose
// partition another member may have by now.
var ErrPartitionLost = errors.New("weir: the partition was lost to another member")

// ErrDrainTimeout is the cause of a handler's context when its record was not
// finished within Config.DrainTimeout of the partition's hand-over.
var ErrDrainTimeout = errors.New("weir: the record was not finished within DrainTimeout")

// assign starts a worker for each new partition. A topic that was deleted and
// made again can be assigned without having been revoked: the client sees to it
// that its cursors are new, and to nothing else.
func (a *App) assign(m map[string][]int32) {
	a.lose(a.named(m))
	a.mu.Lock()
	defer a.mu.Unlock()
	for topic, ids := range m {
		sub := a.subs[topic]
		if sub == nil {
			continue
		}
		for _, id := range ids {
			tp := topicPartition{topic, id}
			p := &partition{
				app: a, sub: sub, topic: topic, id: id,
				stop: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1),
			}
			p.ctx, p.cancel = context.WithCancelCause(context.Background())
			p.mu.ledger = newLedger()
			p.mu.idle = true
			if old := a.mu.retired[tp]; old != nil {
				p.prev = old.done
			}
			a.mu.parts[tp] = p
			go p.work()
		}
		a.cfg.Logger.Info("assigned", "topic", topic, "partitions", ids)
	}
}

// release hands partitions over: their workers stop, what they have finished is
// committed, and only then is it returned.
func (a *App) release(parts []*partition) {
	if len(parts) == 0 {
		return
	}
	for _, p := range parts {
		p.halted()
	}
	deadline := time.NewTimer(a.cfg.DrainTimeout)
	defer deadline.Stop()
	for _, p := range parts {
		select {
		case <-p.done:
		case <-deadline.C:
			a.cfg.Logger.Error("drain", "topic", p.topic, "partition", p.id, "err", ErrDrainTimeout)
			deadline.Reset(0) // the others have had their time too
		case <-a.life.Done():
		}
	}
	a.committer.last(parts)
	a.retire(parts, ErrDrainTimeout)
}

// lose gives partitions up that another member may have already.
func (a *App) lose(parts []*partition) {
	for _, p := range parts {
		p.halted()
	}
	a.retire(parts, ErrPartitionLost)
}

// retire forgets partitions; those whose handler still runs are remembered
// until it returns.
func (a *App) retire(parts []*partition, cause error) {
	for _, p := range parts {
		p.cancel(cause)
		p.discard() // first, or the poll loop finds it full and pauses it again
		a.resume(p) // a pause outlives an assignment in the client
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for tp, p := range a.mu.retired {
		if p.ended() {
			delete(a.mu.retired, tp)
		}
	}
	for _, p := range parts {
		tp := topicPartition{p.topic, p.id}
		if a.mu.parts[tp] != p {
			continue // a stop that ran out of time met the group's own callback
		}
		_, finished := p.stats()
		a.mu.counted[p.topic] += finished
		delete(a.mu.parts, tp)
		if !p.ended() {
			a.mu.retired[tp] = p
		}
		a.cfg.Logger.Info("given up", "topic", p.topic, "partition", p.id)
	}
	if a.mu.stop != nil && len(a.mu.parts) == 0 {
		a.mu.stop.Reset(min(leaveTimeout, time.Until(a.mu.stopBy)))
	}
}

// assigned returns the partitions of this App.
func (a *App) assigned() []*partition {
	a.mu.Lock()
	defer a.mu.Unlock()
	parts := make([]*partition, 0, len(a.mu.parts))
	for _, p := range a.mu.parts {
		parts = append(parts, p)
	}
	return parts
}

// named returns those of the given partitions that are assigned.
func (a *App) named(m map[string][]int32) []*partition {
	a.mu.Lock()
	defer a.mu.Unlock()
	var parts []*partition
	for topic, ids := range m {
		for _, id := range ids {
			if p := a.mu.parts[topicPartition{topic, id}]; p != nil {
				parts = append(parts, p)
			}
		}
	}
	return parts
}
