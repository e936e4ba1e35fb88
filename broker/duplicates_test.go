package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestDuplicateHasItsFirstAppendTime: a batch sent again is answered with the time
// at which it was appended, as long as that is known, and not counted anew.
func TestDuplicateHasItsFirstAppendTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "stamped", 1, "message.timestamp.type", "LogAppendTime")
		createTopic(t, b, "plain", 1)
		send := func(topic string, sequence int32) kmsg.ProduceResponseTopicPartition {
			t.Helper()
			p := produced(ask[*kmsg.ProduceResponse](dialBubble(t, b), produceRequest(9, -1, topic, 0, sequenced(7, sequence))))
			if p.ErrorCode != 0 || p.BaseOffset != int64(sequence) {
				t.Fatalf("%s, %d: code %d, offset %d", topic, sequence, p.ErrorCode, p.BaseOffset)
			}
			return p
		}
		var times []int64
		for i := range int32(3) {
			now := time.Now().UnixMilli()
			if got := send("stamped", i).LogAppendTime; got != now {
				t.Errorf("append time %d, want %d", got, now)
			}
			times = append(times, now)
			send("plain", i)
			time.Sleep(time.Second)
		}
		check := func(when string) {
			t.Helper()
			for i, want := range times {
				if got := send("stamped", int32(i)).LogAppendTime; got != want {
					t.Errorf("%s: again %d: append time %d, want %d", when, i, got, want)
				}
				if got := send("plain", int32(i)).LogAppendTime; got != -1 {
					t.Errorf("%s: the producer's time is told as append time: %d", when, got)
				}
			}
		}
		check("at once")
		_, page := askPage(b, "/metrics")
		for _, topic := range []string{"stamped", "plain"} {
			if line := fmt.Sprintf("weir_produce_records_total{topic=%q} 3\n", topic); !strings.Contains(page, line) {
				t.Errorf("%s: duplicates are counted", topic)
			}
			if line := fmt.Sprintf("weir_produce_bytes_total{topic=%q} %d\n", topic, 3*len(sequenced(7, 0))); !strings.Contains(page, line) {
				t.Errorf("%s: the bytes of duplicates are counted", topic)
			}
		}
		b.Kill()
		check("after a kill")
		if p := deleteRecords(dialBubble(t, b), 2, "stamped", 0, -1); p.ErrorCode != 0 {
			t.Fatal(p.ErrorCode)
		}
		if got := send("stamped", 1).LogAppendTime; got != -1 {
			t.Errorf("the batch is gone and has append time %d", got)
		}
	})
}
