package broker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// newConsumer is newMember for a group of the consumer protocol (KIP-848).
func newConsumer(t *testing.T, b *brokertest.Broker, opts ...kgo.Opt) *member {
	t.Helper()
	return newMember(t, b, append([]kgo.Opt{kgo.ServerSideBalancer()}, opts...)...)
}

func beat(version int16, group, id string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = version, group, id, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.Topics = 60_000, topics, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

// given is an assignment as "partition partition", of one topic.
func given(resp *kmsg.ConsumerGroupHeartbeatResponse) string {
	if resp.Assignment == nil {
		return "unchanged"
	}
	var all []string
	for _, t := range resp.Assignment.Topics {
		for _, p := range t.Partitions {
			all = append(all, fmt.Sprint(p))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// holding says in a request which partitions of a topic the member has.
func holding(req *kmsg.ConsumerGroupHeartbeatRequest, id [16]byte, partitions ...int32) *kmsg.ConsumerGroupHeartbeatRequest {
	rt := kmsg.NewConsumerGroupHeartbeatRequestTopic()
	rt.TopicID, rt.Partitions = id, partitions
	req.Topics = append(req.Topics, rt)
	return req
}

// consumerGroup is the description of group g.
func consumerGroup(t *testing.T, b *brokertest.Broker, id string) kmsg.ConsumerGroupDescribeResponseGroup {
	t.Helper()
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Version, req.Groups, req.IncludeAuthorizedOperations = 1, []string{id}, true
	c := dial(t, b)
	defer c.net.Close()
	return ask[*kmsg.ConsumerGroupDescribeResponse](c, req).Groups[0]
}

// TestConsumerGroupEveryVersion has a member join, stay, be described, commit and leave in
// every version.
func TestConsumerGroupEveryVersion(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "orders", 3)
	c := groupConn(t, b)
	for v := range int16(2) {
		group, member := fmt.Sprint("g", v), ""
		if v >= 1 {
			wantCode(t, "no member id", ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(v, group, "", 0, "orders")).ErrorCode, kerr.InvalidRequest)
			member = "made-by-the-client"
		}
		joined := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(v, group, member, 0, "orders"))
		wantCode(t, "join", joined.ErrorCode, nil)
		if joined.MemberID == nil || *joined.MemberID == "" || v >= 1 && *joined.MemberID != member || joined.MemberEpoch < 1 || given(joined) != "0 1 2" {
			t.Fatalf("v%d: %+v", v, joined)
		}
		member = *joined.MemberID
		stay := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, holding(beat(v, group, member, joined.MemberEpoch), id, 0, 1, 2))
		wantCode(t, "stay", stay.ErrorCode, nil)
		if stay.MemberEpoch != joined.MemberEpoch || stay.HeartbeatIntervalMillis <= 0 {
			t.Errorf("v%d: %+v", v, stay)
		}
		wantCode(t, "an epoch it never had", ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(v, group, member, 99)).ErrorCode, kerr.FencedMemberEpoch)

		commit := commit(9, group, "orders", 5)
		commit.MemberID, commit.Generation = member, joined.MemberEpoch
		wantCode(t, "commit", committed(ask[*kmsg.OffsetCommitResponse](c, commit)), nil)
		commit.Generation++
		wantCode(t, "commit of another epoch", committed(ask[*kmsg.OffsetCommitResponse](c, commit)), kerr.StaleMemberEpoch)
		commit.MemberID = "nobody"
		wantCode(t, "commit of another member", committed(ask[*kmsg.OffsetCommitResponse](c, commit)), kerr.UnknownMemberID)

		describe := kmsg.NewPtrConsumerGroupDescribeRequest()
		describe.Version, describe.Groups, describe.IncludeAuthorizedOperations = v, []string{group, "nobody", group}, true
		groups := ask[*kmsg.ConsumerGroupDescribeResponse](c, describe).Groups
		if len(groups) != 2 || groups[0].State != "Stable" || groups[0].AssignorName != "uniform" || len(groups[0].Members) != 1 || groups[0].Members[0].MemberID != member || groups[0].AuthorizedOperations == -1<<31 {
			t.Errorf("v%d: described as %+v", v, groups)
		}
		wantCode(t, "describe no group", groups[1].ErrorCode, kerr.GroupIDNotFound)
		list := kmsg.NewPtrListGroupsRequest()
		list.Version, list.TypesFilter = 5, []string{"CONSUMER"}
		if got := ask[*kmsg.ListGroupsResponse](c, list).Groups; !slices.ContainsFunc(got, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group == group }) {
			t.Errorf("v%d: consumer groups are %+v", v, got)
		}

		left := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(v, group, member, -1))
		wantCode(t, "leave", left.ErrorCode, nil)
		wantCode(t, "after leaving", ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(v, group, member, joined.MemberEpoch)).ErrorCode, kerr.UnknownMemberID)
	}
}

