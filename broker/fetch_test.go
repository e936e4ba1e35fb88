package broker_test

import (
	"encoding/hex"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

func TestFetchEveryVersion(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "t", 1)
	c := dial(t, b)
	mustProduce(t, c, "t", 3)
	for v := int16(4); v <= 18; v++ {
		req := fetchRequest(v, "t", 0, 1)
		req.Topics[0].TopicID = id
		resp := ask[*kmsg.FetchResponse](c, req)
		p := fetched(resp)
		if resp.ErrorCode != 0 || p.ErrorCode != 0 || p.HighWatermark != 3 || p.LastStableOffset != 3 {
			t.Errorf("v%d: codes %d, %d, high watermark %d, stable %d", v, resp.ErrorCode, p.ErrorCode, p.HighWatermark, p.LastStableOffset)
		}
		stored := batch.Batch(p.RecordBatches)
		if stored.BaseOffset() != 0 || stored.Count() != 3 || len(stored) != stored.Len() {
			t.Errorf("v%d: not the whole batch that holds the offset", v)
		}
	}
}

func TestFetchRefusals(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	mustProduce(t, dial(t, b), "t", 3)
	change := func(f func(req *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition)) *kmsg.FetchRequest {
		req := fetchRequest(11, "t", 0, 0)
		f(req, &req.Topics[0].Partitions[0])
		return req
	}
	unknownID := fetchRequest(13, "", 0, 0)
	unknownID.Topics[0].TopicID = [16]byte{1, 2, 3}
	for name, tc := range map[string]struct {
		req  *kmsg.FetchRequest
		want *kerr.Error
	}{
		"H89 offset -5":     {fetchRequest(11, "t", 0, -5), kerr.OffsetOutOfRange},
		"H90 offset 2^63-1": {fetchRequest(11, "t", 0, 1<<63-1), kerr.OffsetOutOfRange},
		"H91 max bytes -1": {change(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.PartitionMaxBytes = -1 }),
			kerr.UnknownServerError},
		"H93 replica id 1": {change(func(req *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { req.ReplicaID = 1 }),
			kerr.NotLeaderForPartition},
		"unknown topic":     {fetchRequest(12, "absent", 0, 0), kerr.UnknownTopicOrPartition},
		"unknown partition": {fetchRequest(12, "t", 7, 0), kerr.UnknownTopicOrPartition},
		"unknown topic id":  {unknownID, kerr.UnknownTopicID},
		"leader epoch from the future": {change(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 99 }),
			kerr.UnknownLeaderEpoch},
	} {
		t.Run(name, func(t *testing.T) {
			tc.req.MaxWaitMillis = 1 << 30 // an error does not wait
			p := fetched(ask[*kmsg.FetchResponse](dial(t, b), tc.req))
			if p.ErrorCode != tc.want.Code || len(p.RecordBatches) > 0 {
				t.Errorf("code %d and %d bytes, want %d", p.ErrorCode, len(p.RecordBatches), tc.want.Code)
			}
			if p.HighWatermark != -1 || p.LastStableOffset != -1 || p.LogStartOffset != -1 {
				t.Errorf("an error tells of high watermark %d, last stable offset %d, log start %d", p.HighWatermark, p.LastStableOffset, p.LogStartOffset)
			}
		})
	}
}

// TestFencedLeaderEpoch: an unclean start raises the epoch; who knows only the
// old one must look again.
func TestFencedLeaderEpoch(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	mustProduce(t, dial(t, b), "t", 1)
	b.Kill()
	req := fetchRequest(12, "t", 0, 0)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
	if p := fetched(ask[*kmsg.FetchResponse](dial(t, b), req)); p.ErrorCode != kerr.FencedLeaderEpoch.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
}

func TestH92UnknownFetchSession(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	req := fetchRequest(11, "t", 0, 0)
	req.SessionID, req.SessionEpoch = 77, 3
	if resp := ask[*kmsg.FetchResponse](dial(t, b), req); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code || len(resp.Topics) != 0 {
		t.Errorf("code %d, %d topics", resp.ErrorCode, len(resp.Topics))
	}
}

