package brokertest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weirstream/weir/broker/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestBubble runs broker and client on virtual time.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		begun := time.Now()
		client := b.Client(kgo.DefaultProduceTopic("orders"), kgo.AllowAutoTopicCreation(),
			kgo.ConsumeTopics("orders"), kgo.FetchMaxWait(time.Hour))
		produce(t, client, 10)
		if got := consume(t, client, 10); got[3] != "value 3" {
			t.Errorf("fourth record is %q", got[3])
		}
		time.Sleep(24 * time.Hour) // costs nothing here
		produce(t, client, 1)
		consume(t, client, 1)
		if d := time.Since(begun); d < 24*time.Hour {
			t.Errorf("only %v passed", d)
		}
	})
}

func TestRestartKeepsAll(t *testing.T) {
	for name, restart := range map[string]func(*brokertest.Broker){
		"restart": (*brokertest.Broker).Restart,
		"kill":    (*brokertest.Broker).Kill,
		"crash":   func(b *brokertest.Broker) { b.Crash(7) },
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t)
			client := b.Client(kgo.DefaultProduceTopic("orders"), kgo.AllowAutoTopicCreation())
			produce(t, client, 100)
			id := b.Broker().ClusterID()
			restart(b)
			reader := b.Client(kgo.ConsumeTopics("orders"))
			consume(t, reader, 100)
			produce(t, client, 1)
			if b.Broker().ClusterID() != id {
				t.Error("the cluster has another id")
			}
		})
	}
}

func produce(t *testing.T, client *kgo.Client, n int) {
	t.Helper()
	for i := range n {
		if err := client.ProduceSync(context.Background(), kgo.StringRecord(fmt.Sprintf("value %d", i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func consume(t *testing.T, client *kgo.Client, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		fetches := client.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}
