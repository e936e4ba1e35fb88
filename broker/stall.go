package broker

import (
	"errors"
	"time"
)

// A client that reads nothing keeps its answers in the budget of all, a few
// MiB of them: until connections.max.idle.ms when it is a write that waits for it,
// for ever when the answers stand behind a long poll. Nobody minds while there is
// room. When others wait for room, whoever holds some of it and has taken less than
// pieceBytes for stallAfter is closed.
//
// What a client takes is not seen by its writes: the system has them wait until a
// third of its own buffer is free again, more than a MiB, for which a client that is
// slow, but takes its answers, needs half a minute. So the system is asked, where it
// tells, how much the client has acknowledged.

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
		if !c.counted.any.Load() || now-c.progress.Load() < int64(stallAfter) {
			continue
		}
		if s, known := sentTo(c.net); !known || c.taking.stalled(now, s) {
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

// sent is what the system tells of a connection's data.
type sent struct {
	acked uint64        // bytes that the client acknowledged
	quiet time.Duration // since data was last sent: it did not fit, or there was none
}

// taking is what is known of a client's reading from one look to another.
type taking struct {
	since int64  // ns; 0: there was no look
	acked uint64 // at since
}

// stalled is asked when the writes alone say so. At the first look, and when the
// client took enough since the one before, which may be long ago, it is given stallAfter
// unless it took nothing for as long.
func (t *taking) stalled(now int64, s sent) bool {
	if t.since != 0 && s.acked-t.acked < pieceBytes {
		return now-t.since >= int64(stallAfter)
	}
	t.since, t.acked = now, s.acked
	return s.quiet >= stallAfter
}

// progressed notes that the client took something, or that answers begin to count.
func (c *conn) progressed(now time.Time) { c.progress.Store(now.UnixNano()) }
