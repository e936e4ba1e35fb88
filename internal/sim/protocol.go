package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Protocol is how the members of a group share partitions.
type Protocol string

const (
	Eager       Protocol = "eager"       // classic, all partitions are let go in each rebalance
	Cooperative Protocol = "cooperative" // classic, only those that move
	Consumer    Protocol = "consumer"    // KIP-848
	Migrating   Protocol = "migrating"   // every second member KIP-848, the others cooperative: the group goes over and back
)

// Protocols are all of them.
func Protocols() []Protocol { return []Protocol{Eager, Cooperative, Consumer, Migrating} }

// group is the name of the load's group of this protocol.
func (p Protocol) group() string { return "sim-" + string(p) }

// sessionTimeout is how long a member that died keeps its partitions from others. A
// broker that was started again gives all members that long anew, and here it is
// often ended after a second.
const sessionTimeout = time.Second

// Settings are what a broker is started with, so that members that die are found
// out in seconds.
func Settings() map[string]string {
	return map[string]string{
		"group.min.session.timeout.ms":             fmt.Sprint(sessionTimeout.Milliseconds()),
		"group.consumer.min.session.timeout.ms":    fmt.Sprint(sessionTimeout.Milliseconds()),
		"group.consumer.session.timeout.ms":        fmt.Sprint(sessionTimeout.Milliseconds()),
		"group.consumer.min.heartbeat.interval.ms": "100",
		"group.consumer.heartbeat.interval.ms":     "200",
	}
}

// next says whether the member with this number speaks KIP-848.
func (p Protocol) next(number int) bool { return p == Consumer || p == Migrating && number%2 == 1 }

// options of the member with this number.
func (p Protocol) options(topic string, number int) []kgo.Opt {
	out := []kgo.Opt{
		kgo.ConsumerGroup(p.group()), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.HeartbeatInterval(200 * time.Millisecond), kgo.SessionTimeout(sessionTimeout), kgo.RebalanceTimeout(6 * time.Second),
	}
	switch {
	case p.next(number):
		return append(out, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	case p == Eager:
		return append(out, kgo.Balancers(kgo.RangeBalancer()))
	}
	return append(out, kgo.Balancers(kgo.CooperativeStickyBalancer()))
}

// static says whether the member with this number keeps its instance id from life
// to life.
func (p Protocol) static(number int) bool { return p != Eager && number == 0 }

// beginGroups commits for each group where it begins. A group without offsets is
// deleted when it is empty, as in Apache Kafka, and the next member of its name begins
// in epoch 1 again; one with offsets keeps its epochs, which are judged.
func (l *Load) beginGroups(ctx context.Context, admin *kadm.Client) error {
	if l.cfg.Members == 0 {
		return nil
	}
	var zero kadm.Offsets
	for i := range l.cfg.Partitions {
		zero.Add(kadm.Offset{Topic: l.topics[0], Partition: int32(i), LeaderEpoch: -1})
	}
	for _, p := range l.cfg.Protocols {
		if err := admin.CommitAllOffsets(ctx, p.group(), zero); err != nil {
			return fmt.Errorf("commit where %s begins: %w", p.group(), err)
		}
	}
	return nil
}
