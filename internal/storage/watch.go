package storage

import (
	"slices"
	"sync/atomic"
)

// Watcher is woken when readable bytes arrive on partitions it watches.
type Watcher struct {
	C chan struct{} // has one token when woken; made by NewWatcher

	min int64
	got atomic.Int64
}

// NewWatcher makes a watcher that is woken once minBytes have become readable
// on the partitions it watches, or when one of them is deleted.
func NewWatcher(minBytes int) *Watcher {
	return &Watcher{C: make(chan struct{}, 1), min: int64(minBytes)}
}

func (w *Watcher) add(n int64) {
	if w.got.Add(n) >= w.min {
		w.wake()
	}
}

func (w *Watcher) wake() {
	select {
	case w.C <- struct{}{}:
	default: // it has its token
	}
}

// Watch registers w; what became readable past from counts at once.
func (p *Partition) Watch(w *Watcher, from int64) {
	p.state.Lock()
	p.state.watchers = append(p.state.watchers, w)
	gone := p.state.deleted || p.state.closed
	m := p.state.high
	p.state.Unlock()
	if gone {
		w.wake()
		return
	}
	// Bytes behind m are counted by those who append them; the disk may have to
	// be asked for those before it, so not under the lock.
	w.add(p.bytesBetween(from, m))
}

// Unwatch removes w; a watcher that is not there is no error.
func (p *Partition) Unwatch(w *Watcher) {
	p.state.Lock()
	defer p.state.Unlock()
	ws := p.state.watchers
	if k := slices.Index(ws, w); k >= 0 {
		ws[k] = ws[len(ws)-1]
		ws[len(ws)-1] = nil
		p.state.watchers = ws[:len(ws)-1]
	}
}

// bytesBetween counts the bytes from the batch that holds offset to m. If they
// cannot be counted, readers are woken and meet the error themselves.
func (p *Partition) bytesBetween(offset int64, m mark) int64 {
	if offset >= m.offset || m.seg == nil {
		return 0
	}
	const all = 1 << 62
	p.state.Lock()
	segs := p.state.segments
	seg, pos, ok := p.hint(offset)
	p.state.Unlock()
	if !ok {
		seg = segmentAt(segs, offset)
		if seg == nil || !seg.pin() {
			return all
		}
		var err error
		pos, err = seg.find(offset)
		seg.unpin()
		if err != nil {
			return all
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
