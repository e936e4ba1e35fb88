package broker

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// answerWriter writes a connection's answers in order. Small ones that are ready
// together leave in one write.
type answerWriter struct {
	c        *conn
	out      []byte      // answers not yet written
	outDone  int64       // bytes of them that count in conn.pending
	written  storage.LSN // highest LSN known to be written
	durable  storage.LSN // highest LSN known to be durable
	timer    *time.Timer // of long polls
	deadline time.Time   // that is set for writes
	sessions []int32     // that watch their partitions for this connection, the last used first
	chunk    bool        // out is a large buffer, or was: it counts in Broker.chunks
}

const (
	// gathered is how many bytes of answers are collected for one write.
	gathered = 32 << 10
	// chunkBytes is the largest piece of a file that is in memory at once for
	// one connection.
	chunkBytes = 256 << 10
)

var errAbandoned = errors.New("connection is closing, the answer was not ready")

func (c *conn) writeLoop() {
	defer c.b.connClosed(c)
	defer c.uncountAll()
	defer c.net.Close()
	defer c.cancel()
	w := &answerWriter{c: c}
	defer w.leaveSessions()
	defer w.uncountChunk()
	defer func() {
		if p := recover(); p != nil {
			_ = c.b.panicked(c, p, debug.Stack())
		}
	}()
	if err := w.run(); err != nil && c.ctx.Err() == nil && !errors.Is(err, errAbandoned) {
		c.b.logClosed(c, err)
	}
}

func (w *answerWriter) run() error {
	for {
		s, ok, err := w.nextSlot()
		if err != nil || !ok {
			return err
		}
		if err := w.answer(s); err != nil {
			return err
		}
		s.api.observe(s)
		w.c.b.slots.recycle(s)
	}
}

// nextSlot takes the next slot; before it blocks, all that was gathered is written.
func (w *answerWriter) nextSlot() (*slot, bool, error) {
	select {
	case s, ok := <-w.c.queue:
		if !ok {
			return nil, false, w.flush()
		}
		return s, true, nil
	default:
	}
	if err := w.flush(); err != nil {
		return nil, false, err
	}
	select {
	case s, ok := <-w.c.queue:
		return s, ok, nil
	case <-w.c.ctx.Done():
		return nil, false, w.c.ctx.Err()
	}
}

func (w *answerWriter) answer(s *slot) error {
	if s.fetch != nil {
		return w.serveFetch(s)
	}
	if err := w.await(s); err != nil {
		return err
	}
	if s.refused != nil {
		return s.refused
	}
	if err := w.waitFor(s); err != nil {
		if s.api.key != kmsg.Produce || !errors.Is(err, storage.ErrStorage) {
			return err
		}
		s.failProduced()
	}
	return w.write(s.buf)
}

// await waits until the handler has filled the slot.
func (w *answerWriter) await(s *slot) error {
	select {
	case <-s.ready:
		return nil
	default:
	}
	if err := w.flush(); err != nil {
		return err
	}
	select {
	case <-s.ready:
		return nil
	case <-w.c.ctx.Done():
		return w.c.ctx.Err()
	case <-w.c.hurry:
	}
	select {
	case <-s.ready:
		return nil
	default:
		return errAbandoned
	}
}

