package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// openTxn begins a transaction of an id and writes to all partitions of topic t.
func openTxn(t *testing.T, b *brokertest.Broker, id string, partitions int32) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokertest.Address), kgo.Dialer(b.DialContext), kgo.TransactionalID(id),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	writeInTxn(t, cl, partitions)
	return cl
}

func writeInTxn(t *testing.T, cl *kgo.Client, partitions int32) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func endTxn(t *testing.T, cl *kgo.Client) error {
	t.Helper()
	return cl.EndTransaction(t.Context(), kgo.TryCommit)
}

func TestTxnList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		env := against(b)
		mustRun(t, env, "topic create t -p 2")
		ended := openTxn(t, b, "ended", 1)
		if err := endTxn(t, ended); err != nil {
			t.Fatal(err)
		}
		openTxn(t, b, "old", 1)
		time.Sleep(20 * time.Second)
		openTxn(t, b, "young", 1)
		client := kadm.NewClient(ended)
		listed, err := client.ListTransactions(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for filter, want := range map[string]string{
			"":                                  "ended old young",
			"--state ongoing":                   "old young",
			"--state Ongoing,completecommit":    "ended old young",
			"--state Empty":                     "",
			"--running-for 15s":                 "old",
			"--pattern .*e.*":                   "ended",
			"--pattern e":                       "",
			"--pattern o.*|y.* --state Ongoing": "old young",
			fmt.Sprintf("--producer %d", listed["young"].ProducerID):             "young",
			fmt.Sprintf("--producer %d,987654", listed["ended"].ProducerID):      "ended",
			fmt.Sprintf("--producer %d --state Empty", listed["old"].ProducerID): "",
			"--state x":         "? --state x: there are Empty, Ongoing",
			"--pattern (":       "? --pattern (: error parsing",
			"--running-for -1s": "? --running-for -1s: want a time",
		} {
			r := run(t.Context(), env, strings.Fields("txn list -O name "+filter)...)
			got := strings.Join(strings.Fields(r.out), " ")
			if says, wrong := strings.CutPrefix(want, "? "); wrong {
				if r.code != ExitUsage || !strings.Contains(r.errOut, says) {
					t.Errorf("%s: code %d, said %q", filter, r.code, r.errOut)
				}
				continue
			}
			if r.code != ExitOK || got != want {
				t.Errorf("%s: code %d, said %q, printed %q; want %q", filter, r.code, r.errOut, got, want)
			}
		}
	})
}

// TestTxnDescribe: an open transaction with its age and partitions, one that has ended,
// one that never was.
func TestTxnDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		env := against(b)
		mustRun(t, env, "topic create t -p 3")
		openTxn(t, b, "open", 3)
		ended := openTxn(t, b, "ended", 1)
		if err := endTxn(t, ended); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second)
		r := run(t.Context(), env, strings.Fields("txn describe open ended nope open -O json")...)
		var got struct {
			Kind  string
			Items []struct {
				ID         string `json:"transactional_id"`
				State      string
				Producer   *int64 `json:"producer_id"`
				Epoch      *int16
				Age        *string
				Timeout    *int32 `json:"timeout_ms"`
				Partitions []topicPartitions
				Started    *time.Time
				Error      *string
			}
		}
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(err, r.out)
		}
		if r.code != ExitFailed || got.Kind != "TransactionDescription" || len(got.Items) != 3 {
			t.Fatalf("code %d, said %q, printed %s", r.code, r.errOut, r.out)
		}
		open, done, none := got.Items[0], got.Items[1], got.Items[2]
		if open.ID != "open" || open.State != "Ongoing" || open.Producer == nil || *open.Epoch != 0 || open.Age == nil || !strings.HasPrefix(*open.Age, "12.0") ||
			*open.Timeout != 40_000 || fmt.Sprint(open.Partitions) != "[{t [0 1 2]}]" || time.Since(*open.Started).Round(time.Second) != 12*time.Second || open.Error != nil {
			t.Errorf("%+v", open)
		}
		if done.ID != "ended" || done.State != "CompleteCommit" || done.Age != nil || done.Started != nil || len(done.Partitions) != 0 || done.Error != nil {
			t.Errorf("%+v", done)
		}
		if none.ID != "nope" || none.State != "" || none.Error == nil || *none.Error != `there is no transactional id "nope": TRANSACTIONAL_ID_NOT_FOUND` {
			t.Errorf("%+v", none)
		}
		if table := mustRun(t, env, "txn describe open"); !strings.Contains(table, "  12.0") || !strings.Contains(table, "t:0-2") {
			t.Errorf("printed %s", table)
		}
	})
}

