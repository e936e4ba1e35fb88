package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// endpoint is an address as clients are told it.
type endpoint struct {
	host string
	port int32
}

// inProcess is the address told to clients that came by DialContext. It cannot
// be reached otherwise.
var inProcess = endpoint{"weir.in-process", 9092}

// Serve accepts clients on l until Shutdown, and then returns nil. It may be
// called for several listeners at once. It closes l.
func (b *Broker) Serve(l net.Listener) error {
	b.mu.Lock()
	if b.mu.stopping {
		b.mu.Unlock()
		return errors.Join(ErrStopped, l.Close())
	}
	b.mu.listeners = append(b.mu.listeners, l)
	b.readers.Add(1)
	b.mu.Unlock()
	defer b.readers.Done()
	defer l.Close()
	return b.accept(l)
}

// maxBackoff bounds the pause after a failed accept.
const maxBackoff = time.Second

func (b *Broker) accept(l net.Listener) error {
	pause := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			if err := b.start(nc, b.advertised(nc.LocalAddr())); err != nil {
				b.logRefused(nc, err)
				nc.Close()
			}
		case b.isStopping():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		default:
			// Out of file descriptors, or a connection that was gone at once.
			b.logger.Warn("cannot accept a connection", "listener", l.Addr().String(), "error", err, "retry", pause)
			select {
			case <-time.After(pause):
			case <-b.stopping:
				return nil
			}
			pause = min(2*pause, maxBackoff)
		}
	}
}

// advertised is the address that a client of this local address is told: the
// setting advertised.listeners, or the address that the client itself used.
func (b *Broker) advertised(local net.Addr) endpoint {
	if a := b.settings.AdvertisedListeners; len(a) > 0 {
		return endpoint{a[0].Host, a[0].Port}
	}
	host, port, err := net.SplitHostPort(local.String())
	if err != nil {
		return inProcess
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return inProcess
	}
	return endpoint{host, int32(n)}
}

var (
	errTooMany      = errors.New("too many connections (max.connections, or the limit of file descriptors)")
	errTooManyPerIP = errors.New("too many connections from this address (max.connections.per.ip)")
)

// start begins to serve a connection.
func (b *Broker) start(nc net.Conn, e endpoint) error {
	c := newConn(b, nc, e)
	b.mu.Lock()
	defer b.mu.Unlock()
	ip := c.limitedIP()
	switch {
	case b.mu.stopping:
		c.cancel()
		return ErrStopped
	case len(b.mu.conns) >= b.maxConnections:
		c.cancel()
		return errTooMany
	case ip != "" && b.mu.perIP[ip] >= b.settings.MaxConnectionsPerIP:
		c.cancel()
		return errTooManyPerIP
	}
	b.mu.conns[c] = struct{}{}
	if ip != "" {
		b.mu.perIP[ip]++
	}
	b.metricsConnected()
	b.readers.Go(c.readLoop)
	b.writers.Go(c.writeLoop)
	return nil
}

// limitedIP is the client's address if connections from it are limited: the
// machine itself is exempt.
func (c *conn) limitedIP() string {
	a, err := netip.ParseAddr(c.host[1:])
	if err != nil || a.IsLoopback() {
		return ""
	}
	return c.host
}

// connClosed forgets a connection.
func (b *Broker) connClosed(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mu.conns, c)
	if ip := c.limitedIP(); ip != "" {
		if b.mu.perIP[ip]--; b.mu.perIP[ip] <= 0 {
			delete(b.mu.perIP, ip)
		}
	}
}

// stopReading closes the listeners and wakes the readers.
func (b *Broker) stopReading() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.mu.listeners {
		l.Close()
	}
	for c := range b.mu.conns {
		_ = c.net.SetReadDeadline(time.Now())
	}
}

// Addr is the address of the first listener, or nil before Serve.
func (b *Broker) Addr() net.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mu.listeners) == 0 {
		return nil
	}
	return b.mu.listeners[0].Addr()
}

// DialContext connects to the broker within the process; network and address are
// not looked at, so it fits kgo.Dialer. It works in a bubble of testing/synctest
// if the broker was opened there.
func (b *Broker) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, server := net.Pipe()
	if err := b.start(server, inProcess); err != nil {
		client.Close()
		server.Close()
		return nil, err
	}
	return client, nil
}
