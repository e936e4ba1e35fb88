package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

const (
	smallBuffer = 4 << 10  // what an idle connection keeps
	readAhead   = 64 << 10 // how much is read while the size of a request is not known
	// tick is how often a blocked read looks at its limits. One deadline that is
	// moved rarely costs nothing per request; two that alternate cost two timers.
	tick = 10 * time.Second
	// bodyGrace and bodyRate bound how long a request may take to arrive.
	bodyGrace = 30 * time.Second
	bodyRate  = 64 << 10 // bytes per second
	// budgetWait bounds the wait for memory: two large requests that each hold
	// half of what they need would otherwise wait for each other for ever.
	budgetWait = 10 * time.Second
)

var (
	errIdle      = errors.New("connection idle for longer than connections.max.idle.ms")
	errSlow      = errors.New("request arrives too slowly")
	errFrameSize = errors.New("announced size is not that of a request")
	errBusy      = errors.New("no memory for the request within queued.max.request.bytes")
)

// frameReader cuts a connection's bytes into requests. Its buffer grows as
// bytes arrive, never by what a size field announces; what it holds above
// readAhead counts against the broker's budget.
type frameReader struct {
	src    net.Conn
	budget *budget
	max    int             // largest frame, in bytes
	idle   time.Duration   // longest time between two requests
	stop   <-chan struct{} // closed, and the read deadline moved to the past: read no more

	buf      []byte
	from, to int   // buf[from:to] is read and not yet used
	charged  int64 // bytes taken from the budget

	deadline time.Time // that is set on src
	since    time.Time // when the last request was complete, or the current one began
	partial  bool      // a request has begun
}

// next returns the next request without its size field. It is valid until the
// next call.
func (f *frameReader) next(ctx context.Context) ([]byte, error) {
	f.partial = f.to > f.from
	if err := f.need(ctx, 4); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(f.buf[f.from:])))
	if size < 8 || size > f.max {
		return nil, fmt.Errorf("%w: %d bytes, limit is %d", errFrameSize, size, f.max)
	}
	if err := f.need(ctx, 4+size); err != nil {
		return nil, err
	}
	frame := f.buf[f.from+4 : f.from+4+size]
	f.from += 4 + size
	return frame, nil
}

// need reads until n bytes are there.
func (f *frameReader) need(ctx context.Context, n int) error {
	for f.to-f.from < n {
		if f.from == f.to {
			f.from, f.to = 0, 0
		}
		if err := f.room(ctx, n); err != nil {
			return err
		}
		end := len(f.buf)
		if n <= readAhead {
			end = min(end, f.to+readAhead)
		} else {
			// Nothing of the next request, which would have to be moved later.
			end = min(end, f.from+n)
		}
		if err := f.read(f.buf[f.to:end]); err != nil {
			return err
		}
	}
	return nil
}

// room makes room for at least one byte more of the n that are needed.
func (f *frameReader) room(ctx context.Context, n int) error {
	if f.from+n <= len(f.buf) && f.to < len(f.buf) {
		return nil
	}
	if f.from > 0 {
		copy(f.buf, f.buf[f.from:f.to])
		f.from, f.to = 0, f.to-f.from
	}
	if f.to < len(f.buf) {
		return nil
	}
	size := max(smallBuffer, 2*len(f.buf))
	if size > readAhead {
		size = min(size, max(readAhead, n))
	}
	if size > readAhead {
		more := int64(size) - f.charged
		wait, cancel := context.WithTimeout(ctx, budgetWait)
		err := f.budget.acquire(wait, more)
		cancel()
		if err != nil {
			return errBusy
		}
		f.charged += more
	}
	buf := make([]byte, size)
	copy(buf, f.buf[:f.to])
	f.buf = buf
	return nil
}

// read reads at least one byte into p, which stands at f.to.
func (f *frameReader) read(p []byte) error {
	for {
		now := time.Now()
		if f.deadline.Sub(now) < min(tick, f.idle)/2 {
			f.setDeadline(now.Add(min(tick, f.idle)))
		}
		// After the deadline was set: stop is closed before it is moved.
		select {
		case <-f.stop:
			return errStopping
		default:
		}
		n, err := f.src.Read(p)
		if n > 0 {
			f.arrived(n)
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		p, err = f.late(p)
		if err != nil {
			return err
		}
	}
}

func (f *frameReader) arrived(n int) {
	if !f.partial {
		f.partial = true
		f.since = time.Now()
	}
	f.to += n
}

// late decides what becomes of a read that has waited until the deadline.
func (f *frameReader) late(p []byte) ([]byte, error) {
	now := time.Now()
	if f.since.IsZero() {
		f.since = now.Add(-min(tick, f.idle))
	}
	if f.partial {
		limit := f.since.Add(bodyGrace + time.Duration(f.to-f.from)*time.Second/bodyRate)
		if !now.Before(limit) {
			return nil, errSlow
		}
		f.setDeadline(limit)
		return p, nil
	}
	limit := f.since.Add(f.idle)
	if !now.Before(limit) {
		return nil, errIdle
	}
	f.setDeadline(limit)
	if len(f.buf) > smallBuffer {
		f.drop()
		f.buf = make([]byte, smallBuffer)
		p = f.buf
	}
	return p, nil
}

func (f *frameReader) setDeadline(t time.Time) {
	f.deadline = t
	_ = f.src.SetReadDeadline(t) // fails only on a closed connection, as the read then does
}

// drop gives the buffer back.
func (f *frameReader) drop() {
	f.buf, f.from, f.to = nil, 0, 0
	if f.charged > 0 {
		f.budget.release(f.charged)
		f.charged = 0
	}
}
