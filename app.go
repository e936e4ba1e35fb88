package weir

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveTimeout is what the coordinator has to answer the leaving member, once its
// partitions are handed over. Without an answer the session's end does the same.
const leaveTimeout = 5 * time.Second

// cancelGrace is how long a handler may take to return after its context was
// cancelled, before Run gives up waiting for it.
const cancelGrace = 5 * time.Second

// maxBatchBytes is Kafka's default of message.max.bytes. The client's own default is
// less, too little for the dead letter of a record of that size.
const maxBatchBytes = 1<<20 + 12

// App is one member of a consumer group: handlers and what runs them. Make one
// with New, give it handlers with Handle, then Run it, once.
type App struct {
	cfg  Config
	rand func() float64 // of [0, 1)

	subs    map[string]*subscription
	invalid []error // what Handle had to object to

	client     *kgo.Client
	instanceID *string // the static member's, of Config.Client
	committer  *committer
	room       chan struct{} // capacity 1: a worker ran out of records

	life    context.Context // ends when nothing is committed or waited for any more
	endLife context.CancelFunc

	produceCtx    context.Context // ends when nothing is to be acknowledged any more
	stopProducing context.CancelFunc

	failed context.Context // ends with the reason why the App cannot go on
	fail   context.CancelCauseFunc

	pauseMu sync.Mutex // keeps partition.mu.paused and the client's view of it the same

	mu struct {
		sync.Mutex
		running bool
		parts   map[topicPartition]*partition
		retired map[topicPartition]*partition // given up while their handler still ran
		counted map[string]int64              // records finished in partitions since given up
		stop    *time.Timer                   // while leaving: ends life
		stopBy  time.Time
	}
}

type topicPartition struct {
	topic     string
	partition int32
}

// New checks the configuration and returns an App. It connects to nothing.
func New(cfg Config) (*App, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &App{
		cfg:  cfg,
		rand: rand.Float64,
		subs: map[string]*subscription{},
		room: make(chan struct{}, 1),
	}
	a.mu.parts = map[topicPartition]*partition{}
	a.mu.retired = map[topicPartition]*partition{}
	a.mu.counted = map[string]int64{}
	return a, nil
}

func (a *App) subscribe(s *subscription, invalid error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.mu.running:
		a.cfg.Logger.Error("Handle was called after Run and does nothing", "topic", s.topic)
		return
	case a.subs[s.topic] != nil:
		invalid = errors.Join(invalid, fmt.Errorf("weir: topic %s is handled twice; one App has one handler for a topic", s.topic))
	}
	if invalid != nil {
		a.invalid = append(a.invalid, invalid)
		return
	}
	a.subs[s.topic] = s
}

// Run joins the group and handles records until ctx ends or the App cannot go
// on. It then stops gracefully: handlers in hand finish, work is committed, the
// member leaves the group. It returns nil after ctx ended, and else the reason.
// The stop takes DrainTimeout and 10 s for the last commit at most, even if nobody
// answers; a handler that ignores the end of its context has 5 s more.
func (a *App) Run(ctx context.Context) error {
	if err := a.start(); err != nil {
		return err
	}
	client, err := kgo.NewClient(a.clientOpts()...)
	if err != nil {
		return fmt.Errorf("weir: Config.Client: %w", err)
	}
	a.client = client
	if v := client.OptValues(kgo.InstanceID); len(v) == 2 && v[1] == true {
		a.instanceID = kmsg.StringPtr(v[0].(string))
	}
	a.failed, a.fail = context.WithCancelCause(context.Background())
	defer a.fail(nil)
	a.produceCtx, a.stopProducing = context.WithCancel(context.Background())
	defer a.stopProducing()

	a.life, a.endLife = context.WithCancel(context.Background())
	defer a.endLife()
	a.committer = newCommitter(a)
	go a.committer.run()
	pollCtx, cancel := context.WithCancel(ctx)
	stopWatch := context.AfterFunc(a.failed, cancel)
	if err := a.prepareTopics(pollCtx); err != nil && pollCtx.Err() == nil {
		a.fail(err)
	} else if err == nil {
		a.poll(pollCtx)
	}
	stopWatch()
	cancel()
	stuck := a.leave()
	<-a.committer.done
	reason := errors.Join(context.Cause(a.failed), stuck)
	a.stopProducing() // what is still unacknowledged fails now, which is no reason
	client.CloseAllowingRebalance()
	return reason
}

