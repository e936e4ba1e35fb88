package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirstream/weir"
)

// heartbeat is how often a member asks whether its group has changed: short, so
// that partitions move while somebody looks on.
const heartbeat = 200 * time.Millisecond

// member is one running App of a group.
type member struct {
	name, group string
	app         *weir.App
	stop        context.CancelFunc
	done        chan struct{} // closed when Run has returned
	err         error         // what it returned; read after done
}

// newMember makes a member that is not running yet.
func newMember(cfg Config, group, name string, handle lineHandler) (*member, error) {
	app, err := weir.New(weir.Config{
		Brokers: cfg.Brokers, Group: group, Client: cfg.clientOpts(name),
		HeartbeatInterval: heartbeat, RebalanceTimeout: 10 * time.Second, DrainTimeout: 3 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	weir.Handle(app, orders, handle)
	return &member{name: name, group: group, app: app, done: make(chan struct{})}, nil
}

// start runs the App until stop is called. If it cannot go on, failed is told
// why.
func (m *member) start(failed func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go func() {
		defer close(m.done)
		m.err = m.app.Run(ctx)
		if m.err != nil {
			m.err = fmt.Errorf("application %s stopped: %w", m.name, m.err)
			failed(m.err)
		}
	}()
}

// stopAll has all members finish what they hold, commit, and leave.
func stopAll(members []*member) error {
	for _, m := range members {
		m.stop()
	}
	var errs []error
	for _, m := range members {
		<-m.done
		errs = append(errs, m.err)
	}
	return errors.Join(errs...)
}

func (m *member) stopped() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// partitions lists those the member has now.
func (m *member) partitions() []int32 {
	return slices.Sorted(maps.Keys(m.app.Stats().Topics[orders.Name].Partitions))
}

// handled counts the lines it has finished.
func (m *member) handled() int {
	return int(m.app.Stats().Topics[orders.Name].Handled)
}
