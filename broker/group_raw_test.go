package broker_test

import (
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

func wantCode(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	code := int16(0)
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("%s: %v, want %v", what, kerr.ErrorForCode(got), kerr.ErrorForCode(code))
	}
}

func join(version int16, group, id string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = version, group, id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 30_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte("subscription")
	req.Protocols = append(req.Protocols, p)
	return req
}

// mustJoin joins as the only member of a group and syncs.
func mustJoin(t *testing.T, c *rawConn, group string) *kmsg.JoinGroupResponse {
	t.Helper()
	resp := ask[*kmsg.JoinGroupResponse](c, join(3, group, ""))
	wantCode(t, "join", resp.ErrorCode, nil)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.Generation, sync.MemberID = 3, group, resp.Generation, resp.MemberID
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = resp.MemberID, []byte("all")
	sync.GroupAssignment = append(sync.GroupAssignment, a)
	synced := ask[*kmsg.SyncGroupResponse](c, sync)
	wantCode(t, "sync", synced.ErrorCode, nil)
	if string(synced.MemberAssignment) != "all" {
		t.Errorf("assignment %q", synced.MemberAssignment)
	}
	return resp
}

// TestGroupAPIsEveryVersion has one member go through its life in every version
// of every group API. ask checks that each answer is, to the byte, of its version.
func TestGroupAPIsEveryVersion(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "orders", 2)
	c := groupConn(t, b)
	for v := int16(0); v <= 9; v++ {
		group := fmt.Sprintf("g%d", v)
		resp := ask[*kmsg.JoinGroupResponse](c, join(v, group, ""))
		if v >= 4 {
			wantCode(t, "first join", resp.ErrorCode, kerr.MemberIDRequired)
			resp = ask[*kmsg.JoinGroupResponse](c, join(v, group, resp.MemberID))
		}
		wantCode(t, "join", resp.ErrorCode, nil)
		if resp.Generation != 1 || resp.LeaderID != resp.MemberID || len(resp.Members) != 1 || resp.Protocol == nil || *resp.Protocol != "range" {
			t.Errorf("v%d: %+v", v, resp)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Version, sync.Group, sync.Generation, sync.MemberID = min(v, 5), group, 1, resp.MemberID
		wantCode(t, "sync", ask[*kmsg.SyncGroupResponse](c, sync).ErrorCode, nil)
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Version, beat.Group, beat.Generation, beat.MemberID = min(v, 4), group, 1, resp.MemberID
		wantCode(t, "heartbeat", ask[*kmsg.HeartbeatResponse](c, beat).ErrorCode, nil)

		commitAndFetch(t, c, group, resp.MemberID, max(2, v), id)
		if v == 9 {
			commitAndFetch(t, c, group, resp.MemberID, 10, id)
		}
		describeAndList(t, c, group, v)

		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Version, leave.Group, leave.MemberID = min(v, 5), group, resp.MemberID
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = resp.MemberID
		leave.Members = append(leave.Members, m)
		wantCode(t, "leave", ask[*kmsg.LeaveGroupResponse](c, leave).ErrorCode, nil)
	}
}

func commitAndFetch(t *testing.T, c *rawConn, group, member string, v int16, id [16]byte) {
	t.Helper()
	at := int64(100 + v)
	req := commit(v, group, "orders", at)
	req.Generation, req.MemberID = 1, member
	req.Topics[0].TopicID = id
	resp := ask[*kmsg.OffsetCommitResponse](c, req)
	wantCode(t, "commit", committed(resp), nil)
	if v >= 10 && resp.Topics[0].TopicID != id || v < 10 && resp.Topics[0].Topic != "orders" {
		t.Errorf("v%d: committed topic %q %x", v, resp.Topics[0].Topic, resp.Topics[0].TopicID)
	}
	epoch := int32(-1)
	if v >= 6 {
		epoch = 3
	}
	want := fmt.Sprintf("orders %x/0=%d epoch=%d %q", [16]byte{}, at, epoch, "note")
	if v >= 10 {
		want = fmt.Sprintf(" %x/0=%d epoch=%d %q", id, at, epoch, "note")
	}
	for _, all := range []bool{false, true} {
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Version, fetch.Group = v, group
		if all && v >= 2 {
			fetch.Topics = nil
		} else {
			t := kmsg.NewOffsetFetchRequestTopic()
			t.Topic, t.Partitions = "orders", []int32{0}
			fetch.Topics = append(fetch.Topics, t)
		}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = group
		if !all {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic, t.TopicID, t.Partitions = "orders", id, []int32{0}
			g.Topics = append(g.Topics, t)
		}
		fetch.Groups = append(fetch.Groups, g)
		if v < 5 {
			want = fmt.Sprintf("orders %x/0=%d epoch=-1 %q", [16]byte{}, at, "note")
		}
		if got := flatFetch(ask[*kmsg.OffsetFetchResponse](c, fetch)); !slices.Equal(got, []string{want}) {
			t.Errorf("OffsetFetch v%d, all %v: %q, want %q", v, all, got, want)
		}
	}
}

