package broker_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// deleteRecords asks to delete below an offset of one partition.
func deleteRecords(c *rawConn, version int16, topic string, partition int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = version, 1000
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := ask[*kmsg.DeleteRecordsResponse](c, req)
	return resp.Topics[0].Partitions[0]
}

// listed is what ListOffsets says of partition 0.
func listed(c *rawConn, topic string, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 9, -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = timestamp, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return ask[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
}

// TestDeleteRecords: the answers are those of Apache Kafka 4.3.1.
func TestDeleteRecords(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "log", 1)
	createTopic(t, b, "compacted", 1, "cleanup.policy", "compact")
	createTopic(t, b, "both", 1, "cleanup.policy", "compact,delete")
	c := dial(t, b)
	mustProduce(t, c, "log", 10)
	for i, tc := range []struct {
		name      string
		topic     string
		partition int32
		offset    int64
		code      *kerr.Error
		low       int64
	}{
		{"moves", "log", 0, 3, nil, 3},
		{"below the start answers the start", "log", 0, 1, nil, 3},
		{"at the start", "log", 0, 3, nil, 3},
		{"behind the end", "log", 0, 11, kerr.OffsetOutOfRange, -1},
		{"H115 2^63-1", "log", 0, 1<<63 - 1, kerr.OffsetOutOfRange, -1},
		{"negative", "log", 0, -2, kerr.OffsetOutOfRange, -1},
		{"compact only", "compacted", 0, 0, kerr.PolicyViolation, -1},
		{"compact and delete", "both", 0, 0, nil, 0},
		{"unknown topic", "nowhere", 0, 0, kerr.UnknownTopicOrPartition, -1},
		{"unknown partition", "log", 1, 0, kerr.UnknownTopicOrPartition, -1},
		{"-1 is the high watermark", "log", 0, -1, nil, 10},
		{"-1 again", "log", 0, -1, nil, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.t = t
			p := deleteRecords(c, int16(i%3), tc.topic, tc.partition, tc.offset)
			want := int16(0)
			if tc.code != nil {
				want = tc.code.Code
			}
			if p.ErrorCode != want || p.LowWatermark != tc.low {
				t.Errorf("code %d, low watermark %d; want %d, %d", p.ErrorCode, p.LowWatermark, want, tc.low)
			}
		})
	}
}

// TestDeleteRecordsOfInternalTopics: as in Kafka, nobody deletes a group's offsets
// that way.
func TestDeleteRecordsOfInternalTopics(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "log", 1)
	admin := kadm.NewClient(b.Client())
	var offsets kadm.Offsets
	offsets.AddOffset("log", 0, 0, -1)
	if err := admin.CommitAllOffsets(t.Context(), "group", offsets); err != nil {
		t.Fatal(err)
	}
	if p := deleteRecords(dial(t, b), 2, "__consumer_offsets", 0, -1); p.ErrorCode != kerr.InvalidTopicException.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
}

// TestDeleteRecordsIsSeen: by fetches, by ListOffsets, and after kills and power
// cuts.
func TestDeleteRecordsIsSeen(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "log", 1)
	c := dial(t, b)
	for range 5 {
		mustProduce(t, c, "log", 2)
	}
	if p := deleteRecords(c, 2, "log", 0, 5); p.ErrorCode != 0 {
		t.Fatalf("code %d", p.ErrorCode)
	}
	check := func(when string) {
		t.Helper()
		c := dial(t, b)
		for timestamp, want := range map[int64]int64{-2: 5, -4: 5, -1: 10, -5: -1, 0: 5} {
			if p := listed(c, "log", timestamp); p.ErrorCode != 0 || p.Offset != want {
				t.Errorf("%s: ListOffsets %d: code %d, offset %d, want %d", when, timestamp, p.ErrorCode, p.Offset, want)
			}
		}
		below := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(11, "log", 0, 4)))
		if below.ErrorCode != kerr.OffsetOutOfRange.Code {
			t.Errorf("%s: fetch below the start: code %d", when, below.ErrorCode)
		}
		at := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(11, "log", 0, 5)))
		if at.ErrorCode != 0 || at.LogStartOffset != 5 || len(at.RecordBatches) == 0 {
			t.Errorf("%s: fetch at the start: code %d, log start %d, %d bytes", when, at.ErrorCode, at.LogStartOffset, len(at.RecordBatches))
		}
	}
	check("at once")
	b.Kill()
	check("after a kill")
	for seed := range uint64(5) {
		b.Crash(seed)
		check("after a power cut")
	}
	b.Restart()
	check("after a restart")
}

