package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestSessionOfAClient: franz-go reads 300 partitions in a session, round
// by round.
func TestSessionOfAClient(t *testing.T) {
	const partitions = 300
	b := brokertest.Start(t)
	createTopic(t, b, "t", partitions)
	consumer := b.Client(kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	producer := b.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ctx := within(t)
	for round := range 3 {
		for n := range int32(partitions) {
			producer.Produce(ctx, &kgo.Record{Topic: "t", Partition: n, Value: fmt.Append(nil, round)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := producer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		got := map[int32]string{}
		for len(got) < partitions {
			fetches := consumer.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("round %d: %d of %d partitions: %v", round, len(got), partitions, err)
			}
			fetches.EachRecord(func(r *kgo.Record) { got[r.Partition] += string(r.Value) })
		}
		for n, values := range got {
			if values != fmt.Sprint(round) {
				t.Errorf("round %d: partition %d has %q", round, n, values)
			}
		}
	}
	_, page := askPage(b, "/metrics")
	for _, want := range []string{"weir_fetch_sessions 1\n", fmt.Sprintf("weir_fetch_session_partitions %d\n", partitions)} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics without %q", want)
		}
	}
}