// flatFetch prints the offsets of an answer of any version.
func flatFetch(resp *kmsg.OffsetFetchResponse) []string {
	var list []string
	add := func(topic string, id [16]byte, partition int32, at int64, epoch int32, metadata *string, code int16) {
		s := fmt.Sprintf("%s %x/%d=%d epoch=%d %q", topic, id, partition, at, epoch, *metadata)
		if code != 0 {
			s += " " + kerr.ErrorForCode(code).Error()
		}
		list = append(list, s)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			add(t.Topic, [16]byte{}, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				add(t.Topic, t.TopicID, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode)
			}
		}
	}
	return list
}

func describeAndList(t *testing.T, c *rawConn, group string, v int16) {
	t.Helper()
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version, describe.Groups = min(v, 6), []string{group, "nobody"}
	resp := ask[*kmsg.DescribeGroupsResponse](c, describe)
	g, nobody := resp.Groups[0], resp.Groups[1]
	if g.ErrorCode != 0 || g.State != "Stable" || g.Protocol != "range" || len(g.Members) != 1 ||
		string(g.Members[0].ProtocolMetadata) != "subscription" || g.Members[0].ClientID != "raw" || !strings.HasPrefix(g.Members[0].ClientHost, "/") {
		t.Errorf("v%d: %+v", describe.Version, g)
	}
	if g.AuthorizedOperations != -1<<31 {
		t.Errorf("v%d: operations %d, which nobody asked for", describe.Version, g.AuthorizedOperations)
	}
	if nobody.State != "Dead" {
		t.Errorf("state of a group that does not exist: %s", nobody.State)
	}
	want := (*kerr.Error)(nil)
	if v >= 6 {
		want = kerr.GroupIDNotFound
	}
	wantCode(t, "describe nobody", nobody.ErrorCode, want)

	list := kmsg.NewPtrListGroupsRequest()
	list.Version = min(v, 5)
	list.StatesFilter, list.TypesFilter = []string{"stable"}, []string{"Classic"}
	groups := ask[*kmsg.ListGroupsResponse](c, list).Groups
	if !slices.ContainsFunc(groups, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group == group }) {
		t.Errorf("v%d: %s is not among %+v", list.Version, group, groups)
	}
	if list.StatesFilter = []string{"Empty"}; v >= 4 {
		for _, g := range ask[*kmsg.ListGroupsResponse](c, list).Groups {
			if g.GroupState != "Empty" || v >= 5 && g.GroupType != "classic" {
				t.Errorf("v%d: filter Empty lists %+v", list.Version, g)
			}
		}
	}
}

