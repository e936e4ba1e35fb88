package storage

import (
	"slices"
	"time"

	"github.com/weirstream/weir/internal/batch"
)

// Producers are forgotten in two ways. One that sent nothing for
// Config.ProducerExpiry is unknown to the partition from then on, whenever its
// memory is freed. And when there are more than Config.MaxProducers in all
// partitions, those that are idle longest go, a tenth of the limit at a time, so
// that the search for them is paid by many new ones. A producer whose transaction
// is open is never forgotten: its marker would not find what it ends.

// forgetIdle makes those producers of b unknown that were idle for too long. mu
// is held.
func (p *Partition) forgetIdle(b []byte) {
	if len(p.windows) == 0 || len(b) < batch.HeaderLen || batch.Batch(b).ProducerID() < 0 {
		return
	}
	now := p.store.cfg.Now().UnixMilli()
	for len(b) > 0 {
		one, rest, err := batch.Split(b)
		if err != nil {
			return // the append is refused
		}
		b = rest
		if w := p.windows[one.ProducerID()]; w != nil && p.store.idle(w, now) {
			delete(p.windows, one.ProducerID())
			p.store.producers.Add(-1)
		}
	}
}

// idle says whether a producer's time is over; now is in ms.
func (s *Store) idle(w *producer, now int64) bool {
	return w.txn < 0 && now-w.used >= s.cfg.ProducerExpiry.Milliseconds()
}

// forgetWhere forgets producers of one partition. mu is held.
func (p *Partition) forgetWhere(gone func(w *producer) bool) {
	before := len(p.windows)
	for id, w := range p.windows {
		if gone(w) {
			delete(p.windows, id)
		}
	}
	p.store.producers.Add(int64(len(p.windows) - before))
}

// ForgetProducers frees the memory of those that sent nothing for too long.
func (s *Store) ForgetProducers(now time.Time) {
	s.eachPartition(func(p *Partition) {
		p.forgetWhere(func(w *producer) bool { return s.idle(w, now.UnixMilli()) })
	})
}

// Producers is how many idempotent producers are remembered, each counted in every
// partition that it wrote to.
func (s *Store) Producers() int64 { return s.producers.Load() }

// eachPartition calls f with every partition in turn, locked.
func (s *Store) eachPartition(f func(p *Partition)) {
	for _, t := range *s.topics.Load() {
		for _, p := range t.partitions() {
			p.mu.Lock()
			f(p)
			p.mu.Unlock()
		}
	}
}

// limitProducers forgets the longest idle when there are too many. Whoever finds
// that there are does it, after its own Commit and holding nothing; others go on.
func (s *Store) limitProducers() {
	if s.producers.Load() <= s.cfg.MaxProducers || !s.forgetting.CompareAndSwap(false, true) {
		return
	}
	defer s.forgetting.Store(false)
	var used []int64
	open := 0
	s.eachPartition(func(p *Partition) {
		for _, w := range p.windows {
			if w.txn < 0 {
				used = append(used, w.used)
			} else {
				open++
			}
		}
	})
	keep := int(s.cfg.MaxProducers - s.cfg.MaxProducers/10)
	excess := min(len(used)+open-keep, len(used))
	if excess <= 0 {
		return
	}
	slices.Sort(used)
	oldest := used[excess-1]
	s.eachPartition(func(p *Partition) {
		p.forgetWhere(func(w *producer) bool {
			if excess <= 0 || w.txn >= 0 || w.used > oldest {
				return false
			}
			excess--
			return true
		})
	})
	s.cfg.Logger.Warn("too many idempotent producers: forgot those that are idle longest", "limit", s.cfg.MaxProducers, "kept", s.producers.Load())
}
