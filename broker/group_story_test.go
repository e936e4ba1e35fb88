package broker_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// tick is how exactly the stories know when something has happened.
const tick = 10 * time.Millisecond

// untilShared waits until the members own all partitions, each as many as the others
// or one more, and tells how long that took.
func untilShared(t *testing.T, partitions int, members ...*member) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		synctest.Wait()
		var all []int32
		least, most := partitions, 0
		for _, m := range members {
			own := m.owned()
			all = append(all, own...)
			least, most = min(least, len(own)), max(most, len(own))
		}
		slices.Sort(all)
		if len(all) == partitions && len(slices.Compact(all)) == partitions && most-least <= 1 {
			return time.Since(start)
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("after a minute %d members own %v", len(members), all)
		}
		time.Sleep(tick)
	}
}

// wantWithin holds how long something took, with one tick to see it.
func wantWithin(t *testing.T, what string, took, most time.Duration) {
	t.Helper()
	if took > most+tick {
		t.Errorf("%s: %v, want at most %v", what, took, most)
	}
}

// failOver is the story of a classic group: members come, one dies, one leaves, the
// broker loses power, and at every stop all partitions have one owner.
func failOver(t *testing.T) {
	const session, heartbeat = 10 * time.Second, time.Second
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 6)
	first := newMember(t, b)
	wantWithin(t, "the first member joins", untilShared(t, 6, first), 100*time.Millisecond)
	second, third := newMember(t, b), newMember(t, b)
	wantWithin(t, "two more join", untilShared(t, 6, first, second, third), 2*heartbeat+100*time.Millisecond)

	third.kill()
	took := untilShared(t, 6, first, second)
	if took < session-heartbeat {
		t.Errorf("a dead member was missed after %v, before its session ended", took)
	}
	wantWithin(t, "fail-over", took, session+heartbeat+300*time.Millisecond)

	second.LeaveGroup()
	wantWithin(t, "a member leaves", untilShared(t, 6, first), heartbeat+100*time.Millisecond)

	b.Crash(1)
	untilShared(t, 6, first)
	fourth := newMember(t, b)
	wantWithin(t, "a member joins after a power cut", untilShared(t, 6, first, fourth), 15*time.Second)

	events, err := b.Broker().GroupTimeline(t.Context(), "g")
	if err != nil || len(events) == 0 || events[0].Kind != "restarted" || events[len(events)-1].Kind != "became stable" {
		t.Errorf("the timeline tells %v, %v", events, err)
	}
}

// TestFailOverStory: how long it takes in real time, nearly none, is a figure of
// bench/README.md.
func TestFailOverStory(t *testing.T) { tell(t, failOver) }

// tell runs a story in virtual time five times, and logs the least real time of it.
func tell(t *testing.T, story func(*testing.T)) {
	best := time.Duration(math.MaxInt64)
	for range 5 {
		start := time.Now()
		synctest.Test(t, story)
		best = min(best, time.Since(start))
	}
	t.Logf("%v of real time", best)
}

// TestFiftyMembersJoin: a large group is stable after two heartbeats, and misses a
// dead member as soon as its session has ended.
func TestFiftyMembersJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 100)
		members := make([]*member, 50)
		for i := range members {
			members[i] = newMember(t, b, kgo.ClientID(fmt.Sprint("client-", i)))
		}
		took := untilShared(t, 100, members...)
		t.Logf("50 members join in %v", took)
		wantWithin(t, "50 members join", took, 2*time.Second+100*time.Millisecond)
		members[7].kill()
		took = untilShared(t, 100, slices.Delete(members, 7, 8)...)
		t.Logf("fail-over in %v", took)
		wantWithin(t, "fail-over", took, 10*time.Second+time.Second+300*time.Millisecond)
	})
}
