package broker

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/storage"
)

// groupMetrics tells of the consumer groups. The shards are asked when somebody
// wants to know: a count that is kept would cost every change of a state.
type groupMetrics struct {
	coordinator *coordinator
	groups      *prometheus.Desc
	memory      *prometheus.Desc
}

// groupKinds are told also while there is no such group.
var groupKinds = []group.Kind{
	{State: group.Empty}, {State: group.PreparingRebalance}, {State: group.CompletingRebalance}, {State: group.Stable},
	{State: group.Empty, Consumer: true}, {State: group.Assigning, Consumer: true},
	{State: group.Reconciling, Consumer: true}, {State: group.Stable, Consumer: true},
}

// groupsWait bounds how long the shards are waited for. Those that are busy for
// longer are left out.
const groupsWait = time.Second

func newGroupMetrics(c *coordinator) *groupMetrics {
	return &groupMetrics{
		coordinator: c,
		groups:      prometheus.NewDesc("weir_groups", "Consumer groups, by state and protocol.", []string{"state", "protocol"}, nil),
		memory:      prometheus.NewDesc("weir_group_member_bytes", "Memory taken by what members of consumer groups sent.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *groupMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.groups
	out <- m.memory
}

// Collect implements prometheus.Collector.
func (m *groupMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(m.coordinator.ctx, groupsWait)
	defer cancel()
	states := m.coordinator.states(ctx)
	for _, k := range groupKinds {
		protocol := "classic"
		if k.Consumer {
			protocol = "consumer"
		}
		out <- prometheus.MustNewConstMetric(m.groups, prometheus.GaugeValue, float64(states[k]), string(k.State), protocol)
	}
	out <- prometheus.MustNewConstMetric(m.memory, prometheus.GaugeValue, float64(m.coordinator.memory.Load()))
}

// states counts the groups of all shards by state and protocol.
func (c *coordinator) states(ctx context.Context) map[group.Kind]int {
	shards := c.all()
	var sum struct {
		sync.Mutex
		states map[group.Kind]int
	}
	sum.states = map[group.Kind]int{}
	done := make(chan struct{})
	all := newGather(len(shards), func(storage.LSN) { close(done) })
	for _, s := range shards {
		s.send(ctx, task{
			step: func(s *shard, _ time.Time) func(storage.LSN) {
				sum.Lock()
				defer sum.Unlock()
				for kind, n := range s.core.States() {
					sum.states[kind] += n
				}
				return all.done
			},
			fail: func(int16) { all.done(0) },
		})
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	sum.Lock()
	defer sum.Unlock()
	states := sum.states
	sum.states = map[group.Kind]int{} // of those who come too late
	return states
}