// TestPitfall04DefaultsAreNotZero: node 0 might exist.
func TestPitfall04DefaultsAreNotZero(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	if p := fetched(ask[*kmsg.FetchResponse](dial(t, b), fetchRequest(12, "t", 0, 0))); p.PreferredReadReplica != -1 {
		t.Errorf("preferred read replica is %d", p.PreferredReadReplica)
	}
	if p := produced(ask[*kmsg.ProduceResponse](dial(t, b), produceRequest(9, -1, "t", 0, records(1)))); p.LogAppendTime != -1 {
		t.Errorf("log append time is %d", p.LogAppendTime)
	}
}

// TestPitfall05FetchLimits: the first batch comes whatever its size, batches are
// whole, empty records are not null.
func TestPitfall05FetchLimits(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	for range 3 {
		mustProduce(t, c, "t", 2)
	}
	one := len(records(2))
	for _, tc := range []struct{ max, want int }{{0, one}, {1, one}, {one, one}, {2*one - 1, one}, {2 * one, 2 * one}, {1 << 20, 3 * one}} {
		req := fetchRequest(4, "t", 0, 0)
		req.Topics[0].Partitions[0].PartitionMaxBytes = int32(tc.max)
		if p := fetched(ask[*kmsg.FetchResponse](c, req)); len(p.RecordBatches) != tc.want {
			t.Errorf("max %d: %d bytes, want %d", tc.max, len(p.RecordBatches), tc.want)
		}
	}
	for _, v := range []int16{4, 11, 12} {
		if p := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(v, "t", 0, 6))); p.RecordBatches == nil {
			t.Errorf("v%d: records at the end are null", v)
		}
	}
}

// TestPitfall06RecreatedTopic: its old id is unknown, never mapped to the new one.
func TestPitfall06RecreatedTopic(t *testing.T) {
	b := brokertest.Start(t)
	old := createTopic(t, b, "t", 1)
	mustProduce(t, dial(t, b), "t", 1)
	deleteTopic(t, b, "t")
	if again := createTopic(t, b, "t", 1); again == old {
		t.Fatal("the new topic has the old id")
	}
	req := fetchRequest(13, "", 0, 0)
	req.Topics[0].TopicID = old
	if p := fetched(ask[*kmsg.FetchResponse](dial(t, b), req)); p.ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("code %d", p.ErrorCode)
	}
	if end := endOffset(t, b, "t"); end != 0 {
		t.Errorf("the new topic has %d records", end)
	}
}

func deleteTopic(t *testing.T, b *brokertest.Broker, name string) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 6
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	if resp := ask[*kmsg.DeleteTopicsResponse](dial(t, b), req); resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("delete %s: code %d", name, resp.Topics[0].ErrorCode)
	}
}

// TestLongPoll waits exactly as long as it may, and no longer than it must.
func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1)
		c := dialBubble(t, b)
		poll := func(minBytes int32) (time.Duration, int) {
			req := fetchRequest(12, "t", 0, 0)
			req.MinBytes, req.MaxWaitMillis = minBytes, 30_000
			begun := time.Now()
			p := fetched(ask[*kmsg.FetchResponse](c, req))
			return time.Since(begun), len(p.RecordBatches)
		}
		if waited, n := poll(1); waited != 30*time.Second || n != 0 {
			t.Errorf("empty topic: %d bytes after %v", n, waited)
		}
		go func() {
			time.Sleep(7 * time.Second)
			mustProduce(t, dialBubble(t, b), "t", 5)
		}()
		if waited, n := poll(1); waited != 7*time.Second || n == 0 {
			t.Errorf("a record after 7 s: %d bytes after %v", n, waited)
		}
		if waited, n := poll(1 << 20); waited != 30*time.Second || n == 0 {
			t.Errorf("less than the minimum: %d bytes after %v", n, waited)
		}
		limited := fetchRequest(12, "t", 0, 0)
		limited.MinBytes, limited.MaxWaitMillis, limited.Topics[0].Partitions[0].PartitionMaxBytes = 100, 30_000, 10
		begun := time.Now()
		if p := fetched(ask[*kmsg.FetchResponse](c, limited)); len(p.RecordBatches) == 0 || time.Since(begun) > 0 {
			t.Errorf("minimum above the partition's limit: %d bytes after %v", len(p.RecordBatches), time.Since(begun))
		}
		if waited, _ := poll(0); waited != 0 {
			t.Errorf("minimum 0 waited %v", waited)
		}
	})
}