// TestHostileConsumerGroups: what makes no sense is refused with Kafka's code, and others
// go on.
func TestHostileConsumerGroups(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 3)
	c := groupConn(t, b)
	with := func(change func(*kmsg.ConsumerGroupHeartbeatRequest)) *kmsg.ConsumerGroupHeartbeatRequest {
		req := beat(1, "hostile", "m", 0, "orders")
		change(req)
		return req
	}
	str := kmsg.StringPtr
	for name, tt := range map[string]struct {
		req  *kmsg.ConsumerGroupHeartbeatRequest
		want *kerr.Error
	}{
		"no group":            {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }), kerr.InvalidRequest},
		"epoch -3":            {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 }), kerr.InvalidRequest},
		"no rebalance time":   {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 }), kerr.InvalidRequest},
		"nothing subscribed":  {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil }), kerr.InvalidRequest},
		"owns at joining":     {holding(beat(1, "hostile", "m", 0, "orders"), [16]byte{1}, 0), kerr.InvalidRequest},
		"assignor":            {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = str("sticky") }), kerr.UnsupportedAssignor},
		"regex":               {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = str("(") }), kerr.InvalidRegularExpression},
		"empty instance":      {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = str("") }), kerr.InvalidRequest},
		"static leave of one": {with(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 }), kerr.InvalidRequest},
		"unknown member":      {beat(1, "hostile", "nobody", 5), kerr.GroupIDNotFound},
	} {
		wantCode(t, name, ask[*kmsg.ConsumerGroupHeartbeatResponse](c, tt.req).ErrorCode, tt.want)
	}
	wantCode(t, "a good one", ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "hostile", "m", 0, "orders")).ErrorCode, nil)
}

// longestGap lets time pass and tells for how long at most a partition had no owner.
func longestGap(partitions int32, passes time.Duration, members ...*member) time.Duration {
	gap := map[int32]time.Duration{}
	longest := time.Duration(0)
	for end := time.Now().Add(passes); time.Now().Before(end); time.Sleep(tick) {
		synctest.Wait()
		var all []int32
		for _, m := range members {
			all = append(all, m.owned()...)
		}
		for p := range partitions {
			if slices.Contains(all, p) {
				gap[p] = 0
				continue
			}
			gap[p] += tick
			longest = max(longest, gap[p])
		}
	}
	return longest
}

// consumerFailOver is failOver for the consumer protocol: the same story, and who is not
// concerned keeps what it has.
func consumerFailOver(t *testing.T) {
	const session = 45 * time.Second
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 6)
	first := newConsumer(t, b)
	wantWithin(t, "the first member joins", untilShared(t, 6, first), 1200*time.Millisecond)
	second := newConsumer(t, b)
	wantWithin(t, "a second joins", untilShared(t, 6, first, second), 1200*time.Millisecond)
	third := newConsumer(t, b)
	if gap := longestGap(6, 3*time.Second, first, second, third); gap > time.Second+tick {
		t.Errorf("a moved partition had no owner for %v", gap)
	}
	untilShared(t, 6, first, second, third)

	third.kill()
	wantWithin(t, "fail-over", untilShared(t, 6, first, second), session+time.Second)
	second.LeaveGroup()
	wantWithin(t, "a member leaves", untilShared(t, 6, first), 5*time.Second+100*time.Millisecond)

	before := consumerGroup(t, b, "g")
	for i, again := range []func(){b.Restart, b.Kill, func() { b.Crash(1) }} {
		again()
		time.Sleep(10 * time.Second)
		after := consumerGroup(t, b, "g")
		if after.State != "Stable" || after.Epoch != before.Epoch || len(after.Members) != 1 || after.Members[0].MemberID != before.Members[0].MemberID || after.Members[0].MemberEpoch != before.Members[0].MemberEpoch {
			t.Errorf("restart %d: group is %+v, was %+v", i, after, before)
		}
		wantOwned(t, first, "after a restart", 0, 1, 2, 3, 4, 5)
	}
	events, err := b.Broker().GroupTimeline(t.Context(), "g")
	if err != nil || len(events) == 0 || events[0].Kind != "restarted" {
		t.Errorf("the timeline tells %v, %v", events, err)
	}
}

