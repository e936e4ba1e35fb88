package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// copier reads topic in and writes each record to topic out, with the offset of what it has
// read in the same transaction. Its process can be killed.
type copier struct {
	session *kgo.GroupTransactSession
	cancel  context.CancelFunc
	copied  int // records of transactions that have ended
	done    chan struct{}
	mu      struct {
		sync.Mutex
		dead  bool
		conns []net.Conn
	}
}

// startCopier begins to work. After stop records it is killed in the middle of a
// transaction, with its records written and its offsets not committed; 0: never.
func startCopier(ctx context.Context, t *testing.T, b *brokertest.Broker, id string, stop int, protocol kgo.Opt) *copier {
	c := &copier{done: make(chan struct{})}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers("weir:9092"), kgo.TransactionalID(id), kgo.TransactionTimeout(20*time.Second),
		kgo.ConsumerGroup("copiers"), kgo.ConsumeTopics("in"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		protocol, kgo.WithContext(ctx),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.mu.dead {
				return nil, errors.New("killed")
			}
			nc, err := b.DialContext(ctx, network, address)
			if err == nil {
				c.mu.conns = append(c.mu.conns, nc)
			}
			return nc, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	c.session = session
	work, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	go func() {
		defer close(c.done)
		for work.Err() == nil {
			if err := c.round(work, t, stop); err != nil {
				t.Errorf("%s: %v", id, err)
				return
			}
		}
	}()
	return c
}

func (c *copier) round(ctx context.Context, t *testing.T, stop int) error {
	fetches := c.session.PollRecords(ctx, 7)
	if ctx.Err() != nil || fetches.NumRecords() == 0 {
		return nil
	}
	if err := c.session.Begin(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	aborts := kgo.AbortingFirstErrPromise(c.session.Client())
	n := 0
	fetches.EachRecord(func(r *kgo.Record) {
		n++
		c.session.Produce(ctx, &kgo.Record{Topic: "out", Partition: r.Partition, Value: r.Value}, aborts.Promise())
	})
	if stop > 0 && c.copied+n >= stop {
		if err := c.session.Client().Flush(ctx); err != nil {
			return err
		}
		c.kill()
		return nil
	}
	ended, err := c.session.End(ctx, aborts.Err() == nil)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch):
		return fmt.Errorf("end: %w", err)
	case ended:
		c.copied += n
	}
	return nil
}

// kill ends all its connections, and it cannot say goodbye.
func (c *copier) kill() {
	c.mu.Lock()
	c.mu.dead = true
	for _, nc := range c.mu.conns {
		nc.Close()
	}
	c.mu.Unlock()
	c.cancel()
}

func (c *copier) close() {
	c.cancel()
	<-c.done
	c.session.Close()
}

// TestConsumeTransformProduce: copiers of one group come, are killed in the middle of a
// transaction, and come again; what they write is there exactly once (KIP-447).
func TestConsumeTransformProduce(t *testing.T) {
	for name, next := range map[string]bool{"classic": false, "KIP-848": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { consumeTransformProduce(t, next) })
		})
	}
}

func consumeTransformProduce(t *testing.T, next bool) {
	const partitions, perPartition = 4, 60
	b := brokertest.Start(t)
	createTopic(t, b, "in", partitions)
	createTopic(t, b, "out", partitions)
	ctx := t.Context()
	protocol := kgo.Balancers(kgo.RangeBalancer())
	if next {
		protocol = kgo.ServerSideBalancer()
	}
	producer := b.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for n := range partitions * perPartition {
		r := &kgo.Record{Topic: "in", Partition: int32(n % partitions), Value: fmt.Append(nil, n)}
		if err := producer.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	stays := startCopier(ctx, t, b, "stays", 0, protocol)
	dies := startCopier(ctx, t, b, "dies", 20, protocol)
	<-dies.done
	again := startCopier(ctx, t, b, "dies", 0, protocol)
	reader := b.Client(kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := map[string]int{}
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for len(seen) < partitions*perPartition {
		fetches := reader.PollFetches(limit)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records are there: %v", len(seen), partitions*perPartition, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	time.Sleep(30 * time.Second) // whatever is still to come
	stays.close()
	again.close()
	dies.session.Close()
	quiet, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	reader.PollFetches(quiet).EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	for value, n := range seen {
		if n != 1 {
			t.Errorf("record %s is there %d times", value, n)
		}
	}
	if dies.copied == 0 || stays.copied+again.copied == 0 {
		t.Errorf("the one that dies has copied %d records, the others %d and %d", dies.copied, stays.copied, again.copied)
	}
}
