package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/assignor"
)

// TestConsumerLimits: ids and expressions that are too long, and members for which there
// is no room, change nothing.
func TestConsumerLimits(t *testing.T) {
	c := New(Config{NewMemberID: func(p string) string { return p + "-1" }, MaxGroupBytes: 20_000})
	beat := func(id string, topics int, regex string) *kmsg.ConsumerGroupHeartbeatResponse {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "g", id, 1000
		req.Topics, req.SubscribedTopicNames = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, []string{}
		for i := range topics {
			req.SubscribedTopicNames = append(req.SubscribedTopicNames, fmt.Sprint(i))
		}
		req.SubscribedTopicRegex = &regex
		return c.ConsumerHeartbeat(time.UnixMilli(0), Client{"c", "/h"}, req, nil)
	}
	for _, x := range []struct {
		name   string
		id     string
		topics int
		regex  string
		want   int16
	}{
		{"a long id", strings.Repeat("i", MaxID+1), 1, "", invalidRequest},
		{"a long expression", "m", 1, strings.Repeat("a", maxRegex+1), invalidRegularExpression},
		{"a large expression", "m", 1, "((a{50}){10}){10}", invalidRegularExpression},
		{"many topics", "m", 1000, "", groupMaxSizeReached},
	} {
		if got := beat(x.id, x.topics, x.regex).ErrorCode; got != x.want {
			t.Errorf("%s: %d, want %d", x.name, got, x.want)
		}
	}
	if c.Len() != 0 || c.Held() != 0 || len(c.Take().Records) != 0 {
		t.Errorf("%d groups, %d bytes", c.Len(), c.Held())
	}
	members := 0
	for i := range 100 {
		if beat(fmt.Sprint("m", i), 1, "").ErrorCode == none {
			members++
		}
	}
	if members < 5 || members > 50 || c.Held() > 20_000 {
		t.Errorf("%d members, %d bytes", members, c.Held())
	}
	if code := beat("m0", 1000, "").ErrorCode; code != groupMaxSizeReached {
		t.Errorf("a member that wants more topics: %d", code)
	}
}

// TestSettleOwners: of two members that a file gives the same partition, the one that got
// it last has it, whatever their order, and whoever has still to let it go.
func TestSettleOwners(t *testing.T) {
	at := func(epoch int32) holdings { return holdings{{1}: {0: epoch, epoch: epoch}} }
	for _, tt := range []struct{ a, b *consumer }{
		{&consumer{id: "a", assigned: at(5)}, &consumer{id: "b", assigned: at(4)}},
		{&consumer{id: "b", assigned: at(5)}, &consumer{id: "a", assigned: at(4)}},
		{&consumer{id: "a", revoking: at(5)}, &consumer{id: "b", assigned: at(4)}},
		{&consumer{id: "b", assigned: at(5)}, &consumer{id: "a", revoking: at(4)}},
	} {
		cg := &consumerGroup{owners: map[assignor.TopicID]map[int32]*consumer{}}
		cg.members = map[string]*consumer{tt.a.id: tt.a, tt.b.id: tt.b}
		cg.settleOwners()
		owners := cg.owners[assignor.TopicID{1}]
		if owners[0] != tt.a || owners[5] != tt.a || owners[4] != tt.b {
			t.Errorf("partition 0 is %s's, want %s's", owners[0].id, tt.a.id)
		}
		for _, p := range []holdings{tt.b.assigned, tt.b.revoking} {
			if _, has := p[assignor.TopicID{1}][0]; has {
				t.Errorf("%s goes on with partition 0", tt.b.id)
			}
		}
	}
}

// TestUpgradeBelieves: a classic group in the middle of a second rebalance has forgotten
// who owns what; cooperative members go on with it, and say so.
func TestUpgradeBelieves(t *testing.T) {
	w := newStorm(t, 1)
	w.eager = false
	a := &sailor{name: "a", classic: true, epoch: -1, instance: kmsg.StringPtr("a")}
	b := &sailor{name: "b", classic: true, epoch: -1, instance: kmsg.StringPtr("b")}
	c := &sailor{name: "c", id: "c"}
	w.crew = []*sailor{a, b, c}
	w.turn(a, false)
	w.turn(a, false)
	a.apply()
	if len(a.has) != 3 {
		t.Fatalf("%v", a.has)
	}
	w.join(b)
	w.drain()
	a.epoch, a.synced = -1, false
	w.join(a) // the second generation begins, and gets no assignment
	w.drain()
	b.epoch, b.wishes = -1, 1
	w.join(b) // the third one waits for a
	w.drain()
	if m := w.core.groups["g"].byID[a.id]; m.assignment != nil {
		t.Fatalf("the group has not forgotten the assignment % x", m.assignment)
	}
	w.beat(c, false)
	w.drain()
	c.apply()
	g := w.core.groups["g"]
	if g.consumer == nil || len(g.consumer.members) != 3 {
		t.Fatalf("%+v", w.core.List(nil, nil))
	}
	if d := cmp.Diff([]string{"t/0@2", "t/1@2", "t/2@2"}, w.cluster.places(nil, g.consumer.static["a"].assigned)); d != "" {
		t.Error(d)
	}
	w.check()
	w.calm()
}
