package broker_test

import (
	"testing"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestEarliestLeaderEpoch: the earliest offset has the epoch in which its batch
// was appended, not the newest; where nothing follows the start, that of the next
// append.
func TestEarliestLeaderEpoch(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "log", 1)
	check := func(when string, latest int32, offset int64, earliest int32) {
		t.Helper()
		c := dial(t, b)
		if p := listed(c, "log", -1); p.ErrorCode != 0 || p.LeaderEpoch != latest || p.Timestamp != -1 {
			t.Errorf("%s: latest: code %d, epoch %d, time %d", when, p.ErrorCode, p.LeaderEpoch, p.Timestamp)
		}
		for _, timestamp := range []int64{-2, -4} {
			p := listed(c, "log", timestamp)
			if p.ErrorCode != 0 || p.Offset != offset || p.LeaderEpoch != earliest || p.Timestamp != -1 {
				t.Errorf("%s: ListOffsets %d: code %d, offset %d in epoch %d at %d", when, timestamp, p.ErrorCode, p.Offset, p.LeaderEpoch, p.Timestamp)
			}
		}
	}
	drop := func(offset int64) {
		t.Helper()
		if p := deleteRecords(dial(t, b), 2, "log", 0, offset); p.ErrorCode != 0 {
			t.Fatalf("delete below %d: code %d", offset, p.ErrorCode)
		}
	}
	check("empty", 0, 0, 0)
	b.Kill()
	check("empty, of an old epoch", 1, 0, 1)
	mustProduce(t, dial(t, b), "log", 2) // 0, 1 in epoch 1
	b.Kill()
	check("nothing appended in the newest epoch", 2, 0, 1)
	mustProduce(t, dial(t, b), "log", 2) // 2, 3 in epoch 2
	check("two epochs", 2, 0, 1)
	drop(1)
	check("the start inside a batch", 2, 1, 1)
	drop(2)
	check("the older epoch gone", 2, 2, 2)
	b.Kill()
	check("after a kill", 3, 2, 2)
	drop(-1)
	check("all gone", 3, 4, 3)
	b.Restart()
	check("all gone, after a restart", 3, 4, 3)
}
