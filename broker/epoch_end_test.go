package broker_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

func epochEnd(c *rawConn, version int16, topic string, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = version, -1
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.CurrentLeaderEpoch, p.LeaderEpoch = current, epoch
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := ask[*kmsg.OffsetForLeaderEpochResponse](c, req)
	if len(resp.Topics) != 1 || resp.Topics[0].Topic != topic || len(resp.Topics[0].Partitions) != 1 {
		c.t.Fatalf("v%d: answer %+v", version, resp)
	}
	return resp.Topics[0].Partitions[0]
}

// TestOffsetForLeaderEpoch: a consumer that read in an older epoch learns where
// that ended, so that it goes on after an unclean start of the broker.
func TestOffsetForLeaderEpoch(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "log", 1)
	check := func(when string, current, epoch, wantEpoch int32, want int64) {
		t.Helper()
		for v := int16(2); v <= 4; v++ {
			if p := epochEnd(dial(t, b), v, "log", current, epoch); p.ErrorCode != 0 || p.LeaderEpoch != wantEpoch || p.EndOffset != want {
				t.Errorf("%s: v%d: epoch %d: code %d, epoch %d ends at %d, want %d at %d", when, v, epoch, p.ErrorCode, p.LeaderEpoch, p.EndOffset, wantEpoch, want)
			}
		}
	}
	check("empty", -1, 0, 0, 0)
	mustProduce(t, dial(t, b), "log", 2) // 0, 1 in epoch 0
	check("one epoch", 0, 0, 0, 2)
	b.Kill()
	check("the newest epoch is empty", 1, 0, 0, 2)
	check("the newest epoch is empty", 1, 1, 1, 2)
	mustProduce(t, dial(t, b), "log", 3) // 2, 3, 4 in epoch 1
	check("two epochs", -1, 0, 0, 2)
	check("two epochs", -1, 1, 1, 5)
	check("an epoch to come", -1, 2, -1, -1)
	check("no epoch", -1, -1, -1, -1)
	b.Kill()
	b.Kill()
	mustProduce(t, dial(t, b), "log", 1) // 5 in epoch 3
	check("an epoch without records", 3, 2, 1, 5)
	if p := deleteRecords(dial(t, b), 2, "log", 0, 3); p.ErrorCode != 0 {
		t.Fatalf("delete: code %d", p.ErrorCode)
	}
	check("an epoch that is gone", 3, 0, 0, 3)
	check("an epoch that is half gone", 3, 1, 1, 5)
	if p := deleteRecords(dial(t, b), 2, "log", 0, -1); p.ErrorCode != 0 {
		t.Fatalf("delete all: code %d", p.ErrorCode)
	}
	check("all gone", 3, 2, 2, 6)
	check("all gone", 3, 3, 3, 6)

	wantCode(t, "an older current epoch", epochEnd(dial(t, b), 4, "log", 2, 0).ErrorCode, kerr.FencedLeaderEpoch)
	wantCode(t, "a newer current epoch", epochEnd(dial(t, b), 4, "log", 4, 0).ErrorCode, kerr.UnknownLeaderEpoch)
	wantCode(t, "no such topic", epochEnd(dial(t, b), 4, "none", -1, 0).ErrorCode, kerr.UnknownTopicOrPartition)
}
