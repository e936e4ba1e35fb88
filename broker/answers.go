package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A small request can ask for a large answer, and a client need not read it. So
// answers have a budget of the whole broker, apart from that of requests: one that
// may get large is counted before it is made, and what waits to be written is
// counted beyond a little that each connection has for itself.

const (
	// answersTotal is how many bytes all answers together take.
	answersTotal = 256 << 20
	// maxAnswer is how many one answer may take while it is made: its parts and
	// its encoding, about three times what is sent.
	maxAnswer = 96 << 20
	// freeAnswer is what each connection has for itself.
	freeAnswer = 16 << 10
)

var (
	errAnswerSize = errors.New("the answer would be too large: ask for less at once")
	errNoRoom     = errors.New("no memory for the answer: too much is waiting to be read by clients")
)

// reserve counts n bytes for the answer before it is made, and waits for them. It
// is for the goroutine that reads the connection. Without the error the bytes
// count until the answer is there, and from then on what it really takes.
func (c *call) reserve(n int64) error {
	beyond, err := c.beyond(n)
	if err != nil || beyond == 0 {
		return err
	}
	wait, cancel := context.WithTimeout(c.ctx, budgetWait)
	defer cancel()
	if err := c.conn.b.answers.acquire(wait, beyond); err != nil {
		return errNoRoom
	}
	c.slot.charged.Add(beyond)
	return nil
}

// tryReserve is reserve for those who must not wait. Several shards may call it
// at once for their parts of one answer.
func (c *call) tryReserve(n int64) error {
	beyond, err := c.beyond(n)
	if err != nil || beyond == 0 {
		return err
	}
	if answers := c.conn.b.answers; !answers.try(beyond) && !answers.tryPressed(beyond) {
		return errNoRoom
	}
	c.slot.charged.Add(beyond)
	return nil
}

// beyond adds n to what the answer is going to take and tells how much of it has
// to be counted.
func (c *call) beyond(n int64) (int64, error) {
	sum := c.slot.asked.Add(n)
	if sum > maxAnswer {
		c.slot.asked.Add(-n)
		return 0, fmt.Errorf("%w (%d bytes)", errAnswerSize, sum)
	}
	return min(n, max(0, sum-freeAnswer)), nil
}

// refuse ends the connection when it is this call's turn to be answered.
func (c *call) refuse(err error) {
	c.slot.buf, c.slot.refused = nil, err
	c.conn.answered(c.slot)
}

// answered is called when a slot is filled.
func (c *conn) answered(s *slot) {
	if !c.count(int64(len(s.buf)), s.charged.Swap(0)) {
		s.buf, s.refused = nil, errNoRoom
	}
	s.ready <- struct{}{}
}

// count counts n bytes of an answer that is going to be written, for which have
// bytes are reserved; false if there is no room.
func (c *conn) count(n, have int64) bool {
	if c.pending.Add(n) <= freeAnswer && have == 0 {
		return true // as nearly always; no lock is taken
	}
	lacks := c.countMore(have)
	if lacks > 0 && c.b.answers.tryPressed(lacks) {
		have += lacks
		lacks = c.countMore(have) // more, if another answer came meanwhile
	}
	if lacks > 0 {
		c.pending.Add(-n)
		c.b.answers.release(have)
	}
	return lacks == 0
}

// countMore counts what is pending, for which have bytes are reserved, and returns
// how many bytes there is no room for; then it has changed nothing.
func (c *conn) countMore(have int64) (lacks int64) {
	c.counted.Lock()
	defer c.counted.Unlock()
	more := max(0, c.pending.Load()-freeAnswer-c.counted.bytes)
	if c.counted.closed {
		more = 0 // nobody wants it any more
	}
	if more > have && !c.b.answers.try(more-have) {
		return more - have
	}
	if have > more {
		c.b.answers.release(have - more)
	}
	if more > 0 && c.counted.bytes == 0 {
		c.progressed(time.Now())
	}
	c.counted.bytes += more
	c.counted.any.Store(c.counted.bytes > 0)
	return 0
}

// uncount is called when n bytes of answers are written.
func (c *conn) uncount(n int64) {
	left := c.pending.Add(-n)
	if !c.counted.any.Load() {
		return
	}
	c.counted.Lock()
	defer c.counted.Unlock()
	c.giveBack(max(0, c.counted.bytes-max(0, left-freeAnswer)))
}

// uncountAll is called when the connection is closed: what is filled later goes
// nowhere.
func (c *conn) uncountAll() {
	c.counted.Lock()
	defer c.counted.Unlock()
	c.counted.closed = true
	c.giveBack(c.counted.bytes)
}

func (c *conn) giveBack(n int64) {
	if n > 0 {
		c.b.answers.release(n)
		c.counted.bytes -= n
	}
	c.counted.any.Store(c.counted.bytes > 0)
}

// joinBytes is about what the leader's answer to a JoinGroup takes, which lists
// what every member sent; others take nothing to speak of.
func joinBytes(resp *kmsg.JoinGroupResponse) int64 {
	n := 0
	for i := range resp.Members {
		n += 128 + 2*(len(resp.Members[i].MemberID)+len(resp.Members[i].ProtocolMetadata))
	}
	return int64(n)
}

// pin keeps what decoding the request may have allocated counted until the
// function that it returns is called, for a request that waits for somebody. It is
// called by the handler itself.
func (c *call) pin() (unpin func()) {
	n := c.slot.decoding
	if n == 0 {
		return func() {}
	}
	c.slot.decoding = 0
	budget := c.conn.b.decoding // once it is answered, the call serves another request
	return sync.OnceFunc(func() { budget.release(n) })
}

// topicKey is by what a request names a topic: by one of the two.
type topicKey struct {
	name string
	id   [16]byte
}

// once drops all but the first of the elements that are the same, in place.
func once[T any, K comparable](list []T, key func(*T) K) []T {
	if len(list) < 2 {
		return list
	}
	seen := make(map[K]bool, len(list))
	kept := list[:0]
	for i := range list {
		if k := key(&list[i]); !seen[k] {
			seen[k] = true
			kept = append(kept, list[i])
		}
	}
	clear(list[len(kept):])
	return kept
}
