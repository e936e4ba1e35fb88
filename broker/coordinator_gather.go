package broker

import (
	"sync"

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
