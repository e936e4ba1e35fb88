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

// BenchmarkReplay is what reading one record of a committed offset takes at a
// start: 10,000 groups commit 10 partitions of a topic again and again.
func BenchmarkReplay(b *testing.B) {
	now := time.UnixMilli(1_000_000)
	var log []Record
	for round := range 2 {
		for i := range 1000 {
			for p := range int32(10) {
				o := &offset{at: int64(round), epoch: 3, time: now.UnixMilli(), expires: -1, topicID: [16]byte{1}}
				log = append(log, Record{Key: offsetKey(fmt.Sprintf("group-%d", i), "orders", p), Value: offsetValue(o)})
			}
		}
	}
	var c *Core
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%(100*len(log)) == 0 {
			c = New(Config{})
		}
		r := &log[i%len(log)]
		if err := c.Replay(*r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRestart reads 1,000,000 commits of 10,000 groups, as 50 Cores together
// do at a start, and makes them ready.
func BenchmarkRestart(b *testing.B) {
	const groups, rounds = 10_000, 10
	log := make([]Record, 0, groups*rounds*10)
	for round := range rounds {
		for i := range groups {
			for p := range int32(10) {
				o := &offset{at: int64(round), epoch: 3, time: 1_000_000, expires: -1, topicID: [16]byte{1}}
				log = append(log, Record{Key: offsetKey(fmt.Sprintf("group-%d", i), "orders", p), Value: offsetValue(o)})
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		c := New(Config{})
		for i := range log {
			if err := c.Replay(log[i]); err != nil {
				b.Fatal(err)
			}
		}
		c.Ready(time.UnixMilli(2_000_000))
		c.Take()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(log)), "ns/record")
}

// BenchmarkTransaction commits one offset of a group that has 1,000 others in a
// transaction, and ends it.
func BenchmarkTransaction(b *testing.B) {
	c := New(Config{})
	now := time.UnixMilli(1_000_000)
	for p := range int32(1000) {
		c.put(c.lookup("g"), place{"t", p}, &offset{at: 1, time: now.UnixMilli(), expires: -1})
	}
	c.Ready(now)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Group, req.Generation, req.ProducerID = "g", -1, 7
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.Partitions = "t", append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	b.ReportAllocs()
	for b.Loop() {
		req.Topics[0].Partitions[0].Offset++
		c.CommitTxn(now, req, topicID, func(string, int32) int16 { return 0 })
		c.Take()
		c.EndTxn(now, 7, true)
		c.Tick(now)
	}
}