// TestFetchThatWaitsBelowTheStart: a fetch that waits for more bytes is told that
// its offset is gone.
func TestFetchThatWaitsBelowTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "log", 1)
		waits, deletes := dialBubble(t, b), dialBubble(t, b)
		mustProduce(t, deletes, "log", 4)
		req := fetchRequest(11, "log", 0, 0)
		req.MinBytes, req.MaxWaitMillis = 1<<20, int32(time.Hour/time.Millisecond)
		waits.send(req)
		synctest.Wait()
		begun := time.Now()
		if p := deleteRecords(deletes, 2, "log", 0, 2); p.ErrorCode != 0 {
			t.Fatalf("code %d", p.ErrorCode)
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		waits.receive(resp, waits.correlation)
		if p := fetched(resp); p.ErrorCode != kerr.OffsetOutOfRange.Code || time.Since(begun) > time.Second {
			t.Errorf("code %d after %s", p.ErrorCode, time.Since(begun))
		}
	})
}

// TestRetentionByTime: in virtual time, a consumer that starts afresh finds only
// what is young enough; the broker's look comes by itself, and a crash keeps it.
func TestRetentionByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"log.retention.check.interval.ms": "60000"}))
		client := b.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		admin := kadm.NewClient(client)
		hour := strconv.Itoa(3_600_000)
		_, err := admin.CreateTopics(t.Context(), 2, 1, map[string]*string{"retention.ms": &hour, "file.delete.delay.ms": kadm.StringPtr("0")}, "log", "kept")
		if err != nil {
			t.Fatal(err)
		}
		produce := func(n int) {
			for i := range n {
				for partition := range int32(2) {
					r := &kgo.Record{Topic: "log", Partition: partition, Value: fmt.Append(nil, i)}
					if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		starts := func() [2]int64 {
			offsets, err := admin.ListStartOffsets(t.Context(), "log")
			if err != nil || offsets.Error() != nil {
				t.Fatal(err, offsets.Error())
			}
			return [2]int64{offsets["log"][0].Offset, offsets["log"][1].Offset}
		}
		produce(5)
		time.Sleep(59 * time.Minute)
		if got := starts(); got != [2]int64{} {
			t.Errorf("after 59 minutes the logs start at %v", got)
		}
		time.Sleep(2*time.Minute + time.Second)
		if got := starts(); got != [2]int64{5, 5} {
			t.Errorf("after 61 minutes the logs start at %v, want 5", got)
		}
		produce(3)
		b.Kill()
		if got := starts(); got != [2]int64{5, 5} {
			t.Errorf("after a kill the logs start at %v, want 5", got)
		}
		time.Sleep(62 * time.Minute)
		if got := starts(); got != [2]int64{8, 8} {
			t.Errorf("an hour later the logs start at %v, want 8", got)
		}
	})
}

// TestRetentionBySize: the oldest segments go until the limit holds; compacted
// topics keep all.
func TestRetentionBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"log.retention.check.interval.ms": "1000"}))
		configs := []string{"segment.bytes", "1048576", "retention.bytes", "2097152"}
		createTopic(t, b, "log", 1, configs...)
		createTopic(t, b, "compacted", 1, append(configs, "cleanup.policy", "compact")...)
		c := dialBubble(t, b)
		for range 80 {
			value := batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: bytes.Repeat([]byte("x"), 100_000)})
			for _, topic := range []string{"log", "compacted"} {
				if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, topic, 0, value))); p.ErrorCode != 0 {
					t.Fatalf("code %d", p.ErrorCode)
				}
			}
		}
		time.Sleep(time.Minute)
		// Ten batches fit a segment: the last two segments have the 2 MiB or more.
		start := listed(c, "log", -2).Offset
		if start < 50 || start > 60 {
			t.Errorf("the log starts at %d of 80", start)
		}
		if got := listed(c, "compacted", -2).Offset; got != 0 {
			t.Errorf("the compacted log starts at %d", got)
		}
		if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "log", 0, records(1)))); p.BaseOffset != 80 {
			t.Errorf("the next record has offset %d", p.BaseOffset)
		}
	})
}

