package group

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/assignor"
)

// TestConsumerRecordBytes pins the bytes of the records of consumer groups to the
// schemas of Kafka's messages ConsumerGroup*Key and ConsumerGroup*Value.
func TestConsumerRecordBytes(t *testing.T) {
	topic := [16]byte{15: 7}
	id := strings.Repeat("\x00", 15) + "\x07"
	m := &consumer{
		id: "m", instance: kmsg.StringPtr("i"), client: Client{"c", "/h"}, rebalanceTimeout: 258 * time.Millisecond,
		topics: []string{"a", "bc"}, regex: "x", assignor: "range",
		epoch: 5, previous: 4, state: memberUnrevoked, assigned: holdings{topic: {2: 3, 1: 5}}, revoking: holdings{topic: {0: 1}},
	}
	plain := &consumer{rack: kmsg.StringPtr("r")}
	classic := &consumer{classic: &classicMember{time.Second, []protocol{{"p", []byte("mm")}}}}
	cg := &consumerGroup{epoch: 7, hash: 258, assignmentEpoch: 6, assignedAt: time.UnixMilli(259)}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"key 3", consumerKey(keyConsumerGroup, "g"), "\x00\x03\x00\x01g"},
		{"key 5", memberKey(keyConsumerMember, "g", "mm"), "\x00\x05\x00\x01g\x00\x02mm"},
		{"key 6", consumerKey(keyConsumerTargetEpoch, "g"), "\x00\x06\x00\x01g"},
		{"key 7", memberKey(keyConsumerTarget, "g", "m"), "\x00\x07\x00\x01g\x00\x01m"},
		{"key 8", memberKey(keyConsumerCurrent, "g", "m"), "\x00\x08\x00\x01g\x00\x01m"},
		{"key 16", memberKey(keyConsumerRegex, "g", ".*"), "\x00\x10\x00\x01g\x00\x02.*"},
		{"value 3", groupEpochValue(cg), "\x00\x00\x00\x00\x00\x07\x01\x00\x08\x00\x00\x00\x00\x00\x00\x01\x02"},
		{"value 3, no topics", groupEpochValue(&consumerGroup{epoch: 7}), "\x00\x00\x00\x00\x00\x07\x00"},
		{"value 5", memberValue(m), "\x00\x00\x02i\x00\x02c\x03/h\x03\x02a\x03bc\x02x\x00\x00\x01\x02\x06range\x00"},
		{"value 5, little", memberValue(plain), "\x00\x00\x00\x02r\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00"},
		{"value 5, classic", memberValue(classic), "\x00\x00\x00\x00\x01\x01\x01\x01\x00\x00\x00\x00\x00\x01\x00\x0d\x01\x00\x00\x03\xe8\x02\x02p\x03mm\x00\x00"},
		{"value 6", targetEpochValue(cg), "\x00\x00\x00\x00\x00\x06\x01\x00\x08\x00\x00\x00\x00\x00\x00\x01\x03"},
		{"value 7", targetValue(targets{topic: {1, 2}}), "\x00\x00\x02" + id + "\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00"},
		{"value 8", currentValue(m), "\x00\x00\x00\x00\x00\x05\x00\x00\x00\x04\x01" +
			"\x02" + id + "\x03\x00\x00\x00\x01\x00\x00\x00\x02\x01\x00\x09\x03\x00\x00\x00\x05\x00\x00\x00\x03" +
			"\x02" + id + "\x02\x00\x00\x00\x00\x01\x00\x05\x02\x00\x00\x00\x01" + "\x00"},
		{"value 16", regexValue(&regex{topics: []string{"a"}, since: 3}), "\x00\x00\x02\x02a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00"},
	} {
		if !bytes.Equal(c.got, []byte(c.want)) {
			t.Errorf("%s:\n% x, want\n% x", c.name, c.got, c.want)
		}
	}
}

// TestConsumerRecordsShort cuts every value at every place: none is read, and none
// panics or allocates by a length that is not there.
func TestConsumerRecordsShort(t *testing.T) {
	topic := [16]byte{15: 7}
	m := &consumer{id: "m", instance: kmsg.StringPtr("i"), topics: []string{"a"}, assigned: holdings{topic: {2: 3}},
		classic: &classicMember{time.Second, []protocol{{"p", []byte("mm")}}}}
	cg := &consumerGroup{hash: 1, assignedAt: time.UnixMilli(1)}
	for key, value := range map[string][]byte{
		string(consumerKey(keyConsumerGroup, "g")):       groupEpochValue(cg),
		string(memberKey(keyConsumerMember, "g", "m")):   memberValue(m),
		string(consumerKey(keyConsumerTargetEpoch, "g")): targetEpochValue(cg),
		string(memberKey(keyConsumerTarget, "g", "m")):   targetValue(targets{topic: {1}}),
		string(memberKey(keyConsumerCurrent, "g", "m")):  currentValue(m),
		string(memberKey(keyConsumerRegex, "g", ".*")):   regexValue(&regex{topics: []string{"a"}}),
	} {
		if _, err := decode([]byte(key), value); err != nil {
			t.Fatal(err)
		}
		for n := range value {
			if _, err := decode([]byte(key), value[:n]); err == nil {
				t.Errorf("% x is read", value[:n])
			}
		}
	}
	huge := append([]byte("\x00\x00"), 0xff, 0xff, 0xff, 0xff, 0x07)
	if n := testing.AllocsPerRun(1, func() { decode(memberKey(keyConsumerTarget, "g", "m"), huge) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

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