// TestTxnAbort: shown, refused without a terminal, done with --yes; the producer is fenced,
// what it wrote is gone, and who has no transaction is left alone.
func TestTxnAbort(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 2")
	open, ended := openTxn(t, b, "open", 2), openTxn(t, b, "ended", 1)
	if err := endTxn(t, ended); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), env, "txn", "abort", "open")
	if r.code != ExitUsage || !strings.Contains(r.errOut, "transaction of open (Ongoing): producer ") ||
		!strings.Contains(r.errOut, ", in t:0-1\n") || !strings.Contains(r.errOut, "say --yes") {
		t.Errorf("without a terminal: code %d, said %q", r.code, r.errOut)
	}
	r = run(t.Context(), env, strings.Fields("txn abort open ended --dry-run -O csv")...)
	if r.code != ExitOK || r.out != "transactional_id,partitions,status,error\nopen,t:0-1,would be aborted,\nended,,unchanged,\n" {
		t.Errorf("dry: code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	r = run(t.Context(), env, strings.Fields("txn abort open ended nope --yes -O csv")...)
	if want := "transactional_id,partitions,status,error\nopen,t:0-1,aborted,\nended,,unchanged,\nnope,,failed,"; r.code != ExitFailed || !strings.HasPrefix(r.out, want) {
		t.Errorf("code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	if out := mustRun(t, env, "txn list -O csv --state Empty"); !strings.HasPrefix(out, "transactional_id,state,producer_id,coordinator,error\nopen,Empty,") {
		t.Errorf("printed %q", out)
	}
	if err := endTxn(t, open); !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("the producer that was fenced commits: %v", err)
	}
	writeInTxn(t, ended, 1)
	if err := endTxn(t, ended); err != nil {
		t.Errorf("the producer that was left alone: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	reader := b.Client(kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for n := 0; n < 2; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of 2 committed records: %v", n, err)
		}
		n += fetches.NumRecords()
	}
}

// TestTxnAbortMeansOneTransaction: not the one that began after what was looked at.
func TestTxnAbortMeansOneTransaction(t *testing.T) {
	b := brokertest.Start(t)
	mustRun(t, against(b), "topic create t -p 1")
	producer := openTxn(t, b, "id", 1)
	views, err := describeTxns(t.Context(), kadm.NewClient(b.Client()), []string{"id"})
	if err != nil {
		t.Fatal(err)
	}
	if err := endTxn(t, producer); err != nil {
		t.Fatal(err)
	}
	writeInTxn(t, producer, 1)
	ab := &abortion{app: &app{Env: against(b), timeout: 5 * time.Second}}
	err = ab.abort(t.Context(), b.Client(), views[0])
	if err == nil || !strings.Contains(err.Error(), "it has ended, or has a new producer, since it was looked at") {
		t.Errorf("abort of a transaction that has ended: %v", err)
	}
	if err := endTxn(t, producer); err != nil {
		t.Errorf("the transaction that followed: %v", err)
	}
}

// TestTxnHanging: what a coordinator knows does not hang; what it does not, does.
func TestTxnHanging(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 2")
	openTxn(t, b, "id", 1)
	out := mustRun(t, env, "txn hanging --idle 0s -O csv")
	if out != "topic,partition,producer_id,epoch,first_offset,idle,transactional_id,coordinator_epoch,error\n" {
		t.Errorf("printed %q", out)
	}
	if r := run(t.Context(), env, strings.Fields("txn hanging --idle -1s")...); r.code != ExitUsage || !strings.Contains(r.errOut, "--idle -1s: want a time") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
	if r := run(t.Context(), env, strings.Fields("txn hanging t nope --idle 0s -O csv")...); r.code != ExitFailed || !strings.Contains(r.out, "nope,,,,,,,,") {
		t.Errorf("code %d, printed %q", r.code, r.out)
	}
	client := kadm.NewClient(b.Client())
	known, err := describeTxns(t.Context(), client, []string{"id"})
	if err != nil {
		t.Fatal(err)
	}
	pid := known[0].ProducerID
	at := func(partition int32, producer int64) hangingTxn {
		return hangingTxn{DescribedProducer: kadm.DescribedProducer{Topic: "t", Partition: partition, ProducerID: producer}}
	}
	left, err := unknownToCoordinators(t.Context(), client, []hangingTxn{at(0, pid), at(1, pid), at(0, pid+1000)})
	if err != nil || len(left) != 2 || left[0].Partition != 1 || left[0].id != "id" || left[1].ProducerID != pid+1000 || left[1].id != "" {
		t.Errorf("%+v, %v", left, err)
	}
	for args, says := range map[string]string{
		fmt.Sprintf("--hanging t:0 --producer %d --yes", pid): "its coordinator knows of it: abort its transactional id instead: INVALID_TXN_STATE",
		"--hanging t:0 --producer 99 --yes":                   "producer 99 has no transaction open in t:0",
		"--hanging t:9 --producer 99 --yes":                   "UNKNOWN_TOPIC_OR_PARTITION",
		"--hanging t --producer 99":                           "want TOPIC:PARTITION, one partition",
		"--hanging t:0-1 --producer 99":                       "want TOPIC:PARTITION, one partition",
		"--hanging :0 --producer 99":                          "want TOPIC:PARTITION",
		"--hanging t:0":                                       "belong together",
		"--producer 4 id":                                     "belong together",
		"--hanging t:0 --producer 4 id":                       "exclude each other",
		"":                                                    "weir txn abort needs transactional ids, or --hanging",
	} {
		r := run(t.Context(), env, append([]string{"txn", "abort"}, strings.Fields(args)...)...)
		if r.code != ExitUsage && r.code != ExitFailed || !strings.Contains(r.errOut+r.out, says) {
			t.Errorf("%s: code %d, said %q, printed %q", args, r.code, r.errOut, r.out)
		}
	}
}
