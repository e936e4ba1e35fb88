package broker_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// txnClient is a producer of franz-go with a transactional id.
func txnClient(t *testing.T, b *brokertest.Broker, id string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("weir:9092"), kgo.Dialer(b.DialContext), kgo.TransactionalID(id),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// produceAll has a client produce one record to each partition, and waits.
func produceAll(ctx context.Context, t *testing.T, cl *kgo.Client, topic string, partitions int32, value string) {
	t.Helper()
	for p := range partitions {
		r := &kgo.Record{Topic: topic, Partition: p, Value: fmt.Append(nil, value, "-", p)}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatalf("produce %s to partition %d: %v", value, p, err)
		}
	}
}

// TestClientTransactions: franz-go commits, aborts and commits again.
func TestClientTransactions(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 3)
	cl := txnClient(t, b, "id")
	ctx := within(t)
	for i, commit := range []bool{true, false, true, false, false, true} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produceAll(ctx, t, cl, "out", 3, fmt.Sprint(i))
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
	}
}
