package sim

import (
	"context"
	"net"
	"sync"
)

// line is the way of one client to the broker. While it is held nothing goes
// through it in either direction, as if the client's machine stood still.
type line struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	held chan struct{} // closed when it is let go; nil if it is not held
}

// newLine makes a line to the target, and the target at its end.
func newLine(t Target) (*line, Target) {
	l := &line{dial: t.Dial}
	if l.dial == nil {
		l.dial = (&net.Dialer{}).DialContext
	}
	t.Dial = l.Dial
	return l, t
}

func (l *line) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = make(chan struct{})
}

func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held)
	l.held = nil
}

// gate is closed when the line is let go; nil if it is not held.
func (l *line) gate() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

func (l *line) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if g := l.gate(); g != nil {
		select {
		case <-g:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &lineConn{Conn: c, line: l, closed: make(chan struct{})}, nil
}

type lineConn struct {
	net.Conn
	line   *line
	once   sync.Once
	closed chan struct{}
}

func (c *lineConn) wait() {
	if g := c.line.gate(); g != nil {
		select {
		case <-g:
		case <-c.closed:
		}
	}
}

func (c *lineConn) Write(b []byte) (int, error) {
	c.wait()
	return c.Conn.Write(b)
}

// Read: what came in meanwhile is heard of when the line is let go.
func (c *lineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wait()
	return n, err
}

func (c *lineConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
