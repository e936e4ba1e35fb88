package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stableGroups makes a Core with n groups of one member each and returns the ids
// of the members.
func stableGroups(b *testing.B, n int) (*Core, []string, time.Time) {
	now := time.UnixMilli(1_000_000)
	c := New(Config{NewMemberID: func(prefix string) string { return prefix + "-id" }})
	ids := make([]string, n)
	for i := range ids {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.ProtocolType = 3, fmt.Sprintf("g%d", i), "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45_000, 300_000
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = "range"
		req.Protocols = append(req.Protocols, p)
		c.Join(now, 1, Client{"c", "/h"}, req)
		joined := c.Take().Replies[0].Response.(*kmsg.JoinGroupResponse)
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Group, sync.Generation, sync.MemberID = req.Group, joined.Generation, joined.MemberID
		c.Sync(now, 2, sync)
		c.Take()
		ids[i] = joined.MemberID
	}
	return c, ids, now
}

func BenchmarkHeartbeat(b *testing.B) {
	c, ids, now := stableGroups(b, 1000)
	req := kmsg.NewPtrHeartbeatRequest()
	req.Generation = 1
	groups := make([]string, len(ids))
	for i := range groups {
		groups[i] = fmt.Sprintf("g%d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Microsecond)
		req.Group, req.MemberID = groups[i%len(ids)], ids[i%len(ids)]
		if c.Heartbeat(now, req).ErrorCode != 0 {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	c, ids, now := stableGroups(b, 1000)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 9, "g5", 1, ids[5]
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = "orders"
	for i := range int32(10) {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = i, 1000
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	exists := func(*kmsg.OffsetCommitRequestTopic, int32) int16 { return 0 }
	b.ReportAllocs()
	for b.Loop() {
		c.Commit(now, req, exists)
		c.Take()
	}
}
