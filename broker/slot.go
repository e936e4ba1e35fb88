package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/internal/storage"
)

// slot is the place of one answer in the order of a connection's answers. The
// handler fills it, perhaps later and from another goroutine; the connection's
// writer waits for it, then for the LSN, and writes it.
type slot struct {
	call  call
	api   *api
	start time.Time
	ready chan struct{} // holds a token when the answer is there

	buf   []byte // the answer, size field and all
	lsn   storage.LSN
	level storage.Level
	// refused: the connection ends instead of answering.
	refused error
	// asked is what the answer is going to take, by estimate, and charged how much
	// of that is counted in the broker's budget.
	asked, charged atomic.Int64
	// decoding is how much is counted for what decoding may have allocated.
	decoding int64
	// silent: there is no answer (acks=0).
	silent bool
	// acked lists where in buf the partitions of a Produce answer stand that say
	// all went well; they are rewritten when the sync fails.
	acked []int
	// fetch is a Fetch request that the writer itself serves, because its answer
	// is read from files and may wait for records.
	fetch *fetch
}

// keptAnswer is the largest buffer that a recycled slot keeps.
const keptAnswer = 16 << 10

// slotPool keeps slots for the next requests. It belongs to one broker, because a
// channel made in a bubble of testing/synctest may not leave it.
type slotPool struct{ pool sync.Pool }

func (p *slotPool) get() *slot {
	if s, ok := p.pool.Get().(*slot); ok {
		return s
	}
	return &slot{ready: make(chan struct{}, 1)}
}

// recycle may be called only when nobody else knows the slot any more: after its
// token was taken, or when no handler has seen it.
func (p *slotPool) recycle(s *slot) {
	buf, acked, ready := s.buf[:0], s.acked[:0], s.ready
	if cap(buf) > keptAnswer {
		buf = nil
	}
	if cap(acked) > keptAnswer/8 {
		acked = nil
	}
	*s = slot{buf: buf, acked: acked, ready: ready}
	p.pool.Put(s)
}