// TestFindCoordinatorMakesOffsetsTopic: the first request makes the topic, with
// Kafka's 50 partitions; before it there is no coordinator.
func TestFindCoordinatorMakesOffsetsTopic(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 1)
	c := dial(t, b)
	wantCode(t, "commit before", committed(ask[*kmsg.OffsetCommitResponse](c, commit(7, "g", "orders", 1))), kerr.NotCoordinator)
	for v := int16(0); v <= 6; v++ {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorKey, req.CoordinatorKeys = v, "g", []string{"g", "h"}
		resp := ask[*kmsg.FindCoordinatorResponse](c, req)
		if v < 4 {
			if resp.ErrorCode != 0 || resp.NodeID != 1 || resp.Host == "" || resp.Port <= 0 {
				t.Errorf("v%d: %+v", v, resp)
			}
			if v >= 1 && (resp.ErrorMessage == nil || *resp.ErrorMessage != "NONE") {
				t.Errorf("v%d: message %v, Kafka says NONE", v, resp.ErrorMessage)
			}
			continue
		}
		if len(resp.Coordinators) != 2 || resp.Coordinators[1].Key != "h" || resp.Coordinators[1].NodeID != 1 || resp.Coordinators[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	for kind, want := range map[int8]*kerr.Error{2: kerr.CoordinatorNotAvailable, 9: kerr.InvalidRequest} {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorType, req.CoordinatorKeys = 6, kind, []string{"x"}
		found := ask[*kmsg.FindCoordinatorResponse](c, req).Coordinators[0]
		wantCode(t, fmt.Sprintf("coordinator of type %d", kind), found.ErrorCode, want)
		if found.NodeID != -1 || found.ErrorMessage == nil {
			t.Errorf("coordinator of type %d: %+v", kind, found)
		}
	}
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 9
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("__consumer_offsets")
	meta.Topics = append(meta.Topics, topic)
	if got := ask[*kmsg.MetadataResponse](c, meta).Topics[0]; len(got.Partitions) != 50 || !got.IsInternal {
		t.Errorf("__consumer_offsets has %d partitions, internal %v", len(got.Partitions), got.IsInternal)
	}
	wantCode(t, "commit after", committed(ask[*kmsg.OffsetCommitResponse](c, commit(7, "g", "orders", 1))), nil)
}

// TestPitfall07OffsetsByTopicID: v10 names topics by id alone; an id that is not
// known is an error of its own, never another topic.
func TestPitfall07OffsetsByTopicID(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "orders", 1)
	c := groupConn(t, b)
	req := commit(10, "g", "", 5)
	req.Topics[0].TopicID = [16]byte{1, 2, 3}
	wantCode(t, "commit by an unknown id", committed(ask[*kmsg.OffsetCommitResponse](c, req)), kerr.UnknownTopicID)
	req.Topics[0].TopicID = id
	wantCode(t, "commit by id", committed(ask[*kmsg.OffsetCommitResponse](c, req)), nil)
	wantCode(t, "commit by an unknown name", committed(ask[*kmsg.OffsetCommitResponse](c, commit(9, "g", "nothing", 5))), kerr.UnknownTopicOrPartition)
	beyond := commit(9, "g", "orders", 5)
	beyond.Topics[0].Partitions[0].Partition = 1
	wantCode(t, "commit to a partition that is not there", committed(ask[*kmsg.OffsetCommitResponse](c, beyond)), kerr.UnknownTopicOrPartition)

	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version = 10
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "g"
	for _, id := range [][16]byte{id, {1, 2, 3}} {
		ft := kmsg.NewOffsetFetchRequestGroupTopic()
		ft.TopicID, ft.Partitions = id, []int32{0}
		g.Topics = append(g.Topics, ft)
	}
	fetch.Groups = append(fetch.Groups, g)
	want := []string{
		fmt.Sprintf(" %x/0=5 epoch=3 \"note\"", id),
		fmt.Sprintf(" %x/0=-1 epoch=-1 \"\" %v", [16]byte{1, 2, 3}, kerr.UnknownTopicID),
	}
	if got := flatFetch(ask[*kmsg.OffsetFetchResponse](c, fetch)); !slices.Equal(got, want) {
		t.Errorf("fetched %q, want %q", got, want)
	}
}

// TestPitfall09MemberIDRequired: from v4 a new member is given an id and asked
// again; a static member is not; nobody waits the 3 s of Kafka's default.
func TestPitfall09MemberIDRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := groupConn(t, brokertest.Start(t))
		begun := time.Now()
		resp := ask[*kmsg.JoinGroupResponse](c, join(4, "g", ""))
		wantCode(t, "v4", resp.ErrorCode, kerr.MemberIDRequired)
		if !strings.HasPrefix(resp.MemberID, "raw-") || len(resp.MemberID) != len("raw-")+36 {
			t.Errorf("member id %q, want the client id, a dash and a UUID", resp.MemberID)
		}
		wantCode(t, "v4 with the id", ask[*kmsg.JoinGroupResponse](c, join(4, "g", resp.MemberID)).ErrorCode, nil)
		wantCode(t, "v3", ask[*kmsg.JoinGroupResponse](c, join(3, "h", "")).ErrorCode, nil)
		static := join(5, "i", "")
		static.InstanceID = kmsg.StringPtr("instance")
		resp = ask[*kmsg.JoinGroupResponse](c, static)
		wantCode(t, "static", resp.ErrorCode, nil)
		if !strings.HasPrefix(resp.MemberID, "instance-") {
			t.Errorf("member id %q, want it to begin with the instance's", resp.MemberID)
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("a new group waited %v for more members", d)
		}
	})
}