// start claims the App for one Run.
func (a *App) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.mu.running:
		return errors.New("weir: an App runs once; make another with New")
	case len(a.invalid) > 0:
		return errors.Join(a.invalid...)
	case len(a.subs) == 0:
		return errors.New("weir: the App handles no topic; call Handle before Run")
	}
	a.mu.running = true
	return nil
}

// leave hands all partitions over, leaves the group and ends the App's life. It
// takes no longer than draining and the last commit may. It returns an error if
// a handler does not come back.
func (a *App) leave() error {
	limit := a.cfg.DrainTimeout + commitTimeout
	stop := time.AfterFunc(limit, a.endLife)
	defer stop.Stop()
	a.mu.Lock()
	a.mu.stop, a.mu.stopBy = stop, time.Now().Add(limit)
	a.mu.Unlock()
	if err := a.client.LeaveGroupContext(a.life); err != nil {
		a.cfg.Logger.Warn("leave the group", "group", a.cfg.Group, "err", err)
	}
	a.release(a.assigned()) // none, if the group's callbacks ran
	a.endLife()
	return a.awaitRetired()
}

// awaitRetired waits for handlers whose partitions were given up.
func (a *App) awaitRetired() error {
	a.mu.Lock()
	var left []*partition
	for _, p := range a.mu.retired {
		left = append(left, p)
	}
	a.mu.Unlock()
	grace := time.NewTimer(cancelGrace)
	defer grace.Stop()
	for _, p := range left {
		select {
		case <-p.done:
		case <-grace.C:
			return fmt.Errorf("weir: the handler of %s-%d has not returned %v after its context was cancelled", p.topic, p.id, cancelGrace)
		}
	}
	return nil
}

// clientOpts are the defaults, the user's options, and what an App decides.
func (a *App) clientOpts() []kgo.Opt {
	topics := make([]string, 0, len(a.subs))
	for t := range a.subs {
		topics = append(topics, t)
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(a.cfg.Brokers...),
		kgo.WithLogger(clientLogger{a.cfg.Logger}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchMaxWait(250 * time.Millisecond), // a resumed partition waits for the fetch in flight
		kgo.MaxBufferedRecords(50_000),
		kgo.ProducerBatchMaxBytes(maxBatchBytes),
	}
	opts = append(opts, a.cfg.Client...)
	return append(opts,
		kgo.ConsumerGroup(a.cfg.Group),
		kgo.ConsumeTopics(topics...),
		kgo.SessionTimeout(a.cfg.SessionTimeout),
		kgo.HeartbeatInterval(a.cfg.HeartbeatInterval),
		kgo.RebalanceTimeout(a.cfg.RebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // so that no callback runs between a poll and the queueing of its records
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { a.assign(m) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { a.release(a.named(m)) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { a.lose(a.named(m)) }),
	)
}

// isFatal tells errors that waiting does not mend.
func isFatal(err error) bool {
	for _, e := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.SaslAuthenticationFailed,
		kerr.InvalidGroupID, kerr.InconsistentGroupProtocol, kerr.InvalidSessionTimeout, kerr.UnsupportedVersion, kerr.GroupMaxSizeReached,
		kerr.FencedInstanceID, kerr.InvalidTopicException,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Stats returns a snapshot; it may be called at any time.
func (a *App) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Stats{Topics: map[string]TopicStats{}}
	for name, sub := range a.subs {
		s.Topics[name] = TopicStats{
			Handled: a.mu.counted[name], Retried: sub.retried.Load(), DeadLettered: sub.deadLettered.Load(),
			Partitions: map[int32]PartitionStats{},
		}
	}
	for tp, p := range a.mu.parts {
		t := s.Topics[tp.topic]
		ps, finished := p.stats()
		t.Partitions[tp.partition] = ps
		t.Handled += finished
		s.Topics[tp.topic] = t
	}
	return s
}