// TestConsumerFailOverStory: as TestFailOverStory, with the next protocol.
func TestConsumerFailOverStory(t *testing.T) { tell(t, consumerFailOver) }

// TestConsumersFollowTopics: partitions that are added and topics that match come to the
// members within a heartbeat, and what is deleted goes.
func TestConsumersFollowTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 2)
		m := newConsumer(t, b)
		untilShared(t, 2, m)
		c := dialBubble(t, b)
		wantCode(t, "more partitions", ask[*kmsg.CreatePartitionsResponse](c, grow(3, "orders", 5)).Topics[0].ErrorCode, nil)
		wantWithin(t, "added partitions", untilShared(t, 5, m), 5*time.Second+100*time.Millisecond)
		late := newConsumer(t, b, kgo.ConsumerGroup("late"), kgo.ConsumeRegex(), kgo.ConsumeTopics("ord.*s"))
		wantWithin(t, "a member with a regular expression", untilShared(t, 5, late), 1200*time.Millisecond)
		del := kmsg.NewPtrDeleteTopicsRequest()
		del.Version, del.TopicNames = 1, []string{"orders"}
		wantCode(t, "delete", ask[*kmsg.DeleteTopicsResponse](c, del).Topics[0].ErrorCode, nil)
		time.Sleep(10 * time.Second)
		wantOwned(t, m, "the topic is deleted")
		wantOwned(t, late, "the topic that matched is deleted")
		createTopic(t, b, "orders", 3)
		wantWithin(t, "a topic of the same name", untilShared(t, 3, m), 5*time.Second)
		wantWithin(t, "one that matches", untilShared(t, 3, late), 5*time.Second)
	})
}

// TestGroupSettingsReachMembers: an altered interval is told with the next heartbeat, and
// an altered session timeout ends the session of who is silent, also after a restart.
func TestGroupSettingsReachMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"group.consumer.min.session.timeout.ms": "1000", "group.consumer.min.heartbeat.interval.ms": "100"}))
		createTopic(t, b, "orders", 1)
		c := dialBubble(t, b)
		mustCommit(t, groupConn(t, b), "other", "orders", 1) // makes the coordinator
		joined := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "g", "m", 0, "orders"))
		if joined.HeartbeatIntervalMillis <= 150 {
			t.Errorf("told to beat each %d ms before the change", joined.HeartbeatIntervalMillis)
		}
		r := alterRequest(alterResource(groupResource, "g", "consumer.heartbeat.interval.ms=150", "consumer.session.timeout.ms=3000"))
		wantCode(t, "alter", ask[*kmsg.IncrementalAlterConfigsResponse](c, r).Resources[0].ErrorCode, nil)
		if got := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "g", "m", joined.MemberEpoch)); got.HeartbeatIntervalMillis != 150 {
			t.Errorf("told to beat each %d ms after the change: %+v", got.HeartbeatIntervalMillis, got)
		}
		b.Restart()
		c = dialBubble(t, b)
		if got := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "g", "m", joined.MemberEpoch)); got.ErrorCode != 0 || got.HeartbeatIntervalMillis != 150 {
			t.Errorf("after a restart: %+v", got)
		}
		time.Sleep(2900 * time.Millisecond)
		if g := consumerGroup(t, b, "g"); len(g.Members) != 1 {
			t.Errorf("before its session ends the group has %d members", len(g.Members))
		}
		time.Sleep(200 * time.Millisecond)
		if g := consumerGroup(t, b, "g"); len(g.Members) != 0 {
			t.Errorf("after its session ended the group has %d members", len(g.Members))
		}
	})
}