// TestProducerIDExpiration: producer.id.expiration.ms is honoured in virtual time;
// an expired producer's batch is accepted as that of an unknown one.
func TestProducerIDExpiration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"producer.id.expiration.ms": "600000"}))
		createTopic(t, b, "log", 1)
		c := dialBubble(t, b)
		send := func(sequence int32) kmsg.ProduceResponseTopicPartition {
			return produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "log", 0, sequenced(5, sequence))))
		}
		first := send(0)
		time.Sleep(9 * time.Minute)
		if again := send(0); again.ErrorCode != 0 || again.BaseOffset != first.BaseOffset {
			t.Errorf("a duplicate after 9 minutes: code %d, offset %d", again.ErrorCode, again.BaseOffset)
		}
		if gap := send(2); gap.ErrorCode != kerr.OutOfOrderSequenceNumber.Code {
			t.Errorf("a gap: code %d", gap.ErrorCode)
		}
		time.Sleep(time.Minute)
		if unknown := send(2); unknown.ErrorCode != 0 || unknown.BaseOffset != 1 {
			t.Errorf("after ten minutes: code %d, offset %d", unknown.ErrorCode, unknown.BaseOffset)
		}
		for wait, want := range []string{"weir_producers 1", "weir_producers 0"} {
			time.Sleep(time.Duration(wait) * 16 * time.Minute) // with retention's looks, which free the memory
			if _, page := askPage(b, "/metrics"); !strings.Contains(page, want) {
				t.Errorf("the metrics do not say %q", want)
			}
		}
	})
}

// TestSessionHearsOfTheLogStart: an incremental fetch tells a partition whose log
// start moved, once, though it has no records; one below the start is an error.
func TestSessionHearsOfTheLogStart(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "log", 2)
	c := newSessionClient(t, b, 12)
	admin := dial(t, b)
	for range 3 {
		mustProduce(t, admin, "log", 1)
	}
	c.want("log-0<3 log-1<0", []at{{"log", 0, 3}, {"log", 1, 0}})
	c.want("nothing", nil)
	if p := deleteRecords(admin, 2, "log", 0, 2); p.ErrorCode != 0 {
		t.Fatalf("code %d", p.ErrorCode)
	}
	resp := ask[*kmsg.FetchResponse](c.rawConn, c.request(nil, nil))
	if told := c.told(resp); told != "log-0<3" || fetched(resp).LogStartOffset != 2 {
		t.Errorf("told %q, log start %d", told, fetched(resp).LogStartOffset)
	}
	c.epoch++
	c.want("nothing", nil)
	c.want("log-0:OFFSET_OUT_OF_RANGE", []at{{"log", 0, 1}})
}

// TestRetentionIsDescribed: the values in force and where they are from.
func TestRetentionIsDescribed(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{
		"log.retention.minutes": "3", "log.retention.check.interval.ms": "77", "producer.id.expiration.ms": "88", "log.roll.jitter.hours": "1",
	}))
	createTopic(t, b, "log", 1, "retention.bytes", "5", "segment.ms", "6")
	admin := kadm.NewClient(b.Client())
	topics, err := admin.DescribeTopicConfigs(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	brokers, err := admin.DescribeBrokerConfigs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"retention.ms": "180000", "retention.bytes": "5", "segment.ms": "6", "segment.jitter.ms": "3600000",
		"segment.index.bytes": "10485760", "file.delete.delay.ms": "60000",
		"log.retention.minutes": "3", "log.retention.check.interval.ms": "77", "producer.id.expiration.ms": "88",
	}
	for _, config := range append(topics[0].Configs, brokers[0].Configs...) {
		if value, ok := want[config.Key]; ok {
			if config.MaybeValue() != value {
				t.Errorf("%s is %q, want %q", config.Key, config.MaybeValue(), value)
			}
			delete(want, config.Key)
		}
	}
	if len(want) > 0 {
		t.Errorf("not described: %v", want)
	}
}
