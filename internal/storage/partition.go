package storage

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/journal"
)

// mark is an offset and where its batch begins: behind pos bytes of seg.
type mark struct {
	offset int64
	seg    *segment
	pos    int64
}

// pending is an append whose frame is not durable yet.
type pending struct {
	mark
	bytes int64
}

// Partition is one partition's log.
type Partition struct {
	store  *Store
	topic  *topic
	number int32

	// mu is held by whoever appends, across the write to the segment, and by a
	// checkpoint while it takes its snapshot. It comes before state.
	mu      sync.Mutex
	windows producers
	staged  staged           // the append at work
	entry   [1]journal.Entry // scratch of the append at work
	cutBack bool             // the segment file may be longer than its size
	fresh   []*segment       // whose files may be dirty and are not in a checkpoint yet
	behind  []segmentFile    // recovery: files behind the recovery point that the checkpoint does not tell of
	strays  []segmentFile    // recovery: files that a cleaning left over
	newFile bool             // the topic's directory has an entry that is not synced
	record  []byte           // the partition's part of the last checkpoint
	changed atomic.Bool      // record is old
	cleaner cleanerState
	// heldUntil is the checkpoint that must be durable before appends go on; 0: none.
	heldUntil uint64

	state struct {
		sync.Mutex
		segments []*segment // never changed in place
		start    int64
		end      int64
		high     mark
		pending  []pending // in order; from head on
		head     int
		lastLSN  LSN
		epochs   epochHistory
		watchers []*Watcher
		// stableWatchers are told of bytes below the last stable offset only.
		stableWatchers []*Watcher
		txns           stability
		hints          [4]mark // where the last reads ended
		nextHint       int
		deleted        bool
		closed         bool
	}
}

// epochStart is an entry of the leader-epoch history.
type epochStart struct {
	epoch int32
	start int64
}

type epochHistory []epochStart

// at is the epoch that the history has for an offset, -1 if it begins behind it.
func (es epochHistory) at(offset int64) int32 {
	k := sort.Search(len(es), func(i int) bool { return es[i].start > offset })
	if k == 0 {
		return -1
	}
	return es[k-1].epoch
}

// ID is the topic's id and the partition's number.
func (p *Partition) ID() (TopicID, int32) { return p.topic.id, p.number }

// Offsets are the marks of a log.
type Offsets struct {
	Start  int64 // first offset that may be read
	Stable int64 // end for read_committed (LSO)
	High   int64 // end for readers: durable
	End    int64 // next offset to be assigned
}

// Offsets returns the marks, consistent with one another.
func (p *Partition) Offsets() Offsets {
	p.state.Lock()
	defer p.state.Unlock()
	return Offsets{Start: p.state.start, Stable: p.stableOffset(), High: p.state.high.offset, End: p.state.end}
}

// stableOffset is the last stable offset; state is locked.
func (p *Partition) stableOffset() int64 {
	return p.state.txns.stable(p.state.start, p.state.high.offset)
}

// LastLSN is the LSN of the newest frame of this partition, for replies that
// speak of state not yet durable (design, rule 3).
func (p *Partition) LastLSN() LSN {
	p.state.Lock()
	defer p.state.Unlock()
	return p.state.lastLSN
}

// LeaderEpoch is the epoch stamped on appends, raised at each unclean start.
func (p *Partition) LeaderEpoch() int32 { return p.store.epoch }

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch ≤ epoch and its end
// offset; -1, -1 if there is none. The end of the newest epoch is the high
// watermark: what lies behind it may still be lost.
func (p *Partition) EpochEnd(epoch int32) (int32, int64) {
	p.state.Lock()
	defer p.state.Unlock()
	if epoch >= p.store.epoch {
		return p.store.epoch, p.state.high.offset
	}
	es := p.state.epochs
	k := sort.Search(len(es), func(i int) bool { return es[i].epoch > epoch })
	switch {
	case k == 0:
		return -1, -1
	case k == len(es):
		return es[k-1].epoch, p.state.high.offset
	}
	return es[k-1].epoch, min(es[k].start, p.state.high.offset)
}

