package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestCompactedTopic: in virtual time the cleaner comes by itself, and a
// consumer that starts afresh finds the newest record of each key, at the offset
// it always had; a kill, a power cut and a restart keep it so.
func TestCompactedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		client := b.Client(kgo.ProducerBatchCompression(kgo.NoCompression()))
		configs := map[string]*string{
			"cleanup.policy": kadm.StringPtr("compact"), "segment.bytes": kadm.StringPtr("1048576"), "min.cleanable.dirty.ratio": kadm.StringPtr("0.1"),
		}
		if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 1, 1, configs, "table"); err != nil {
			t.Fatal(err)
		}
		const records, keys = 300, 7
		want := map[string]*kgo.Record{}
		for i := range records {
			r := &kgo.Record{Topic: "table", Key: fmt.Append(nil, "k", i%keys), Value: fmt.Append(nil, i, strings.Repeat(" ", 20<<10))}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			want[string(r.Key)] = r
		}
		client.Close()
		time.Sleep(time.Minute) // a checkpoint is asked for, then the log is cleaned
		check := func(when string) {
			t.Helper()
			got := consumeTable(t, b, records-1)
			for key, w := range want {
				if g := got.newest[key]; g == nil || g.Offset != w.Offset || string(g.Value) != string(w.Value) {
					t.Fatalf("%s: %s is %v, want offset %d", when, key, g, w.Offset)
				}
			}
			if got.count > 80 {
				t.Errorf("%s: %d records are left of %d", when, got.count, records)
			}
		}
		check("after a minute")
		b.Kill()
		check("after a kill")
		b.Crash(1)
		check("after a power cut")
		b.Restart()
		check("after a restart")
	})
}

// table is what a consumer made of a compacted topic.
type table struct {
	newest map[string]*kgo.Record
	count  int
}

// consumeTable reads the topic table from its start up to offset last.
func consumeTable(t *testing.T, b *brokertest.Broker, last int64) table {
	t.Helper()
	client := b.Client(kgo.ConsumeTopics("table"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	out := table{newest: map[string]*kgo.Record{}}
	for at := int64(-1); at < last; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset <= at {
				t.Fatalf("offset %d comes after %d", r.Offset, at)
			}
			at, out.newest[string(r.Key)] = r.Offset, r
			out.count++
		})
	}
	return out
}
