package group

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestExpressionsAreCounted: what expressions stand for takes memory, too, which is
// bounded, and given back.
func TestExpressionsAreCounted(t *testing.T) {
	const limit = 1 << 20
	c := New(Config{NewMemberID: numbered(), MaxGroupBytes: limit})
	topics := map[string]int32{}
	for i := range 1000 {
		topics[fmt.Sprint("t", i)] = 1
	}
	now := time.UnixMilli(0)
	c.SetCluster(now, (&testCluster{}).with(topics), nil)
	beat := func(id, regex string, epoch int32) int16 {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, "g", id, epoch, 1000
		if epoch == epochJoin {
			req.Topics, req.SubscribedTopicRegex = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, &regex
		}
		return c.ConsumerHeartbeat(now, Client{"c", "/h"}, req, nil).ErrorCode
	}
	members := 0
	for i := range 200 {
		if beat(fmt.Sprint("m", i), fmt.Sprintf("t.*|x%d", i), epochJoin) == none {
			members++
		}
	}
	if members < 5 || members > limit/(1000*nameBytes) || c.Held() > limit+100_000 {
		t.Errorf("%d members, %d bytes", members, c.Held())
	}
	if code := beat("m0", "t.*|x0", epochJoin); code != none {
		t.Errorf("who is in the group joins again: %d", code)
	}
	for i := range members {
		beat(fmt.Sprint("m", i), "", epochLeave)
	}
	if c.Held() != 0 {
		t.Errorf("%d bytes are counted when nobody is left", c.Held())
	}
}

// TestExpressionTakesTooLong: an expression that would be matched for seconds is refused,
// and leaves nothing.
func TestExpressionTakesTooLong(t *testing.T) {
	c := New(Config{NewMemberID: numbered()})
	topics := map[string]int32{}
	for i := range 1000 {
		topics[fmt.Sprintf("%0249d", i)] = 1
	}
	cl := (&testCluster{}).with(topics)
	c.SetCluster(time.UnixMilli(0), cl, nil)
	for s, want := range map[string]int16{"(.?){400}": invalidRegularExpression, "0*[1-5]{1,3}": none} {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, s, "m", 1000
		req.Topics, req.SubscribedTopicRegex = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, &s
		resp := c.ConsumerHeartbeat(time.UnixMilli(0), Client{"c", "/h"}, req, NewExpression(s, cl))
		if resp.ErrorCode != want || (c.groups[s] != nil) != (want == none) {
			t.Errorf("%s: %d, want %d", s, resp.ErrorCode, want)
		}
	}
}

// TestExpressionFollows: topics that come and go while a request waits for its turn are
// taken into account.
func TestExpressionFollows(t *testing.T) {
	c := New(Config{NewMemberID: numbered()})
	was := (&testCluster{}).with(map[string]int32{"a1": 1, "a2": 1, "b": 1})
	is := was.with(map[string]int32{"a2": 3, "a3": 1, "b": 1, "c": 1})
	c.SetCluster(time.UnixMilli(0), is, nil)
	s := "a.*|c"
	x := NewExpression(s, was)
	if x.Bytes() < 512 {
		t.Errorf("an expression of %d bytes", x.Bytes())
	}
	x.Follow(is, is.changed(was))
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "g", "m", 1000
	req.Topics, req.SubscribedTopicRegex = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, &s
	resp := c.ConsumerHeartbeat(time.UnixMilli(0), Client{"c", "/h"}, req, x)
	if got, want := c.groups["g"].consumer.regexes[s].topics, []string{"a2", "a3", "c"}; !slices.Equal(got, want) || resp.ErrorCode != none {
		t.Errorf("code %d, topics %q, want %q", resp.ErrorCode, got, want)
	}
	NewExpression("(", was).Follow(is, is.changed(was)) // which is refused later
}

// counting counts the names of topics that somebody looks at.
type counting struct {
	*testCluster
	names *int
}

func (c counting) TopicNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range c.testCluster.TopicNames() {
			if *c.names++; !yield(name) {
				return
			}
		}
	}
}

// TestReadyMatchesNothing: with thousands of expressions and topics it would take many
// seconds until groups are served after a start.
func TestReadyMatchesNothing(t *testing.T) {
	names := 0
	cl := counting{(&testCluster{}).with(map[string]int32{"a1": 1, "a2": 1, "b": 1}), &names}
	core := func() *Core {
		c := New(Config{NewMemberID: numbered()})
		c.SetCluster(time.UnixMilli(0), cl, nil)
		return c
	}
	c, s := core(), "a.*"
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "g", "m", 1000
	req.Topics, req.SubscribedTopicRegex = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, &s
	c.ConsumerHeartbeat(time.UnixMilli(0), Client{"c", "/h"}, req, nil)
	if names < 3 {
		t.Fatalf("a new expression was matched with %d names", names)
	}
	log := c.Take().Records
	names, c = 0, core()
	for _, r := range log {
		if err := c.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	c.Ready(time.UnixMilli(0))
	if got := c.Unresolved(); names > 0 || !slices.Equal(got, []string{s}) {
		t.Errorf("%d names were matched; unresolved is %q", names, got)
	}
	if got, want := c.groups["g"].consumer.regexes[s].topics, []string{"a1", "a2"}; !slices.Equal(got, want) {
		t.Errorf("topics %q, want %q", got, want)
	}
}
