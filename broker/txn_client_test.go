package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

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

// committedValues reads a topic as read_committed up to its last stable offset.
func committedValues(t *testing.T, b *brokertest.Broker, topic string, want int) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("weir:9092"), kgo.Dialer(b.DialContext),
		kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var got []string
	for len(got) < want {
		fetches := cl.PollFetches(within(t))
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d records: %v", len(got), err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	slices.Sort(got)
	return got
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

// TestClientTransactions: franz-go commits, aborts and commits again, by both versions of the
// protocol, and read_committed readers see what was committed.
func TestClientTransactions(t *testing.T) {
	for name, opts := range map[string][]kgo.Opt{
		"version 2": nil,
		"version 1": {kgo.MaxVersions(kversion.V2_8_0())},
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t)
			createTopic(t, b, "out", 3)
			cl := txnClient(t, b, "id", opts...)
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
			want := []string{"0-0", "0-1", "0-2", "2-0", "2-1", "2-2", "5-0", "5-1", "5-2"}
			if got := committedValues(t, b, "out", len(want)); !slices.Equal(got, want) {
				t.Errorf("committed: %v, want %v", got, want)
			}
		})
	}
}

// TestClientTransactionTimesOut in virtual time: what a producer leaves open is aborted when
// its time is up, and readers go on.
func TestClientTransactionTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "out", 1)
		cl := txnClient(t, b, "id", kgo.TransactionTimeout(10*time.Second))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produceAll(t.Context(), t, cl, "out", 1, "first")
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produceAll(t.Context(), t, cl, "out", 1, "late")
		time.Sleep(10*time.Second - time.Millisecond)
		wantStable(t, b, "before its time is up", "out", 2, 3)
		time.Sleep(2 * time.Millisecond)
		wantStable(t, b, "after that", "out", 4, 4)
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); !errors.Is(err, kerr.InvalidTxnState) {
			t.Errorf("a commit that comes too late: %v", err)
		}
		cl = txnClient(t, b, "id") // for franz-go that is the end of this client
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produceAll(t.Context(), t, cl, "out", 1, "next")
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Errorf("the next transaction: %v", err)
		}
		wantStable(t, b, "at the end", "out", 6, 6)
	})
}

// TestClientFirstTransaction: franz-go asks for more than is served of ApiVersions and is
// told what is, so that it knows of the features before its first transaction: that has
// an epoch of its own.
func TestClientFirstTransaction(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	cl, ctx := txnClient(t, b, "id"), within(t)
	id, began, err := cl.ProducerID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produceAll(ctx, t, cl, "out", 1, "x")
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	all, err := kadm.NewClient(cl).DescribeTransactions(ctx, "id")
	if d := all["id"]; err != nil || d.Err != nil || d.ProducerID != id || d.ProducerEpoch != began+1 {
		t.Errorf("began with epoch %d of producer %d, ended with %+v, %v", began, id, d, err)
	}
}

// TestAdminSeesTransactions: kadm lists and describes them.
func TestAdminSeesTransactions(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 3)
	ctx := within(t)
	open := txnClient(t, b, "open")
	if err := open.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produceAll(ctx, t, open, "out", 3, "x")
	done := txnClient(t, b, "done")
	if err := done.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produceAll(ctx, t, done, "out", 1, "y")
	if err := done.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(b.Client())
	list, err := adm.ListTransactions(ctx, nil, nil)
	if err != nil || len(list) != 2 || list["open"].State != "Ongoing" || list["done"].State != "CompleteCommit" {
		t.Errorf("all: %+v, %v", list, err)
	}
	list, err = adm.ListTransactions(ctx, nil, []string{"Ongoing"})
	if err != nil || len(list) != 1 || list["open"].State != "Ongoing" {
		t.Errorf("those that are open: %+v, %v", list, err)
	}
	described, err := adm.DescribeTransactions(ctx, "open", "done", "none")
	if err != nil {
		t.Fatal(err)
	}
	if d := described["open"]; d.Err != nil || d.ProducerID != list["open"].ProducerID || len(d.Topics["out"]) != 3 || d.TimeoutMillis != 40_000 ||
		time.Since(time.UnixMilli(d.StartTimestamp)) > time.Minute {
		t.Errorf("open: %+v", d)
	}
	if d := described["done"]; d.Err != nil || d.State != "CompleteCommit" || len(d.Topics) != 0 {
		t.Errorf("done: %+v", d)
	}
	if d := described["none"]; !errors.Is(d.Err, kerr.TransactionalIDNotFound) {
		t.Errorf("none: %+v", d)
	}
}

// TestListTransactionsFilters: states that there are not, producers, durations and patterns.
func TestListTransactionsFilters(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	x, y := beginner(t, b, "order-1"), beginner(t, b, "pay")
	wantCode(t, "produce", x.produce(produceV2, "out"), nil)
	for name, tc := range map[string]struct {
		req     kmsg.ListTransactionsRequest
		ids     []string
		unknown []string
		code    *kerr.Error
	}{
		"all":           {kmsg.ListTransactionsRequest{Version: 2, DurationFilterMillis: -1}, []string{"order-1", "pay"}, nil, nil},
		"unknown state": {kmsg.ListTransactionsRequest{StateFilters: []string{"ongoing", "Empty"}}, []string{"pay"}, []string{"ongoing"}, nil},
		"no such state": {kmsg.ListTransactionsRequest{StateFilters: []string{"none"}}, nil, []string{"none"}, nil},
		"producer":      {kmsg.ListTransactionsRequest{ProducerIDFilters: []int64{y.pid, 99}}, []string{"pay"}, nil, nil},
		"too short":     {kmsg.ListTransactionsRequest{Version: 1, DurationFilterMillis: 1_000_000, StateFilters: []string{"Ongoing"}}, nil, nil, nil},
		"pattern":       {kmsg.ListTransactionsRequest{Version: 2, DurationFilterMillis: -1, TransactionalIDPattern: kmsg.StringPtr("order-.*")}, []string{"order-1"}, nil, nil},
		"whole ids":     {kmsg.ListTransactionsRequest{Version: 2, DurationFilterMillis: -1, TransactionalIDPattern: kmsg.StringPtr("a|rder|p")}, nil, nil, nil},
		"no pattern":    {kmsg.ListTransactionsRequest{Version: 2, DurationFilterMillis: -1, TransactionalIDPattern: kmsg.StringPtr("(")}, nil, nil, kerr.InvalidRegularExpression},
		"two halves":    {kmsg.ListTransactionsRequest{Version: 2, DurationFilterMillis: -1, TransactionalIDPattern: kmsg.StringPtr("a)(b")}, nil, nil, kerr.InvalidRegularExpression},
		"huge pattern":  {kmsg.ListTransactionsRequest{Version: 2, DurationFilterMillis: -1, TransactionalIDPattern: kmsg.StringPtr(strings.Repeat("a", 5000))}, nil, nil, kerr.InvalidRegularExpression},
	} {
		resp := ask[*kmsg.ListTransactionsResponse](dial(t, b), &tc.req)
		wantCode(t, name, resp.ErrorCode, tc.code)
		var ids []string
		for _, s := range resp.TransactionStates {
			ids = append(ids, s.TransactionalID)
		}
		if !slices.Equal(ids, tc.ids) || !slices.Equal(resp.UnknownStateFilters, tc.unknown) {
			t.Errorf("%s: %v, unknown %v; want %v, %v", name, ids, resp.UnknownStateFilters, tc.ids, tc.unknown)
		}
	}
}
