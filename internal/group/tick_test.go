package group

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTickIsBounded: when very much expires at once it comes in parts, none of
// which is lost.
func TestTickIsBounded(t *testing.T) {
	const groups, partitions = 30, 2000
	c := New(Config{NewMemberID: func(prefix string) string { return prefix }})
	now := time.UnixMilli(0)
	for g := range groups {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = 9, string(rune('A'+g)), -1
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic = strings.Repeat("t", 100)
		for i := range int32(partitions) {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition = i
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
		c.Commit(now, req, func(*kmsg.OffsetCommitRequestTopic, int32) int16 { return 0 })
	}
	c.Take()
	now = now.Add(8 * 24 * time.Hour)
	ticks, tombstones := 0, 0
	for at, ok := c.Deadline(); ok && !at.After(now); at, ok = c.Deadline() {
		c.Tick(now)
		if n := c.Pending(); n > 2*tickBytes {
			t.Errorf("one tick made %d bytes of records", n)
		}
		ticks++
		tombstones += len(c.Take().Records)
	}
	if tombstones != groups*partitions || ticks < 2 || c.Len() != 0 {
		t.Errorf("%d ticks, %d tombstones, %d groups left; want %d tombstones in several ticks", ticks, tombstones, c.Len(), groups*partitions)
	}
}
