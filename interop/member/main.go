package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// flags are what every member program is told.
type flags struct {
	bootstrap, group, topic, protocol, name, instance string
	session                                           int
}

func main() {
	var f flags
	flag.StringVar(&f.bootstrap, "bootstrap", "", "address of the broker")
	flag.StringVar(&f.group, "group", "", "group to join")
	flag.StringVar(&f.topic, "topic", "", "topic to subscribe to")
	flag.StringVar(&f.protocol, "protocol", "", "classic-eager, classic-cooperative or consumer")
	flag.StringVar(&f.name, "name", "", "client id")
	flag.StringVar(&f.instance, "instance", "", "instance id of a static member")
	flag.IntVar(&f.session, "session", 6000, "session timeout in the classic protocol, milliseconds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := consume(ctx, f); err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
		os.Exit(1)
	}
}

// consume is in the group until ctx ends, and then leaves it.
func consume(ctx context.Context, f flags) error {
	opts, err := options(f)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	say(line{Event: "joined"})
	for ctx.Err() == nil {
		poll(ctx, cl)
	}
	cl.CloseAllowingRebalance()
	say(line{Event: "left"})
	return nil
}

func options(f flags) ([]kgo.Opt, error) {
	partitions := func(event string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			if len(got[f.topic]) > 0 {
				say(line{Event: event, Partitions: got[f.topic]})
			}
		}
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.Dialer(dial), kgo.ClientID(f.name), kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(f.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(time.Duration(f.session) * time.Millisecond), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(partitions("assigned")), kgo.OnPartitionsRevoked(partitions("revoked")), kgo.OnPartitionsLost(partitions("lost")),
	}
	if f.instance != "" {
		opts = append(opts, kgo.InstanceID(f.instance))
	}
	switch f.protocol {
	case "classic-eager":
		return append(opts, kgo.Balancers(kgo.RangeBalancer())), nil
	case "classic-cooperative":
		return append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer())), nil
	case "consumer":
		return append(opts, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()), nil
	}
	return nil, fmt.Errorf("unknown protocol %q", f.protocol)
}

// dial waits for a broker that is being restarted: this client leaves its group
// when no broker can be reached for about a second.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	for began := time.Now(); ; {
		conn, err := d.DialContext(ctx, network, address)
		if err == nil || time.Since(began) > 30*time.Second {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// poll prints what one poll brings and commits it. No rebalance comes between
// the two.
func poll(ctx context.Context, cl *kgo.Client) {
	defer cl.AllowRebalance()
	fetches := cl.PollFetches(ctx)
	fetches.EachRecord(func(r *kgo.Record) {
		say(line{Event: "record", Partition: &r.Partition, Offset: &r.Offset, Value: string(r.Value)})
	})
	fetches.EachError(func(_ string, _ int32, err error) {
		if ctx.Err() == nil {
			say(line{Event: "failed", Error: err.Error()})
		}
	})
	if fetches.NumRecords() == 0 {
		return
	}
	offsets := map[int32]int64{}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if n := len(p.Records); n > 0 {
			offsets[p.Partition] = p.Records[n-1].Offset + 1
		}
	})
	if err := cl.CommitRecords(context.WithoutCancel(ctx), fetches.Records()...); err != nil {
		say(line{Event: "refused", Error: err.Error()})
		return
	}
	say(line{Event: "committed", Offsets: offsets})
}

// line is what a member prints of one thing that happened.
type line struct {
	At         int64           `json:"at"` // Unix nanoseconds
	Event      string          `json:"event"`
	Partitions []int32         `json:"partitions,omitempty"`
	Partition  *int32          `json:"partition,omitempty"`
	Offset     *int64          `json:"offset,omitempty"`
	Value      string          `json:"value,omitempty"`
	Offsets    map[int32]int64 `json:"offsets,omitempty"` // of the next records
	Error      string          `json:"error,omitempty"`
}

// say prints a line whole; callbacks come from other goroutines than polls.
var say = func() func(line) {
	var mu sync.Mutex
	return func(l line) {
		mu.Lock()
		defer mu.Unlock()
		l.At = time.Now().UnixNano()
		_ = json.NewEncoder(os.Stdout).Encode(l)
	}
}()
