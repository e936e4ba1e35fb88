package group

import (
	"container/heap"
	"time"
)

// timer is one moment at which something is done, unless it is stopped before.
// It belongs to what it is about (a member, a group) and is armed in place.
type timer struct {
	fire func(now time.Time)
	at   time.Time
	seq  uint64 // orders timers of the same moment by when they were set
	pos  int    // index in the heap plus one; 0 when not armed
}

func (t *timer) armed() bool { return t.pos != 0 }

// timers are the armed timers of a Core, the earliest first.
type timers struct {
	heap timerHeap
	seq  uint64
}

// set arms t, or moves it.
func (ts *timers) set(t *timer, at time.Time) {
	ts.seq++
	t.at, t.seq = at, ts.seq
	if t.armed() {
		heap.Fix(&ts.heap, t.pos-1)
		return
	}
	heap.Push(&ts.heap, t)
}

func (ts *timers) stop(t *timer) {
	if t.armed() {
		heap.Remove(&ts.heap, t.pos-1)
	}
}

// next is the earliest timer, or nil.
func (ts *timers) next() *timer {
	if len(ts.heap) == 0 {
		return nil
	}
	return ts.heap[0]
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}

// Push and Pop are heap.Interface's.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.pos = len(*h)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.pos = 0
	return t
}
