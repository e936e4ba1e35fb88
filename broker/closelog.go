package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// closeLog remembers which clients were told of, so that one that comes again
// and again fills no log.
type closeLog struct {
	mu struct {
		sync.Mutex
		told map[string]time.Time
	}
}

const (
	// tellAgain is how long the same of the same client is not logged again.
	tellAgain = time.Minute
	// maxTold bounds the memory of what was told; when it is full, all is forgotten.
	maxTold = 1024
)

// first says whether what is to be logged now.
func (l *closeLog) first(what string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.mu.told[what]; ok && now.Sub(at) < tellAgain {
		return false
	}
	if l.mu.told == nil || len(l.mu.told) >= maxTold {
		l.mu.told = make(map[string]time.Time)
	}
	l.mu.told[what] = now
	return true
}

// logClosed tells why a connection is closed, once per client and minute. What
// happens to every connection at some time is for debugging only.
func (b *Broker) logClosed(c *conn, err error) {
	reason := closeReason(err)
	b.metrics.closed(reason)
	var netErr net.Error
	if errors.Is(err, errIdle) || errors.As(err, &netErr) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, errAcksZero) {
		b.logger.Debug("connection closed", "host", c.host, "client", *c.clientID.Load(), "error", err)
		return
	}
	if b.closes.first(c.host+*c.clientID.Load()+reason, b.cfg.Now()) {
		b.logger.Warn("connection closed", "host", c.host, "client", *c.clientID.Load(), "error", err)
	}
}

// closeReason is a short word for the metric.
func closeReason(err error) string {
	var unserved *unservedError
	switch {
	case errors.As(err, &unserved):
		return "unserved"
	case errors.Is(err, errUndecodable):
		return "undecodable"
	case errors.Is(err, errFrameSize), errors.Is(err, errAnswerSize):
		return "size"
	case errors.Is(err, errIdle):
		return "idle"
	case errors.Is(err, errSlow), errors.Is(err, errStalled):
		return "slow"
	case errors.Is(err, errBusy), errors.Is(err, errNoRoom):
		return "memory"
	case errors.Is(err, errAcksZero):
		return "acks0"
	case errors.Is(err, errPanicked):
		return "panic"
	}
	return "network"
}

// logRefused tells of a connection that was not let in.
func (b *Broker) logRefused(nc net.Conn, err error) {
	b.metrics.closed("refused")
	host := hostOf(nc.RemoteAddr())
	if b.closes.first(host+"refused", b.cfg.Now()) {
		b.logger.Warn("connection refused", "host", host, "error", err)
	}
}

var errPanicked = errors.New("panic while a request was served")

// panicked keeps a defect from ending the process: the connection is closed, the
// stack is logged, and weir_panics_total counts it.
func (b *Broker) panicked(c *conn, p any, stack []byte) error {
	b.metrics.panics.Inc()
	b.logger.Error("panic while a request was served; this is a defect, please report it",
		"host", c.host, "client", *c.clientID.Load(), "panic", fmt.Sprint(p), "stack", string(stack))
	return fmt.Errorf("%w: %v", errPanicked, p)
}