// TestPitfall20OffsetsTopicIsReadable: tools read committed offsets from the
// topic itself, in Kafka's format.
func TestPitfall20OffsetsTopicIsReadable(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 1)
	c := groupConn(t, b)
	mustCommit(t, c, "g", "orders", 5)
	client := b.Client(kgo.ConsumeTopics("__consumer_offsets"))
	records := client.PollFetches(within(t)).Records()
	if len(records) != 1 {
		t.Fatalf("%d records, want 1", len(records))
	}
	key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	if err := key.ReadFrom(records[0].Key); err != nil {
		t.Fatal(err)
	}
	if err := value.ReadFrom(records[0].Value); err != nil {
		t.Fatal(err)
	}
	if key.Group != "g" || key.Topic != "orders" || key.Partition != 0 || value.Offset != 5 || value.Metadata != "note" {
		t.Errorf("key %+v, value %+v", key, value)
	}
	if records[0].Partition != 'g'%50 { // the hash of one letter is the letter
		t.Errorf("group g is in partition %d, Kafka's tools look in %d", records[0].Partition, 'g'%50)
	}
}

// TestHostileGroups are H98 to H106 and H113 of the inputs measured on Apache
// Kafka.
func TestHostileGroups(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 1)
	c := groupConn(t, b)
	for _, h := range []struct {
		name   string
		change func(*kmsg.JoinGroupRequest)
		want   *kerr.Error
	}{
		{"H98 session timeout 0", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 0 }, kerr.InvalidSessionTimeout},
		{"H99 session timeout 2^31-1", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1<<31 - 1 }, kerr.InvalidSessionTimeout},
		{"H100 empty group id", func(r *kmsg.JoinGroupRequest) { r.Group = "" }, kerr.InvalidGroupID},
		{"H101 invented member id", func(r *kmsg.JoinGroupRequest) { r.MemberID = "invented" }, kerr.UnknownMemberID},
		{"H102 no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }, kerr.InconsistentGroupProtocol},
		{"H104 metadata of 8 MiB", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Metadata = make([]byte, 8<<20) }, nil},
		{"group id of 40,000 bytes", func(r *kmsg.JoinGroupRequest) { r.Version, r.Group = 9, strings.Repeat("g", 40_000) }, kerr.InvalidGroupID},
		{"negative timeouts", func(r *kmsg.JoinGroupRequest) { r.RebalanceTimeoutMillis = -1 << 31 }, nil},
	} {
		req := join(3, h.name, "")
		h.change(req)
		wantCode(t, h.name, ask[*kmsg.JoinGroupResponse](c, req).ErrorCode, h.want)
	}

	refused := 0
	for range 2000 {
		resp := ask[*kmsg.JoinGroupResponse](c, join(5, "abandoned", ""))
		if resp.ErrorCode == kerr.GroupMaxSizeReached.Code {
			refused++
		} else {
			wantCode(t, "H103 ids requested and abandoned", resp.ErrorCode, kerr.MemberIDRequired)
		}
	}
	if refused != 1000 {
		t.Errorf("H103: %d of 2,000 ids were refused, want those beyond the 1,000 that a group may have", refused)
	}

	long := commit(7, "g", "orders", 1)
	long.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("x", 32_000))
	wantCode(t, "H105 32,000 bytes of metadata", committed(ask[*kmsg.OffsetCommitResponse](c, long)), kerr.OffsetMetadataTooLarge)
	wantCode(t, "H106 offset -7", committed(ask[*kmsg.OffsetCommitResponse](c, commit(7, "g", "orders", -7))), nil)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID = 5, "nobody", "x"
	wantCode(t, "H113 sync of an unknown group", ask[*kmsg.SyncGroupResponse](c, sync).ErrorCode, kerr.UnknownMemberID)
}

// TestMemberStaysOverRestart: the group is as it was after a clean stop and after
// kill -9: the member goes on beating in its generation.
func TestMemberStaysOverRestart(t *testing.T) {
	for name, restart := range map[string]func(*brokertest.Broker){
		"restart": (*brokertest.Broker).Restart,
		"kill":    (*brokertest.Broker).Kill,
		"crash":   func(b *brokertest.Broker) { b.Crash(11) },
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t)
			joined := mustJoin(t, groupConn(t, b), "g")
			restart(b)
			beat := kmsg.NewPtrHeartbeatRequest()
			beat.Version, beat.Group, beat.Generation, beat.MemberID = 4, "g", joined.Generation, joined.MemberID
			wantCode(t, "heartbeat", ask[*kmsg.HeartbeatResponse](dial(t, b), beat).ErrorCode, nil)
		})
	}
}
