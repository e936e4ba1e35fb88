package storage

import (
	"slices"
	"sync/atomic"
)

// Watcher is woken when readable bytes arrive on partitions it watches.
type Watcher struct {
	C chan struct{} // has one token when woken; made by NewWatcher

	min      int64
	got      atomic.Int64
	observer Observer // gets all instead, if there is one
}

// Observer is told of each change that the readers of a partition can see, for
// as long as its Watcher is registered. It is called with the partition's state
// locked: it must return at once and call nothing of this package.
type Observer interface {
	// Readable tells that so many bytes more are.
	Readable(bytes int64)
	// Changed tells that the log start moved, the topic was deleted or the store
	// closed.
	Changed()
}

// NewObserver makes a watcher that hands on all that it hears. It has no C.
func NewObserver(o Observer) *Watcher { return &Watcher{observer: o} }

// NewWatcher makes a watcher that is woken once minBytes have become readable
// on the partitions it watches, or when one of them is deleted.
func NewWatcher(minBytes int) *Watcher {
	return &Watcher{C: make(chan struct{}, 1), min: int64(minBytes)}
}

func (w *Watcher) add(n int64) {
	if w.observer != nil {
		w.observer.Readable(n)
		return
	}
	if w.got.Add(n) >= w.min {
		w.wake()
	}
}

func (w *Watcher) wake() {
	if w.observer != nil {
		w.observer.Changed()
		return
	}
	select {
	case w.C <- struct{}{}:
	default: // it has its token
	}
}

// Observe registers w, which NewObserver made. What was readable before is not
// told: look at the partition afterwards.
func (p *Partition) Observe(w *Watcher) {
	p.state.Lock()
	defer p.state.Unlock()
	p.register(&p.state.watchers, w)
}

// ObserveStable is Observe for readers of what is below the last stable offset
// only (read_committed).
func (p *Partition) ObserveStable(w *Watcher) {
	p.state.Lock()
	defer p.state.Unlock()
	p.register(&p.state.stableWatchers, w)
}

// register takes w in, and tells it if there is nothing more to come; state is
// locked.
func (p *Partition) register(list *[]*Watcher, w *Watcher) (gone bool) {
	*list = append(*list, w)
	gone = p.state.deleted || p.state.closed
	if gone {
		w.wake()
	}
	return gone
}

// Watch registers w; what became readable past from counts at once.
func (p *Partition) Watch(w *Watcher, from int64) {
	p.state.Lock()
	gone := p.register(&p.state.watchers, w)
	m := p.state.high
	p.state.Unlock()
	if gone {
		return
	}
	// Bytes behind m are counted by those who append them; the disk may have to
	// be asked for those before it, so not under the lock.
	w.add(p.bytesBetween(from, m))
}

// WatchStable is Watch for readers of what is below the last stable offset only
// (read_committed): w hears of bytes when they come to lie below it.
func (p *Partition) WatchStable(w *Watcher, from int64) {
	p.state.Lock()
	gone := p.register(&p.state.stableWatchers, w)
	m := p.state.high
	stable := p.stableOffset()
	p.state.Unlock()
	switch {
	case gone || from >= stable:
		return
	case stable == m.offset:
		w.add(p.bytesBetween(from, m))
	default:
		w.add(p.bytesUpTo(from, stable))
	}
}

// Unwatch removes w; a watcher that is not there is no error.
func (p *Partition) Unwatch(w *Watcher) {
	p.state.Lock()
	defer p.state.Unlock()
	if !unregister(&p.state.watchers, w) {
		unregister(&p.state.stableWatchers, w)
	}
}

func unregister(list *[]*Watcher, w *Watcher) bool {
	ws := *list
	k := slices.Index(ws, w)
	if k < 0 {
		return false
	}
	ws[k] = ws[len(ws)-1]
	ws[len(ws)-1] = nil
	*list = ws[:len(ws)-1]
	return true
}

// allBytes is what is told when bytes cannot be counted: readers are woken and
// meet the error themselves.
const allBytes = 1 << 62

// bytesUpTo counts the bytes from the batch that holds offset to the one that
// begins at end, which lies inside the log.
func (p *Partition) bytesUpTo(offset, end int64) int64 {
	p.state.Lock()
	seg := segmentAt(p.state.segments, end)
	p.state.Unlock()
	if seg == nil || !seg.pin() {
		return allBytes
	}
	defer seg.unpin()
	pos, err := seg.find(end)
	if err != nil {
		return allBytes
	}
	return p.bytesBetween(offset, mark{end, seg, pos})
}

// bytesBetween counts the bytes from the batch that holds offset to m. If they
// cannot be counted, readers are woken and meet the error themselves.
func (p *Partition) bytesBetween(offset int64, m mark) int64 {
	if offset >= m.offset || m.seg == nil {
		return 0
	}
	p.state.Lock()
	segs := p.state.segments
	seg, pos, ok := p.hint(offset)
	p.state.Unlock()
	if !ok {
		seg = segmentAt(segs, offset)
		if seg == nil || !seg.pin() {
			return allBytes
		}
		var err error
		pos, err = seg.find(offset)
		seg.unpin()
		if err != nil {
			return allBytes
		}
	}
	if seg == m.seg {
		return m.pos - pos
	}
	n := seg.size.Load() - pos
	for _, s := range segs {
		if s.base > seg.base && s.base < m.seg.base {
			n += s.size.Load()
		}
	}
	return n + m.pos
}
