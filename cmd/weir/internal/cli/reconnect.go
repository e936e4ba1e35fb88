package cli

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reconnects tells a person, once per loss, that the broker went away and that
// it came back: the client tries for ever, and a console that prints nothing
// would look as if there were nothing to print.
type reconnects struct {
	app *app
	mu  struct {
		sync.Mutex
		was, lost bool
	}
}

var _ kgo.HookBrokerConnect = (*reconnects)(nil)

// OnBrokerConnect is called by the client after every try.
func (c *reconnects) OnBrokerConnect(b kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && c.mu.lost:
		c.app.notef("connected to %s:%d again", b.Host, b.Port)
		c.mu.lost = false
	case err != nil && c.mu.was && !c.mu.lost:
		c.app.notef("lost the broker at %s:%d (%v); trying again", b.Host, b.Port, err)
		c.mu.lost = true
	}
	c.mu.was = c.mu.was || err == nil
}

// passing is an error of a group session that the client gets over by itself:
// the broker is away, or the coordinator has moved or is loading.
func passing(err error) bool {
	var session *kgo.ErrGroupSession
	return errors.As(err, &session) && (isUnreachable(err) || kerr.IsRetriable(err) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, kerr.UnknownMemberID))
}

// refusal ends a run whose coordinator has answered errors for longer than
// --timeout. One that does not answer at all is waited for, and the hook tells it.
func (c *consumption) refusal(err error) error {
	var kafka *kerr.Error
	if !errors.As(err, &kafka) {
		return nil
	}
	if c.refused.IsZero() {
		c.refused = c.Now()
	}
	if c.Now().Sub(c.refused) < c.timeout {
		return nil
	}
	return fmt.Errorf("group %s: the broker has not been able to coordinate it for %v; its log and /readyz say why, often a full disk: %w",
		c.consumeFlags.group, c.timeout, &shortError{kafka})
}
