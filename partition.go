package weir

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chunkSize is how many records a worker takes from its queue at once, and so
// how often it takes the partition's lock.
const chunkSize = 256

// partition is one partition while it is assigned: the queue between poll and
// worker, the ledger between worker and committer. A partition that comes back
// later is another value.
type partition struct {
	app   *App
	sub   *subscription
	topic string
	id    int32

	ctx    context.Context // the handlers'; ends when the partition is lost
	cancel context.CancelCauseFunc
	stop   chan struct{} // closed: begin no further record
	halt   atomic.Bool   // as stop, for a look per record
	done   chan struct{} // closed by the worker as its last act
	prev   chan struct{} // done of the same partition's worker before, if that one still runs
	wake   chan struct{} // capacity 1: records were queued, or one finished while waiting

	waiting atomic.Bool // the worker waits for acknowledgements
	trouble atomic.Bool // refused is not empty

	hopeless atomic.Int32 // records that cannot finish any more, since the App has failed

	mu struct {
		sync.Mutex
		queue       [][]*kgo.Record
		queued      int // records in queue and in the worker's chunk
		queuedBytes int
		chunk       int // records in the worker's chunk
		chunkBytes  int
		idle        bool  // the worker waits for records
		paused      bool  // the client was told to pause; changed under app.pauseMu too
		end         int64 // high watermark of the last fetch
		ledger      ledger
		refused     []refusal
		topicID     topicID // of the topic the records came from; zero where the cluster has no ids
		disowned    bool    // the topic was deleted: commit nothing
		closed      bool    // given up: nothing is queued and nothing paused any more
	}
}

type topicID [16]byte

// refusal is a produced record that no retry will make acceptable.
type refusal struct {
	t      *task
	err    error
	letter *letter // if it was a dead letter: a smaller one to write instead
}

func (p *partition) full(cfg *Config) bool {
	return p.mu.queued >= cfg.MaxQueued || p.mu.queuedBytes >= cfg.MaxQueuedBytes
}

func (p *partition) low(cfg *Config) bool {
	return p.mu.queued <= cfg.MaxQueued/2 && p.mu.queuedBytes <= cfg.MaxQueuedBytes/2
}

// push queues fetched records for the worker.
func (p *partition) push(recs []*kgo.Record, end int64, id topicID) {
	bytes := sizeOf(recs)
	p.mu.Lock()
	if len(recs) > 0 && !p.mu.closed {
		p.mu.topicID = id
		if p.mu.ledger.position < 0 {
			p.mu.ledger.position = recs[0].Offset
		}
		p.mu.queue = append(p.mu.queue, recs)
		p.mu.queued += len(recs)
		p.mu.queuedBytes += bytes
		p.mu.idle = false
	}
	p.mu.end = max(p.mu.end, end)
	p.mu.Unlock()
	p.signal()
}

func sizeOf(recs []*kgo.Record) int {
	n := 0
	for _, r := range recs {
		n += len(r.Key) + len(r.Value)
	}
	return n
}

// pop takes up to chunkSize records, the chunk before being worked off; none if
// the queue is empty. room says that half of a full queue is worked off.
func (p *partition) pop() (chunk []*kgo.Record, room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	low := p.low(&p.app.cfg)
	p.mu.queued -= p.mu.chunk
	p.mu.queuedBytes -= p.mu.chunkBytes
	room = !low && p.low(&p.app.cfg)
	p.mu.chunk, p.mu.chunkBytes = 0, 0
	if len(p.mu.queue) == 0 {
		p.mu.idle = true
		return nil, room
	}
	front := p.mu.queue[0]
	if n := min(chunkSize, len(front)); n < len(front) {
		chunk, p.mu.queue[0] = front[:n], front[n:]
	} else {
		chunk = front
		p.mu.queue[0] = nil
		p.mu.queue = p.mu.queue[1:]
	}
	p.mu.chunk, p.mu.chunkBytes = len(chunk), sizeOf(chunk)
	return chunk, room
}

// discard drops what is queued, and what is yet to be: the worker has halted.
func (p *partition) discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.closed = true
	p.mu.queue, p.mu.queued, p.mu.queuedBytes = nil, p.mu.chunk, p.mu.chunkBytes
}

// disown keeps the partition's position from being committed.
func (p *partition) disown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.disowned = true
}

// ended tells whether the worker has returned.
func (p *partition) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal wakes the worker.
func (p *partition) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// finishedOne is called for each record that finishes, from any goroutine.
func (p *partition) finishedOne() {
	if p.waiting.Load() {
		p.signal()
	}
}

// refuse hands a record, whose handler produced what no retry can make
// acceptable, back to the worker, which writes its dead letter. The caller may
// be the client's producer goroutine, which must not produce.
func (p *partition) refuse(r refusal) {
	p.mu.Lock()
	p.mu.refused = append(p.mu.refused, r)
	p.mu.Unlock()
	p.trouble.Store(true)
	p.signal()
}

func (p *partition) takeRefused() []refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble.Store(false)
	r := p.mu.refused
	p.mu.refused = nil
	return r
}

// halted begins the partition's end; it may be called more than once, from any
// goroutine.
func (p *partition) halted() {
	if p.halt.CompareAndSwap(false, true) {
		close(p.stop)
	}
}

// progress moves the ledger on and returns what may be committed.
func (p *partition) progress() (at kgo.EpochOffset, id topicID, dirty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.ledger.advance()
	l := &p.mu.ledger
	return kgo.EpochOffset{Epoch: l.epoch, Offset: l.position}, p.mu.topicID, l.dirty() && !p.mu.disowned
}

func (p *partition) committed(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.ledger.committed = max(p.mu.ledger.committed, offset)
}

// stats also returns how many records were finished.
func (p *partition) stats() (s PartitionStats, finished int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.ledger.advance()
	s = PartitionStats{Position: p.mu.ledger.position, Queued: p.mu.queued, InFlight: p.mu.ledger.inFlight(), Paused: p.mu.paused}
	if s.Position >= 0 {
		s.Lag = max(0, p.mu.end-s.Position)
	}
	return s, p.mu.ledger.finished
}
