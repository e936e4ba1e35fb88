package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func pendOne(c *Core, group string, producer int64, partition int32) int16 {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Group, req.Generation, req.ProducerID = group, -1, producer
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition = partition
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.Partitions = "t", append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := c.CommitTxn(time.UnixMilli(1), req, topicID, func(string, int32) int16 { return 0 })
	c.Take()
	return resp.Topics[0].Partitions[0].ErrorCode
}

// TestPendingOffsetsAreBounded: 20,000 producers of one client that never end their
// transactions take as much memory as a group may, and no more; what they are told is to
// try again, and as soon as one ends there is room. Over all groups there is a bound, too.
func TestPendingOffsetsAreBounded(t *testing.T) {
	const producers, bound = 20_000, 2 << 20
	for name, cfg := range map[string]Config{"of a group": {MaxGroupBytes: bound}, "of all": {MaxMemory: bound}} {
		t.Run(name, func(t *testing.T) {
			c := New(cfg)
			taken := 0
			for producer := range int64(producers) {
				switch code := pendOne(c, "g", producer, int32(producer%7)); code {
				case none:
					taken++
				case coordinatorNotAvailable:
				default:
					t.Fatalf("producer %d is told %d", producer, code)
				}
			}
			if taken < bound/(pendingOffset+transactionBytes+64) || taken == producers {
				t.Errorf("%d of %d producers found room", taken, producers)
			}
			if n := c.Held(); n > bound+producers*transactionBytes || len(c.txns) != taken {
				t.Errorf("%d bytes are held by %d transactions", n, len(c.txns))
			}
			// The same producer may commit again, and another one when there is room.
			if code := pendOne(c, "g", 0, 0); code != none {
				t.Errorf("the same partition again: %d", code)
			}
			if code := pendOne(c, "h", producers, 0); (code == none) != (cfg.MaxGroupBytes > 0) {
				t.Errorf("another group: %d", code)
			}
			for producer := range int64(producers + 1) {
				c.EndTxn(time.UnixMilli(1), producer, false)
			}
			if c.Held() != 0 || c.Len() != 0 {
				t.Errorf("%d bytes and %d groups are left in the end", c.Held(), c.Len())
			}
			if code := pendOne(c, "g", 0, 0); code != none {
				t.Errorf("when all have ended: %d", code)
			}
		})
	}
}