// epochAt is the leader epoch in which an offset was appended; -1: not known.
func (p *Partition) epochAt(offset int64) int32 {
	p.state.Lock()
	defer p.state.Unlock()
	return p.state.epochs.at(offset)
}

// Earliest is the log start and its leader epoch: that of the batch there, or, if
// nothing follows the start, the one of the next append. -1: not known.
func (p *Partition) Earliest() (offset int64, epoch int32) {
	p.state.Lock()
	defer p.state.Unlock()
	s := &p.state
	if s.start >= s.end {
		return s.start, p.store.epoch
	}
	return s.start, s.epochs.at(s.start)
}

// durable is a Partition as the journal knows it.
type durable Partition

// DurableTo moves the high watermark. The journal calls it once for each frame
// of the partition, in their order.
func (d *durable) DurableTo(end int64) {
	p := (*Partition)(d)
	p.state.Lock()
	defer p.state.Unlock()
	s := &p.state
	bytes := int64(0)
	for s.head < len(s.pending) && s.pending[s.head].offset <= end {
		bytes += s.pending[s.head].bytes
		s.high = s.pending[s.head].mark
		s.head++
	}
	if s.head == len(s.pending) {
		s.pending, s.head = s.pending[:0], 0
	}
	// The frame may be durable before its Commit comes to note the new end.
	s.end = max(s.end, end)
	p.moved(bytes)
}

// push queues an append until its frame is durable; state is locked.
func (p *Partition) push(e pending) {
	s := &p.state
	if len(s.pending) == cap(s.pending) && s.head > len(s.pending)/2 {
		n := copy(s.pending, s.pending[s.head:])
		s.pending, s.head = s.pending[:n], 0
	}
	s.pending = append(s.pending, e)
}

// hint finds where offset lies among the last places read to; state is locked.
func (p *Partition) hint(offset int64) (*segment, int64, bool) {
	if h := p.state.high; h.offset == offset && h.seg != nil {
		return h.seg, h.pos, true
	}
	for _, h := range p.state.hints {
		if h.seg != nil && h.offset == offset {
			return h.seg, h.pos, true
		}
	}
	return nil, 0, false
}

// segmentAt finds the segment that holds offset, or the first one if compaction
// left nothing before it.
func segmentAt(segs []*segment, offset int64) *segment {
	k := sort.Search(len(segs), func(i int) bool { return segs[i].base > offset })
	if k == 0 && len(segs) == 0 {
		return nil
	}
	return segs[max(k-1, 0)]
}

func (p *Partition) active() *segment {
	if n := len(p.state.segments); n > 0 {
		return p.state.segments[n-1]
	}
	return nil
}

// wakeAll wakes all watchers; state is locked.
func (p *Partition) wakeAll() {
	for _, w := range p.state.watchers {
		w.wake()
	}
	for _, w := range p.state.stableWatchers {
		w.wake()
	}
}

// took notes what an appended or redone batch of seg changes beside the bytes: its
// producer's window, the open transactions and the epoch history. It stands n
// bytes behind what was noted before; only of a control batch more is there than
// the header. mu is held.
func (p *Partition) took(seg *segment, b batch.Batch, n, now int64) {
	var c change
	if b.ProducerID() >= 0 {
		if p.windows == nil {
			p.windows = producers{}
		}
		before := len(p.windows)
		c = p.windows.add(b, now)
		if len(p.windows) > before {
			p.store.producers.Add(1)
		}
	}
	p.state.Lock()
	if c.began {
		p.state.txns.begin(b.BaseOffset(), n)
	}
	if c.ended {
		stable := p.state.txns.finish(c.first, b.NextOffset())
		if c.aborted {
			seg.aborts.note(AbortedTxn{b.ProducerID(), c.first, b.LastOffset(), stable})
		}
	}
	if es := p.state.epochs; len(es) == 0 || es[len(es)-1].epoch < b.LeaderEpoch() {
		p.state.epochs = append(es, epochStart{b.LeaderEpoch(), b.BaseOffset()})
	}
	p.state.Unlock()
}