// dialBubble is dial without a deadline, which virtual time would pass.
func dialBubble(t *testing.T, b *brokertest.Broker) *rawConn {
	t.Helper()
	c := dial(t, b)
	if err := c.net.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLongPollEndsWithItsTopic: a deleted topic wakes who waits for it.
func TestLongPollEndsWithItsTopic(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "t", 1)
	c := dial(t, b)
	req := fetchRequest(13, "", 0, 0)
	req.Topics[0].TopicID, req.MaxWaitMillis = id, 1<<30
	c.send(req)
	deleteTopic(t, b, "t")
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 13
	c.receive(resp, c.correlation)
	if code := fetched(resp).ErrorCode; code != kerr.UnknownTopicID.Code {
		t.Errorf("code %d", code)
	}
}

// TestLargeFetch is larger than any buffer and arrives as it was sent.
func TestLargeFetch(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	createTopic(t, b, "u", 1)
	c := dial(t, b)
	value := make([]byte, 600<<10)
	for i := range value {
		value[i] = byte(i * i >> 3)
	}
	for range 5 {
		for _, topic := range []string{"t", "u"} {
			one := batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: value})
			if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, topic, 0, one))); p.ErrorCode != 0 {
				t.Fatal(p.ErrorCode)
			}
		}
	}
	req := fetchRequest(12, "t", 0, 0)
	req.Topics = append(req.Topics, fetchRequest(12, "u", 0, 0).Topics...)
	req.MaxBytes = 64 << 20
	for i := range req.Topics {
		req.Topics[i].Partitions[0].PartitionMaxBytes = 32 << 20
	}
	resp := ask[*kmsg.FetchResponse](c, req)
	for _, topic := range resp.Topics {
		n := 0
		for rest := topic.Partitions[0].RecordBatches; len(rest) > 0; n++ {
			one, more, err := batch.Split(rest)
			if err == nil {
				err = one.CheckCRC()
			}
			if err != nil {
				t.Fatal(err)
			}
			rest = more
		}
		if n != 5 {
			t.Errorf("%s: %d batches", topic.Topic, n)
		}
	}
}

// TestCorruptRecords are never sent, and keep nothing back: the batches before
// them come, then the error, and those behind them for whoever passes over. When
// part of the answer has left, the connection is closed; the next gets the rest.
func TestCorruptRecords(t *testing.T) {
	for name, tc := range map[string]struct {
		good, size int  // batches before the bad one, and their values' size
		closed     bool // what the first request meets
	}{"first": {0, 100, false}, "within the first chunk": {3, 100, false}, "midway": {3, 200 << 10, true}} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t)
			id := createTopic(t, b, "t", 1)
			value := make([]byte, tc.size)
			c, at := dial(t, b), 0
			put := func() int {
				one := batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: value})
				if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, one))); p.ErrorCode != 0 {
					t.Fatal(p.ErrorCode)
				}
				return len(one)
			}
			for range tc.good + 1 {
				at += put()
			}
			one := put()
			b.Restart()
			rot(t, b, filepath.Join("/data/topics", hex.EncodeToString(id[:]), "0-00000000000000000000.log"), int64(at-2))
			c = dial(t, b)
			if tc.closed {
				c.send(fetchRequest(12, "t", 0, 0))
				if _, _, err := c.readFrame(); err == nil {
					t.Error("a whole answer with records that cannot be read")
				}
				c = dial(t, b)
			}
			if tc.good > 0 {
				if p := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, 0))); p.ErrorCode != 0 || len(p.RecordBatches) != tc.good*one {
					t.Errorf("before the bad batch: code %d, %d bytes, want %d batches of %d", p.ErrorCode, len(p.RecordBatches), tc.good, one)
				}
			}
			bad := int64(tc.good)
			if p := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, bad))); p.ErrorCode != kerr.CorruptMessage.Code || len(p.RecordBatches) > 0 {
				t.Errorf("the bad batch: code %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
			}
			if p := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, bad+1))); p.ErrorCode != 0 || len(p.RecordBatches) != one {
				t.Errorf("behind the bad batch: code %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
			}
		})
	}
}

// rot changes one byte of a file.
func rot(t *testing.T, b *brokertest.Broker, name string, at int64) {
	t.Helper()
	f, err := b.Files().Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var one [1]byte
	if _, err := f.ReadAt(one[:], at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 0x55
	if _, err := f.WriteAt(one[:], at); err != nil {
		t.Fatal(err)
	}
}
