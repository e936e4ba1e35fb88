package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// membership is what consume -g keeps of its place in the group. The client
// calls its callbacks from a goroutine of its own; the rest is the loop's.
type membership struct {
	exitAtEnd bool

	mu struct {
		sync.Mutex
		assigned map[mark]bool
		changed  bool // since the loop looked
		joined   bool // at least one assignment came
		wakeup   func()
	}
}

// join makes a client that is a member of the group.
func (c *consumption) join(ctx context.Context, opts []kgo.Opt) (*kgo.Client, error) {
	m := &membership{exitAtEnd: c.exitAtEnd}
	m.mu.assigned = map[mark]bool{}
	c.group = m
	c.refused = c.Now() // the client tries for a while before it tells the first error
	client, err := c.connect(ctx, append(opts,
		kgo.ConsumerGroup(c.consumeFlags.group),
		kgo.ConsumeTopics(c.topics...),
		kgo.ConsumeResetOffset(c.span.from.reset()),
		kgo.AutoCommitMarks(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { m.change(parts, true) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { m.change(parts, false) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, parts map[string][]int32) {
			m.change(parts, false)
			if err := cl.CommitMarkedOffsets(ctx); err != nil {
				c.notef("commit before handing partitions over: %v", err)
			}
		}),
	)...)
	if err != nil {
		return nil, err
	}
	c.client = client
	return client, nil
}

// reset says where a partition begins that the group has not committed.
func (b bound) reset() kgo.Offset {
	o := kgo.NewOffset()
	switch b.kind {
	case atEnd:
		return o.AtEnd()
	case afterStart:
		return o.AtStart().Relative(b.n)
	case beforeEnd:
		return o.AtEnd().Relative(-b.n)
	case atTime:
		return o.AfterMilli(b.n)
	}
	return o.AtStart()
}

// leave commits what was printed, however the run ended, and leaves the group,
// so that the other members need not wait for a timeout.
func (c *consumption) leave(result error) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	c.client.AllowRebalance()
	if err := c.client.CommitMarkedOffsets(ctx); err != nil {
		if errors.Is(result, errReaderGone) || errors.Is(result, context.Canceled) {
			result = nil // what was asked for, and not the failure
		}
		result = errors.Join(fmt.Errorf("commit what was printed: %w", err), result)
	}
	if err := c.client.LeaveGroupContext(ctx); err != nil && result == nil {
		result = fmt.Errorf("leave group %s: %w", c.consumeFlags.group, err)
	}
	return result
}

func (m *membership) change(parts map[string][]int32, assigned bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, numbers := range parts {
		for _, p := range numbers {
			if assigned {
				m.mu.assigned[mark{topic, p}] = true
			} else {
				delete(m.mu.assigned, mark{topic, p})
			}
		}
	}
	m.mu.changed = true
	m.mu.joined = m.mu.joined || assigned
	if m.mu.wakeup != nil && assigned {
		m.mu.wakeup()
	}
}

// known tells whether the loop has seen the newest assignment.
func (m *membership) known() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.joined && !m.mu.changed
}

// news tells whether an assignment came that the loop has not seen.
func (m *membership) news() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.joined && m.mu.changed
}

// wake has f called at the next assignment, or at once if there is one that the
// loop has not seen; the function it returns forgets f.
func (m *membership) wake(f func()) (forget func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.joined && m.mu.changed {
		f()
	}
	m.mu.wakeup = f
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.mu.wakeup = nil
	}
}

// settle finds out, after an assignment and only with -e, what is left to read:
// from where the group stands to what is the end now.
func (m *membership) settle(ctx context.Context, c *consumption) error {
	m.mu.Lock()
	look := m.exitAtEnd && m.mu.joined && m.mu.changed
	m.mu.changed = false
	var mine []mark
	for p := range m.mu.assigned {
		mine = append(mine, p)
	}
	m.mu.Unlock()
	if !look {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*c.timeout)
	defer cancel()
	client := kadm.NewClient(c.client)
	logs, err := lookUpLogs(ctx, client, c.topics, c.readCommitted, c.span)
	if err != nil {
		return err
	}
	committed, err := committedOffsets(ctx, client, c.consumeFlags.group)
	if err != nil {
		return err
	}
	marked := c.client.MarkedOffsets()
	c.left = marks{}
	for _, p := range mine {
		l := logs[p]
		at := c.span.from.resolve(l.start, l.end, l.fromTime)
		if o, ok := committed.Lookup(p.topic, p.partition); ok && o.At >= 0 {
			at = o.At
		}
		if o, ok := marked[p.topic][p.partition]; ok {
			at = max(at, o.Offset)
		}
		if at < l.end {
			c.left[p] = l.end
		}
	}
	return nil
}
