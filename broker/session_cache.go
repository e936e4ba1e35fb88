package broker

import (
	"encoding/binary"
	"io"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// sessionCache holds the incremental fetch sessions of all clients (KIP-227),
// bounded in number and in bytes. When it is full, a new session takes the place
// of one that was not used for sessionStale, or of one with fewer partitions
// that has lived longer than sessionStale; if there is none, it is not made, and
// the client goes on with full requests. These are Apache Kafka's rules for
// sessions of consumers.
type sessionCache struct {
	slots  int // most sessions
	bytes  int // most memory of all sessions, as fetchSession.cost counts it
	now    func() time.Time
	random io.Reader
	mu     struct {
		sync.Mutex
		byID map[int32]*fetchSession
		used int // bytes
	}
}

const (
	// sessionStale is Apache Kafka's MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS.
	sessionStale = 2 * time.Minute
	// maxSessionBytes holds some 40 sessions of 10,000 partitions each.
	maxSessionBytes = 128 << 20
)

// Epochs of sessions (KIP-227).
const (
	initialEpoch = 0  // a full request that wants a session
	finalEpoch   = -1 // a full request that wants none
)

func newSessionCache(slots int, now func() time.Time, random io.Reader) *sessionCache {
	c := &sessionCache{slots: slots, bytes: maxSessionBytes, now: now, random: random}
	c.mu.byID = map[int32]*fetchSession{}
	return c
}

// room says whether a session of so many partitions would find a slot, so that
// none is made in vain for each request of a client that gets none.
func (c *sessionCache) room(partitions int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.byID) < c.slots || c.victim(partitions, c.now()) != nil
}

// add gives the session an id and its first epoch, if there is room for it.
func (c *sessionCache) add(s *fetchSession) bool {
	c.mu.Lock()
	now := c.now()
	cost := s.cost()
	var gone []*fetchSession
	for len(c.mu.byID) > 0 && (len(c.mu.byID) >= c.slots || c.mu.used+cost > c.bytes) {
		victim := c.victim(s.count, now)
		if victim == nil {
			break
		}
		c.drop(victim)
		if !victim.busy { // else end does the rest
			gone = append(gone, victim)
		}
	}
	ok := len(c.mu.byID) < c.slots && c.mu.used+cost <= c.bytes
	if ok {
		s.id, s.epoch = c.newID(), nextEpoch(initialEpoch)
		s.created, s.used, s.size, s.charged = now, now, s.count, cost
		c.mu.byID[s.id] = s
		c.mu.used += cost
	}
	c.mu.Unlock()
	for _, s := range gone {
		s.detach()
	}
	return ok
}

// victim is the session whose place a new one of so many partitions may take, or
// nil.
func (c *sessionCache) victim(size int, now time.Time) *fetchSession {
	var oldest, smallest *fetchSession
	for _, s := range c.mu.byID {
		if oldest == nil || s.used.Before(oldest.used) || s.used.Equal(oldest.used) && s.id < oldest.id {
			oldest = s
		}
		// As in Apache Kafka, how long it has lived is looked at when it is used.
		if s.used.Sub(s.created) > sessionStale && s.size < size &&
			(smallest == nil || s.size < smallest.size || s.size == smallest.size && s.id < smallest.id) {
			smallest = s
		}
	}
	if oldest != nil && now.Sub(oldest.used) > sessionStale {
		return oldest
	}
	return smallest
}

// newID makes a random id above 0 that no session has; mu is held.
func (c *sessionCache) newID() int32 {
	var b [4]byte
	for {
		if _, err := io.ReadFull(c.random, b[:]); err != nil {
			panic("fetch sessions: no randomness: " + err.Error())
		}
		id := int32(binary.BigEndian.Uint32(b[:]) & math.MaxInt32)
		if id != 0 && c.mu.byID[id] == nil {
			return id
		}
	}
}

func nextEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// begin gives the session to one request, until end; code says why not. While a
// request is being served the epoch has moved on already, so that a second one
// with the same epoch meets INVALID_FETCH_SESSION_EPOCH.
func (c *sessionCache) begin(id, epoch int32, byID bool, by *conn) (s *fetchSession, code int16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s = c.mu.byID[id]
	switch {
	case s == nil:
		return nil, kerr.FetchSessionIDNotFound.Code
	case s.busy || s.epoch != epoch:
		return nil, kerr.InvalidFetchSessionEpoch.Code
	case s.byID != byID:
		return nil, kerr.FetchSessionTopicIDError.Code
	}
	s.busy, s.user = true, by
	s.epoch, s.used = nextEpoch(epoch), c.now()
	return s, 0
}

// changed counts the partitions of a session anew. It is false if they are too
// much for the cache; the session is then gone.
func (c *sessionCache) changed(s *fetchSession) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.byID[s.id] != s {
		return true // somebody closed it meanwhile: this is its last request
	}
	cost := s.cost()
	c.mu.used += cost - s.charged
	s.size, s.charged = s.count, cost
	if c.mu.used > c.bytes {
		c.drop(s)
		return false
	}
	return true
}

// end gives the session back.
func (c *sessionCache) end(s *fetchSession) {
	c.mu.Lock()
	s.busy = false
	gone := c.mu.byID[s.id] != s
	c.mu.Unlock()
	if gone {
		s.detach()
	}
}

// remove forgets a session, if it is there. One that serves a request ends with it.
func (c *sessionCache) remove(id int32) {
	c.mu.Lock()
	s := c.mu.byID[id]
	if s != nil {
		c.drop(s)
	}
	quiet := s != nil && !s.busy
	c.mu.Unlock()
	if quiet {
		s.detach()
	}
}

// leave ends a session's watching because the connection that used it closes. The
// session stays: its client may come back.
func (c *sessionCache) leave(id int32, by *conn) {
	c.mu.Lock()
	s := c.mu.byID[id]
	mine := s != nil && !s.busy && s.user == by
	if mine {
		s.busy, s.user = true, nil
	}
	c.mu.Unlock()
	if mine {
		s.detach()
		c.end(s)
	}
}

// drop takes a session out; mu is held.
func (c *sessionCache) drop(s *fetchSession) {
	delete(c.mu.byID, s.id)
	c.mu.used -= s.charged
}

// counts are the number of sessions, and of their partitions.
func (c *sessionCache) counts() (sessions, partitions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.mu.byID {
		partitions += s.size
	}
	return len(c.mu.byID), partitions
}