// reached asks, without waiting, whether an LSN has come to a level.
var reached = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// waitFor waits for what the answer tells to be as safe as it was asked to be.
func (w *answerWriter) waitFor(s *slot) error {
	known := &w.durable
	if s.level == storage.Written {
		known = &w.written
	}
	if s.lsn <= *known {
		return nil
	}
	store := w.c.b.store
	if len(w.out) > 0 && store.Wait(reached, s.lsn, s.level) != nil {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if err := store.Wait(w.c.ctx, s.lsn, s.level); err != nil {
		return err
	}
	*known = s.lsn
	return nil
}

// write gathers a small answer and writes a large one at once.
func (w *answerWriter) write(answer []byte) error {
	if len(w.out)+len(answer) > gathered {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.outDone += int64(len(answer))
	if len(answer) > gathered {
		err := w.send(answer)
		w.wrote()
		return err
	}
	w.out = w.grow(w.out, len(answer))
	w.out = append(w.out, answer...)
	return nil
}

func (w *answerWriter) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	err := w.send(w.out)
	w.keep(w.out)
	w.wrote()
	return err
}

// The buffers of answers are pooled, so that a connection that has nothing to write
// holds none. Nearly all answers fit a page; a chunk has the records of a Fetch, and
// room for the heads of a few partitions before they fill it.
const (
	pageCap  = gathered + 8<<10
	chunkCap = chunkBytes + 8<<10
	// manyChunks is how many chunks all connections hold, 132 MiB. Clients that
	// read slowly beyond that get their records by the page.
	manyChunks = 512
)

var (
	pages  = sync.Pool{New: func() any { return new([pageCap]byte) }}
	chunks = sync.Pool{New: func() any { return new([chunkCap]byte) }}
)

// chunkSize is how many bytes of a Fetch are to be in memory at once, of so many that
// are wanted. It counts the large buffer that they will need, so that no two writers
// take the last one.
func (w *answerWriter) chunkSize(want int) int {
	if want <= gathered || w.claimChunk() {
		return chunkBytes
	}
	return gathered
}

// claimChunk counts a large buffer of this connection, unless there are too many.
func (w *answerWriter) claimChunk() bool {
	held := &w.c.b.chunks
	for n := held.Load(); !w.chunk && n < w.c.b.maxChunks; n = held.Load() {
		w.chunk = held.CompareAndSwap(n, n+1)
	}
	return w.chunk
}

// grow makes room for n bytes behind out, chunkBytes at most together.
func (w *answerWriter) grow(out []byte, n int) []byte {
	need := len(out) + n
	var next []byte
	switch {
	case need <= cap(out):
		return out
	case need <= pageCap:
		next = pages.Get().(*[pageCap]byte)[:0]
	default:
		next = chunks.Get().(*[chunkCap]byte)[:0]
		if !w.chunk {
			w.chunk = true
			w.c.b.chunks.Add(1)
		}
	}
	return append(next, out...)
}

// keep empties the buffer, which goes back to its pool.
func (w *answerWriter) keep(out []byte) {
	switch cap(out) {
	case pageCap:
		pages.Put((*[pageCap]byte)(out[:pageCap]))
	case chunkCap:
		chunks.Put((*[chunkCap]byte)(out[:chunkCap]))
	}
	w.out = nil
	w.uncountChunk()
}

func (w *answerWriter) uncountChunk() {
	if w.chunk {
		w.chunk = false
		w.c.b.chunks.Add(-1)
	}
}

// wrote tells the reader that answers have left.
func (w *answerWriter) wrote() {
	w.c.uncount(w.outDone)
	w.outDone = 0
	select {
	case w.c.drained <- struct{}{}:
	default:
	}
}

// send writes to the socket, in pieces if others may wait for the memory that the
// answers hold: who takes them is not stalled.
func (w *answerWriter) send(p []byte) error {
	for len(p) > pieceBytes && w.c.counted.any.Load() {
		if err := w.sendPiece(p[:pieceBytes]); err != nil {
			return err
		}
		p = p[pieceBytes:]
	}
	return w.sendPiece(p)
}

// sendPiece writes to the socket. A client that takes nothing for about as long as
// it might be idle is given up.
func (w *answerWriter) sendPiece(p []byte) error {
	now, idle := time.Now(), w.c.b.settings.MaxIdle
	if w.deadline.Sub(now) < idle/2 {
		w.deadline = now.Add(idle)
		_ = w.c.net.SetWriteDeadline(w.deadline) // fails only on a closed connection, as the write then does
		select {
		case <-w.c.hurry: // the reader may just have set this one, which counts
			_ = w.c.net.SetWriteDeadline(now.Add(lastWords))
		default:
		}
	}
	_, err := w.c.net.Write(p)
	if w.c.counted.any.Load() {
		w.c.progressed(time.Now())
	}
	return err
}
