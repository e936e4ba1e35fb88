package broker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/vfs"
)

// damageFirst makes the length of the first batch of a partition's log wrong.
func damageFirst(t *testing.T, fs vfs.FS, topic [16]byte, partition int32) {
	t.Helper()
	f, err := fs.Open(fmt.Sprintf("/data/topics/%x/%d-%020d.log", topic, partition, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0xff}, 10); err != nil {
		t.Fatal(err)
	}
}

// startDamaged starts a broker whose topic log has a damaged log in partition 0,
// that nobody has read yet, and a whole one in partition 1; both have a record.
func startDamaged(t *testing.T, configs ...string) *brokertest.Broker {
	t.Helper()
	fs := vfs.NewMem()
	b := brokertest.Start(t, brokertest.WithFS(fs), brokertest.WithSettings(map[string]string{"log.retention.check.interval.ms": "60000"}))
	id := createTopic(t, b, "log", 2, configs...)
	c := dialBubble(t, b)
	for n := range int32(2) {
		if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "log", n, records(1)))); p.ErrorCode != 0 {
			t.Fatal(p.ErrorCode)
		}
	}
	b.Restart()
	damageFirst(t, fs, id, 0)
	return b
}

// startOf is the first offset of a partition of the topic log.
func startOf(t *testing.T, b *brokertest.Broker, partition int32) int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 9, -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, -2, -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = "log", append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return ask[*kmsg.ListOffsetsResponse](dialBubble(t, b), req).Topics[0].Partitions[0].Offset
}

// TestRetentionBesideADamagedLog: the other partitions of its topic expire.
func TestRetentionBesideADamagedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startDamaged(t, "retention.ms", "600000")
		time.Sleep(15 * time.Minute)
		if got := startOf(t, b, 1); got != 1 {
			t.Errorf("the whole log starts at %d", got)
		}
		if got := startOf(t, b, 0); got != 0 {
			t.Errorf("the damaged log starts at %d", got)
		}
	})
}

// TestDeleteRecordsOfADamagedLog: the start moves, though the damaged segment
// cannot be sealed, and those that are asked for with it move too. Then appends go
// on.
func TestDeleteRecordsOfADamagedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startDamaged(t)
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Version, req.TimeoutMillis = 2, 1000
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic = "log"
		for n := range int32(2) {
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			p.Partition, p.Offset = n, -1
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
		for _, p := range ask[*kmsg.DeleteRecordsResponse](dialBubble(t, b), req).Topics[0].Partitions {
			if p.ErrorCode != 0 || p.LowWatermark != 1 {
				t.Errorf("partition %d: code %d, log start %d", p.Partition, p.ErrorCode, p.LowWatermark)
			}
		}
		c := dialBubble(t, b)
		if p := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(11, "log", 0, 0))); p.ErrorCode != kerr.OffsetOutOfRange.Code {
			t.Errorf("what was deleted: code %d", p.ErrorCode)
		}
		// The first append replaces the damaged segment; its producer tries again.
		send := func() kmsg.ProduceResponseTopicPartition {
			return produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "log", 0, records(1))))
		}
		if p := send(); p.ErrorCode != kerr.KafkaStorageError.Code {
			t.Errorf("first append: code %d", p.ErrorCode)
		}
		synctest.Wait()
		if p := send(); p.ErrorCode != 0 || p.BaseOffset != 1 {
			t.Errorf("second append: code %d, offset %d", p.ErrorCode, p.BaseOffset)
		}
		b.Kill()
		if p := fetched(ask[*kmsg.FetchResponse](dialBubble(t, b), fetchRequest(11, "log", 0, 1))); p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
			t.Errorf("after a kill: code %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
		}
	})
}