// TestMigration: members of both protocols share a group while it is moved from one to the
// other and back, and never lose what they have for long.
func TestMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 6)
		classic := []*member{newMember(t, b), newMember(t, b)}
		untilShared(t, 6, classic...)
		mustCommit(t, groupConn(t, b), "other", "orders", 1)
		next := newConsumer(t, b)
		untilShared(t, 6, append(classic, next)...)
		if g := consumerGroup(t, b, "g"); g.ErrorCode != 0 || len(g.Members) != 3 {
			t.Errorf("upgraded group: %+v", g)
		}
		classic[0].LeaveGroup()
		untilShared(t, 6, classic[1], next)
		next.LeaveGroup()
		untilShared(t, 6, classic[1])
		if g := consumerGroup(t, b, "g"); g.ErrorCode != kerr.GroupIDNotFound.Code {
			t.Errorf("downgraded group: %+v", g)
		}
		last := newConsumer(t, b)
		untilShared(t, 6, classic[1], last)
		b.Crash(4)
		untilShared(t, 6, classic[1], last)
		classic[1].LeaveGroup()
		untilShared(t, 6, last)
	})
}

// TestMigrationLosesNothing: a group changes its protocol while its members are on their
// way, one waiting in a join, one behind by an epoch. None of them is told anything upon
// which its client gives up its partitions as lost.
func TestMigrationLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 6)
		lost := func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
			t.Errorf("lost %v", moved)
		}
		calm := func(heartbeat time.Duration) []kgo.Opt {
			return []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.HeartbeatInterval(heartbeat), kgo.OnPartitionsLost(lost)}
		}
		quick, slow := newMember(t, b, calm(200*time.Millisecond)...), newMember(t, b, calm(4*time.Second)...)
		leaver := newMember(t, b, calm(time.Second)...)
		untilShared(t, 6, quick, slow, leaver)
		time.Sleep(8 * time.Second) // all heartbeats are over
		leaver.LeaveGroup()
		time.Sleep(time.Second) // quick waits for slow to join
		next := newConsumer(t, b)
		untilShared(t, 6, quick, slow, next)
		time.Sleep(8 * time.Second)
		other := newConsumer(t, b)
		time.Sleep(time.Second) // quick has seen the new epoch, slow has not
		other.LeaveGroup()
		next.LeaveGroup()
		untilShared(t, 6, quick, slow)
	})
}

// TestStaticConsumerRestarts: a static member that comes back within its session has its
// partitions again, and the other one is not disturbed.
func TestStaticConsumerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 4)
		one, two := newConsumer(t, b, kgo.InstanceID("one")), newConsumer(t, b, kgo.InstanceID("two"))
		untilShared(t, 4, one, two)
		had := two.owned()
		two.CloseAllowingRebalance()
		again := newConsumer(t, b, kgo.InstanceID("two"))
		time.Sleep(3 * time.Second)
		if got := again.owned(); !slices.Equal(got, had) {
			t.Errorf("after its restart it owns %v, had %v", got, had)
		}
		if len(one.owned()) != 2 {
			t.Errorf("the other one owns %v", one.owned())
		}
	})
}

// TestFeatures: clients are told that group.version is 1 and transaction.version 2.
func TestFeatures(t *testing.T) {
	b := brokertest.Start(t)
	want := []struct {
		name  string
		level int16
	}{{"group.version", 1}, {"transaction.version", 2}}
	for v := int16(3); v <= 4; v++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = v, "kgo", "1"
		resp := ask[*kmsg.ApiVersionsResponse](dial(t, b), req)
		// A supported range from 0 on is told from v4, as older clients cannot read it.
		if len(resp.FinalizedFeatures) != 2 || len(resp.SupportedFeatures) != 2*int(v-3) || resp.FinalizedFeaturesEpoch < 0 {
			t.Fatalf("v%d: %+v", v, resp)
		}
		for i, w := range want {
			if f := resp.FinalizedFeatures[i]; f.Name != w.name || f.MaxVersionLevel != w.level || f.MinVersionLevel != w.level {
				t.Errorf("v%d: finalised %+v, want %v", v, f, w)
			}
			if v < 4 {
				continue
			}
			if f := resp.SupportedFeatures[i]; f.Name != w.name || f.MinVersion != 0 || f.MaxVersion != w.level {
				t.Errorf("v%d: supported %+v, want %v", v, f, w)
			}
		}
	}
}
