package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// benchNow is when the groups of a benchmark have become stable.
var benchNow = time.UnixMilli(1000)

// consumerBench makes groups of members that are stable, and the heartbeat of each.
func consumerBench(b *testing.B, groups, members int, partitions int32) (*Core, []*kmsg.ConsumerGroupHeartbeatRequest) {
	c := New(Config{NewMemberID: func(p string) string { return p }, Consumer: ConsumerConfig{AssignmentInterval: time.Second}})
	c.SetCluster(time.UnixMilli(0), (&testCluster{}).with(map[string]int32{"t": partitions}), nil)
	var list []*kmsg.ConsumerGroupHeartbeatRequest
	for g := range groups {
		for m := range members {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, fmt.Sprint("g", g), fmt.Sprint("m", m), 60_000
			req.SubscribedTopicNames, req.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			resp := c.ConsumerHeartbeat(time.UnixMilli(0), Client{"c", "/h"}, req, nil)
			if resp.ErrorCode != none {
				b.Fatal(*resp.ErrorMessage)
			}
			req.MemberEpoch = resp.MemberEpoch
			list = append(list, req)
		}
	}
	c.Tick(benchNow)
	for range 4 {
		for _, req := range list {
			resp := c.ConsumerHeartbeat(benchNow, Client{"c", "/h"}, req, nil)
			req.MemberEpoch = resp.MemberEpoch
		}
	}
	for _, g := range c.groups {
		if g.state != Stable {
			b.Fatalf("group %s is %s, members %d", g.id, g.state, members)
		}
	}
	for _, req := range list {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.Topics = -1, nil, nil
	}
	c.Take()
	return c, list
}

// BenchmarkConsumerHeartbeat is a heartbeat that changes nothing, of one of the 200
// members that a shard has at 1,000 groups of ten, or of a large group. That must not
// take longer.
func BenchmarkConsumerHeartbeat(b *testing.B) {
	for _, n := range []struct{ groups, members int }{{20, 10}, {1, 200}, {1, 1000}} {
		b.Run(fmt.Sprintf("groups=%d/members=%d", n.groups, n.members), func(b *testing.B) {
			c, list := consumerBench(b, n.groups, n.members, int32(3*n.members))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if resp := c.ConsumerHeartbeat(benchNow, Client{"c", "/h"}, list[i%len(list)], nil); resp.ErrorCode != none {
					b.Fatal(*resp.ErrorMessage)
				}
			}
			if n := len(c.Take().Records); n > 0 {
				b.Fatalf("%d records", n)
			}
		})
	}
}

// BenchmarkConsumerRejoin is a member of a large group that leaves and comes back, with
// the assignments that follow.
func BenchmarkConsumerRejoin(b *testing.B) {
	c, list := consumerBench(b, 1, 500, 5000)
	c.cfg.Consumer.AssignmentInterval = 0
	for b.Loop() {
		req := *list[0]
		req.MemberEpoch = epochLeave
		c.ConsumerHeartbeat(benchNow, Client{"c", "/h"}, &req, nil)
		req.MemberEpoch, req.RebalanceTimeoutMillis = epochJoin, 60_000
		req.SubscribedTopicNames, req.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if resp := c.ConsumerHeartbeat(benchNow, Client{"c", "/h"}, &req, nil); resp.ErrorCode != none {
			b.Fatal(*resp.ErrorMessage)
		}
		c.Take()
	}
}

// BenchmarkSetCluster tells a shard with 200 groups of a topic that does not matter.
func BenchmarkSetCluster(b *testing.B) {
	c, _ := consumerBench(b, 200, 10, 30)
	cl := (&testCluster{}).with(map[string]int32{"t": 30, "other": 1})
	for b.Loop() {
		c.SetCluster(benchNow, cl, []string{"other"})
	}
}
