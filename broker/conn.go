package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

const (
	// maxInflight is how many requests of one connection may wait for their
	// answers to be written.
	maxInflight = 128
	// maxPending is how many bytes of answers may wait to be written on one
	// connection before no more requests are read from it.
	maxPending = 4 << 20
)

// lastWords is how long a client whose connection is being closed has to take the
// answers that were ready.
const lastWords = 5 * time.Second

// conn is one client connection: a goroutine that reads, checks and appends,
// and one that writes the answers in order. The reader owns the connection: it
// makes the writer end by closing queue, and the writer closes the socket.
type conn struct {
	b         *Broker
	net       net.Conn
	ctx       context.Context // ends when the connection is of no more use
	cancel    context.CancelFunc
	host      string                 // of the client, as Kafka prints it
	clientID  atomic.Pointer[string] // of the last request; spares a string for each
	advertise endpoint
	frames    frameReader
	commit    [1]storage.Append // of the Produce request being served
	queue     chan *slot
	hurry     chan struct{} // closed: write what is ready, wait for nobody
	pending   atomic.Int64  // bytes of answers not yet written
	drained   chan struct{} // has a token when pending went down
	progress  atomic.Int64  // when the client last took something, ns; kept while counted.any
	taking    taking        // of the client, when others wait; guarded by Broker.mu
	counted   struct {
		sync.Mutex
		bytes  int64 // of pending, counted in the broker's budget of answers
		closed bool
		any    atomic.Bool // bytes is not 0; may be read without the lock
	}
}

func newConn(b *Broker, nc net.Conn, advertise endpoint) *conn {
	c := &conn{
		b: b, net: nc, host: "/" + hostOf(nc.RemoteAddr()), advertise: advertise,
		queue:   make(chan *slot, maxInflight),
		hurry:   make(chan struct{}),
		drained: make(chan struct{}, 1),
	}
	c.clientID.Store(new(string))
	c.ctx, c.cancel = context.WithCancel(b.ctx)
	context.AfterFunc(c.ctx, func() { nc.Close() }) // wakes who is stuck in it
	c.frames = frameReader{src: nc, budget: b.budget, max: b.settings.MaxRequestBytes, idle: b.settings.MaxIdle, stop: b.stopping}
	return c
}

// hostOf is the host of an address, or the address if it has none.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// readLoop serves requests until the connection or the broker ends.
func (c *conn) readLoop() {
	err := c.readAll()
	close(c.queue)
	c.frames.drop()
	if c.b.isStopping() {
		return // what was accepted is answered
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		c.cancel() // the client is gone, or the writer has told why it closed
		return
	}
	c.b.logClosed(c, err)
	close(c.hurry)
	_ = c.net.SetWriteDeadline(time.Now().Add(lastWords)) // fails only on a closed connection
}

func (c *conn) readAll() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.b.panicked(c, p, debug.Stack())
		}
	}()
	for {
		if err := c.throttleReads(); err != nil {
			return err
		}
		frame, err := c.frames.next(c.ctx)
		if err != nil {
			return err
		}
		if err := c.serve(frame); err != nil {
			return err
		}
		if c.b.isStopping() {
			return errStopping
		}
	}
}

// throttleReads waits while too many bytes of answers are not written.
func (c *conn) throttleReads() error {
	for c.pending.Load() > maxPending {
		select {
		case <-c.drained:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
	return nil
}

// header is what precedes the body of a request.
type header struct {
	key, version int16
	correlation  int32
	clientID     []byte
}

// serve reads a request's header and hands the body to its handler.
func (c *conn) serve(frame []byte) error {
	h := header{
		key:         int16(binary.BigEndian.Uint16(frame)),
		version:     int16(binary.BigEndian.Uint16(frame[2:])),
		correlation: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	r := wireReader{src: frame[8:]}
	h.clientID = r.str()
	if r.bad {
		return fmt.Errorf("%w: header", errUndecodable)
	}
	if string(h.clientID) != *c.clientID.Load() {
		id := string(h.clientID)
		c.clientID.Store(&id)
	}
	a := c.b.apis.find(h.key, h.version)
	if a == nil && h.key == kmsg.ApiVersions.Int16() {
		return c.enqueue(c.unknownAPIVersions(h))
	}
	if a == nil {
		return &unservedError{h.key, h.version}
	}
	if a.limit > 0 && len(frame) > a.limit {
		return fmt.Errorf("%w: %d bytes, the limit of %s is %d", errFrameSize, len(frame), a.name(), a.limit)
	}
	flexible := h.version >= a.flexible
	if flexible {
		r.flexible = true
		r.tags(nil)
		if r.bad {
			return fmt.Errorf("%w: header", errUndecodable)
		}
	}
	s := c.newSlot(h, a)
	s.call.flexible = flexible && a.key != kmsg.ApiVersions
	if err := c.run(s, r.src); err != nil {
		return err
	}
	if s.silent {
		c.b.slots.recycle(s)
		return nil
	}
	return c.enqueue(s)
}

func (c *conn) newSlot(h header, a *api) *slot {
	s := c.b.slots.get()
	s.api, s.start = a, time.Now()
	s.call = call{
		ctx: c.ctx, key: h.key, version: h.version, clientID: *c.clientID.Load(), host: c.host,
		correlation: h.correlation, conn: c, slot: s,
	}
	return s
}

// freeDecoding is the size of a request whose decoding is not counted.
const freeDecoding = 4 << 10

// run calls the handler. What decoding may allocate counts against a budget
// meanwhile, so that lies about array lengths cannot add up over connections. It
// is another budget than that of the bytes read: a connection that holds some of
// one and waits for more of it might wait for itself.
func (c *conn) run(s *slot, body []byte) error {
	if s.api.cost > 0 && len(body) > freeDecoding {
		n := int64(len(body)) * int64(s.api.cost)
		if err := c.b.decoding.acquire(c.ctx, n); err != nil {
			return err
		}
		s.decoding = n
	}
	served := false
	defer func() {
		if s.decoding > 0 {
			c.b.decoding.release(s.decoding)
			s.decoding = 0
		}
		if n := s.charged.Load(); n > 0 && (!served || s.silent) {
			c.b.answers.release(s.charged.Swap(0)) // nothing is going to be answered
		}
	}()
	if err := s.api.handler(&s.call, body); err != nil {
		return fmt.Errorf("%s v%d: %w", s.api.name(), s.call.version, err)
	}
	served = true
	return nil
}

// enqueue puts a slot behind those before it; it waits while there are too many.
func (c *conn) enqueue(s *slot) error {
	select {
	case c.queue <- s:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// unservedError: the key or the version is not in the table. Kafka closes the
// connection, and so do we.
type unservedError struct{ key, version int16 }

func (e *unservedError) Error() string {
	return fmt.Sprintf("%s (key %d) version %d is not served", apiName(e.key), e.key, e.version)
}
