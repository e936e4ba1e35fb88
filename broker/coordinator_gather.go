package broker

import (
	"sync"
	"time"

	"github.com/weirstream/weir/internal/storage"
)

// gather ends a request that several shards have a part in: the last part that
// is finished runs end, with the newest LSN that any part spoke of.
type gather struct {
	mu struct {
		sync.Mutex
		left int
		lsn  storage.LSN
	}
	end func(lsn storage.LSN)
}

// newGather waits for n parts; none at all end it at once.
func newGather(n int, end func(lsn storage.LSN)) *gather {
	g := &gather{end: end}
	g.mu.left = n
	if n == 0 {
		end(0)
	}
	return g
}

// done ends one part. What the part wrote is seen by end.
func (g *gather) done(lsn storage.LSN) {
	g.mu.Lock()
	g.mu.left--
	g.mu.lsn = max(g.mu.lsn, lsn)
	last, lsn := g.mu.left == 0, g.mu.lsn
	g.mu.Unlock()
	if last {
		g.end(lsn)
	}
}

// askEach has the shard of each of several groups do its part of a call: step gives
// the answer of the i-th group, fail a code in its place, for what there is no room,
// too. end runs when all have.
func (c *coordinator) askEach(call *call, groupIDs []string,
	step func(i int, s *shard, now time.Time) error, fail func(i int, code int16), end func(lsn storage.LSN)) {
	unpin := call.pin()
	all := newGather(len(groupIDs), func(lsn storage.LSN) {
		unpin()
		end(lsn)
	})
	for i, id := range groupIDs {
		c.askPart(call, id, task{
			step: func(s *shard, now time.Time) func(storage.LSN) {
				if err := step(i, s, now); err != nil {
					fail(i, noRoomCode(err))
				}
				return all.done
			},
			fail: func(code int16) {
				fail(i, code)
				all.done(0)
			},
		})
	}
}
