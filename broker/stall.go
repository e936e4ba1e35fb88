package broker

import (
	"errors"
	"time"
)

// A client that reads nothing keeps its answers in the budget of all, a few
// MiB of them: until connections.max.idle.ms when it is a write that waits for it,
// for ever when the answers stand behind a long poll. Nobody minds while there is
// room. When others wait for room, whoever holds some of it and has taken nothing
// for stallAfter is closed.

const (
	stallAfter = 5 * time.Second
	// lookAgain is how often stalled connections are looked for, at most.
	lookAgain = time.Second
	// pieceBytes is how much a client has to take within stallAfter.
	pieceBytes = 64 << 10
)

var errStalled = errors.New("answers were not read while others waited for the memory that they hold")

// newAnswers makes the budget of answers.
func (b *Broker) newAnswers(total int64) *budget {
	answers := newBudget(total)
	answers.press = b.closeStalled
	return answers
}

// closeStalled is called while somebody finds no room for an answer. The caller
// holds no lock.
func (b *Broker) closeStalled() {
	now := time.Now().UnixNano()
	last := b.looked.Load()
	if now-last < int64(lookAgain) || !b.looked.CompareAndSwap(last, now) {
		return
	}
	var stalled []*conn
	b.mu.Lock()
	for c := range b.mu.conns {
		if c.counted.any.Load() && now-c.progress.Load() >= int64(stallAfter) {
			stalled = append(stalled, c)
		}
	}
	b.mu.Unlock()
	for _, c := range stalled {
		b.logClosed(c, errStalled)
		c.cancel()
		c.uncountAll()
	}
}

// progressed notes that the client took something, or that answers begin to count.
func (c *conn) progressed(now time.Time) { c.progress.Store(now.UnixNano()) }
