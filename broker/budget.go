package broker

import (
	"context"
	"sync"
	"time"
)

// budget bounds the bytes that all connections together hold for something. It
// is first come, first served, so that a large request is not starved by small
// ones.
type budget struct {
	total int64
	press func() // called, if there is one, once and each second while somebody waits
	mu    struct {
		sync.Mutex
		used    int64
		waiting []*budgetWaiter
	}
}

type budgetWaiter struct {
	n       int64
	granted chan struct{}
}

func newBudget(total int64) *budget { return &budget{total: total} }

// acquire waits until n bytes are free. More than the whole is taken as the whole.
func (b *budget) acquire(ctx context.Context, n int64) error {
	n = min(n, b.total)
	b.mu.Lock()
	if len(b.mu.waiting) == 0 && b.mu.used+n <= b.total {
		b.mu.used += n
		b.mu.Unlock()
		return nil
	}
	w := &budgetWaiter{n: n, granted: make(chan struct{})}
	b.mu.waiting = append(b.mu.waiting, w)
	b.mu.Unlock()
	var again <-chan time.Time
	if b.press != nil {
		b.press()
		t := time.NewTicker(lookAgain)
		defer t.Stop()
		again = t.C
	}
	for {
		select {
		case <-w.granted:
			return nil
		case <-ctx.Done():
			b.giveUp(w)
			return ctx.Err()
		case <-again:
			b.press()
		}
	}
}

// try takes n bytes if they are free, whoever waits for more.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.used+n > b.total {
		return false
	}
	b.mu.used += n
	return true
}

// tryPressed is try for whom there was no room, after press. The caller holds no
// lock.
func (b *budget) tryPressed(n int64) bool {
	if b.press == nil {
		return false
	}
	b.press()
	return b.try(n)
}

// giveUp takes a waiter out of the line, or gives back what it was just granted.
func (b *budget) giveUp(w *budgetWaiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.mu.waiting {
		if other == w {
			b.mu.waiting = append(b.mu.waiting[:i], b.mu.waiting[i+1:]...)
			b.grant()
			return
		}
	}
	b.mu.used -= w.n
	b.grant()
}

// release gives back what acquire took.
func (b *budget) release(n int64) {
	b.mu.Lock()
	b.mu.used -= min(n, b.total)
	b.grant()
	b.mu.Unlock()
}

// grant lets in from the front of the line what fits.
func (b *budget) grant() {
	for len(b.mu.waiting) > 0 {
		w := b.mu.waiting[0]
		if b.mu.used+w.n > b.total {
			return
		}
		b.mu.used += w.n
		b.mu.waiting = b.mu.waiting[1:]
		close(w.granted)
	}
}

// inUse is the number of bytes taken.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.used
}
