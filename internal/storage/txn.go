package storage

import (
	"cmp"
	"math"
	"slices"
)

// AbortedTxn is an aborted transaction in one partition, as a read_committed
// fetch tells of it (KIP-98).
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64 // of the marker
	// LastStable is the last stable offset that the marker brought about: no
	// aborted transaction that begins before it ends behind the marker.
	LastStable int64
}

// unstable is a transaction that keeps the last stable offset down.
type unstable struct {
	first int64 // offset of its first record
	at    int64 // bytes of the log before it, see stability.appended
	end   int64 // offset behind its marker; stillOpen
}

// stillOpen is the end of a transaction that has none yet.
const stillOpen = math.MaxInt64

// longAgo is the place of a transaction that this process did not append, or how
// far behind the others it stands: whoever waits for it to end is woken however
// much he waits for.
const longAgo = -(1 << 50)

// stability tells which part of a log is decided. A transaction leaves the list
// when the high watermark passes its marker: a marker that a power cut may still
// take decides nothing. All is guarded by Partition.state.
type stability struct {
	open    []unstable // in the order of first
	closing []unstable // whose marker lies at or behind the high watermark, in the order of end

	appended int64 // bytes that this process has seen appended
	durable  int64 // of them, below the high watermark
}

// begin notes the first batch of a transaction, n bytes behind appended.
func (s *stability) begin(first, n int64) {
	s.open = append(s.open, unstable{first: first, at: s.appended + n, end: stillOpen})
}

// find is the place of the transaction that begins at first.
func (s *stability) find(first int64) int {
	k, ok := slices.BinarySearchFunc(s.open, first, func(t unstable, first int64) int { return cmp.Compare(t.first, first) })
	if !ok {
		return -1
	}
	return k
}

// finish notes a marker and returns the last stable offset that it brings about
// once it is durable. end is the offset behind it.
func (s *stability) finish(first, end int64) (stable int64) {
	if k := s.find(first); k >= 0 {
		s.open[k].end = end
		s.closing = append(s.closing, s.open[k])
	}
	for i := range s.open {
		if s.open[i].end == stillOpen {
			return s.open[i].first
		}
	}
	return end
}

// settle drops the transactions whose marker lies below the high watermark.
func (s *stability) settle(high int64) {
	n := 0
	for n < len(s.closing) && s.closing[n].end <= high {
		if k := s.find(s.closing[n].first); k >= 0 {
			s.open = slices.Delete(s.open, k, k+1)
		}
		n++
	}
	if n > 0 {
		s.closing = slices.Delete(s.closing, 0, n)
	}
}

// stable is the last stable offset. The log start may lie behind the begin of an
// open transaction, and what is below it is nobody's to read.
func (s *stability) stable(start, high int64) int64 {
	if len(s.open) > 0 {
		return min(max(s.open[0].first, start), high)
	}
	return high
}

// stableBytes counts the bytes below the last stable offset as appended does.
func (s *stability) stableBytes() int64 {
	if len(s.open) > 0 {
		return min(s.open[0].at, s.durable)
	}
	return s.durable
}

// moved is called when the high watermark has moved by so many bytes, and wakes
// the watchers; state is locked.
func (p *Partition) moved(bytes int64) {
	s := &p.state
	before := s.txns.stableBytes()
	s.txns.durable += bytes
	s.txns.settle(s.high.offset)
	for _, w := range s.watchers {
		w.add(bytes)
	}
	if gained := s.txns.stableBytes() - before; gained > 0 {
		for _, w := range s.stableWatchers {
			w.add(gained)
		}
	}
}

// attachTxns makes the list of open transactions out of the producers that a
// checkpoint tells of.
func (p *Partition) attachTxns() {
	txns := stability{}
	for _, w := range p.windows {
		if w.txn >= 0 {
			txns.open = append(txns.open, unstable{first: w.txn, at: longAgo, end: stillOpen})
		}
	}
	slices.SortFunc(txns.open, func(a, b unstable) int { return cmp.Compare(a.first, b.first) })
	p.state.txns = txns
}

// ProducerState is what a partition remembers of a producer (KIP-664).
type ProducerState struct {
	ID               int64
	Epoch            int16
	LastSequence     int32 // -1: none in this epoch
	LastTimestamp    int64 // ms; when it last appended here, by the broker's clock; after a crash at most the time of the start
	CoordinatorEpoch int32 // of its last marker; -1: none
	TxnStart         int64 // offset at which its open transaction began; -1: none
}

// ActiveProducers lists the producers that the partition remembers, by their ids.
func (p *Partition) ActiveProducers() []ProducerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]ProducerState, 0, len(p.windows))
	for id, w := range p.windows {
		list = append(list, w.describe(id))
	}
	slices.SortFunc(list, func(a, b ProducerState) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// OpenTxns lists the producers that have a transaction open in the partition, by their ids.
func (p *Partition) OpenTxns() []ProducerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ProducerState
	for id, w := range p.windows {
		if w.txn >= 0 {
			list = append(list, w.describe(id))
		}
	}
	slices.SortFunc(list, func(a, b ProducerState) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// ActiveProducer finds one producer; false if the partition does not know it.
func (p *Partition) ActiveProducer(id int64) (ProducerState, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.windows[id]
	if w == nil {
		return ProducerState{}, false
	}
	return w.describe(id), true
}

func (w *producer) describe(id int64) ProducerState {
	s := ProducerState{
		ID: id, Epoch: w.epoch, LastSequence: -1, LastTimestamp: w.used,
		CoordinatorEpoch: w.coordinator, TxnStart: w.txn,
	}
	if w.n > 0 {
		s.LastSequence = w.window[w.n-1].last
	}
	return s
}
