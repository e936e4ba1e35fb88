package weir

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config describes an App. Brokers and Group are needed; the zero value of
// everything else is a default that works.
type Config struct {
	// Brokers are addresses (host:port) to find the cluster by.
	Brokers []string

	// Group is the consumer group's id. Apps of the same Group share its
	// partitions. It is also the application's name in dead letters.
	Group string

	// Client holds further options for the client: TLS, SASL, a dialer,
	// kgo.InstanceID, kgo.ConsumeResetOffset. They go after the defaults (a
	// group without commits begins at the start of its topics) and before
	// what an App decides itself: group, topics, commits and callbacks.
	Client []kgo.Opt

	// Logger receives what the App and its client have to say. Default: none.
	Logger *slog.Logger

	// CommitInterval is how often finished work is committed, if there is any.
	// Default 200 ms.
	CommitInterval time.Duration

	// SessionTimeout is the silence after which the group's coordinator takes a
	// member for dead. Default 45 s, as Kafka's session.timeout.ms.
	SessionTimeout time.Duration

	// HeartbeatInterval must be below SessionTimeout. Default 3 s, or a third
	// of SessionTimeout if that is shorter.
	HeartbeatInterval time.Duration

	// RebalanceTimeout is the time the coordinator gives members to hand over
	// partitions. Default 60 s.
	RebalanceTimeout time.Duration

	// DrainTimeout is how long the record in hand, and what awaits
	// acknowledgements, may take when a partition is handed over or the App
	// stops. Then the handler's context is cancelled. It must be below
	// RebalanceTimeout. Default half of that.
	DrainTimeout time.Duration

	// MaxQueued is how many fetched records of a partition may wait for its
	// handler before the partition is full; one poll may overshoot by as many
	// again. Default 10,000.
	MaxQueued int

	// MaxQueuedBytes bounds the same in bytes of keys and values, overshot by
	// one fetch at most. Default 16 MiB.
	MaxQueuedBytes int

	// MaxInFlight is how many records of a partition may be handled but not
	// finished because acknowledgements are awaited. Default 16,384.
	MaxInFlight int
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.CommitInterval, 200*time.Millisecond)
	setDefault(&c.SessionTimeout, 45*time.Second)
	setDefault(&c.HeartbeatInterval, min(3*time.Second, c.SessionTimeout/3))
	setDefault(&c.RebalanceTimeout, time.Minute)
	setDefault(&c.DrainTimeout, c.RebalanceTimeout/2)
	setDefault(&c.MaxQueued, 10_000)
	setDefault(&c.MaxQueuedBytes, 16<<20)
	setDefault(&c.MaxInFlight, 16_384)
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// validate is given a Config with its defaults, and names what conflicts.
func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("weir: "+format, args...)) }
	if len(c.Brokers) == 0 {
		bad("Brokers is empty; give at least one address, as localhost:9092")
	}
	if c.Group == "" {
		bad("Group is empty; it names the consumer group whose partitions and offsets the App shares")
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"CommitInterval", c.CommitInterval}, {"SessionTimeout", c.SessionTimeout}, {"HeartbeatInterval", c.HeartbeatInterval},
		{"RebalanceTimeout", c.RebalanceTimeout}, {"DrainTimeout", c.DrainTimeout},
	} {
		if d.v < 0 {
			bad("%s is negative (%v)", d.name, d.v)
		}
	}
	for _, n := range []struct {
		name string
		v    int
	}{{"MaxQueued", c.MaxQueued}, {"MaxQueuedBytes", c.MaxQueuedBytes}, {"MaxInFlight", c.MaxInFlight}} {
		if n.v < 0 {
			bad("%s is negative (%d)", n.name, n.v)
		}
	}
	if c.DrainTimeout >= c.RebalanceTimeout {
		bad("DrainTimeout (%v) must be below RebalanceTimeout (%v), or the coordinator gives partitions away while they are drained",
			c.DrainTimeout, c.RebalanceTimeout)
	}
	if c.HeartbeatInterval >= c.SessionTimeout {
		bad("HeartbeatInterval (%v) must be below SessionTimeout (%v), or the member is taken for dead between two heartbeats",
			c.HeartbeatInterval, c.SessionTimeout)
	}
	return errors.Join(errs...)
}
