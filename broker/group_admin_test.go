package broker_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/broker/brokertest"
)

// TestDeleteGroups: a group with members stays, an empty one goes with its offsets.
func TestDeleteGroups(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 2)
	c := groupConn(t, b)
	for v := int16(0); v <= 2; v++ {
		member := mustJoin(t, c, "busy")
		wantCode(t, "commit", committed(ask[*kmsg.OffsetCommitResponse](c, commit(7, "idle", "orders", 5))), nil)
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = v, []string{"busy", "idle", "nobody", "idle"}
		groups := ask[*kmsg.DeleteGroupsResponse](c, req).Groups
		if len(groups) != 3 {
			t.Fatalf("v%d: %+v", v, groups)
		}
		wantCode(t, "a group with a member", groups[0].ErrorCode, kerr.NonEmptyGroup)
		wantCode(t, "an empty group", groups[1].ErrorCode, nil)
		wantCode(t, "no group", groups[2].ErrorCode, kerr.GroupIDNotFound)
		if at := fetchedOffset(c, "idle", "orders"); at != -1 {
			t.Errorf("v%d: a deleted group has offset %d", v, at)
		}

		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Version, leave.Group, leave.MemberID = 2, "busy", member.MemberID
		wantCode(t, "leave", ask[*kmsg.LeaveGroupResponse](c, leave).ErrorCode, nil)
		req.Groups = []string{"busy"}
		wantCode(t, "after the member left", ask[*kmsg.DeleteGroupsResponse](c, req).Groups[0].ErrorCode, nil)
	}
}

func fetchedOffset(c *rawConn, group, topic string) int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, group
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, []int32{0}
	req.Topics = append(req.Topics, rt)
	return ask[*kmsg.OffsetFetchResponse](c, req).Topics[0].Partitions[0].Offset
}

func offsetDelete(group string, topic string, partitions ...int32) *kmsg.OffsetDeleteRequest {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	rt := kmsg.NewOffsetDeleteRequestTopic()
	rt.Topic = topic
	for _, p := range partitions {
		rp := kmsg.NewOffsetDeleteRequestTopicPartition()
		rp.Partition = p
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// TestOffsetDelete (KIP-496): by partition, never of a topic that a member reads.
func TestOffsetDelete(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "orders", 2)
	createTopic(t, b, "returns", 2)
	c := groupConn(t, b)
	for _, topic := range []string{"orders", "returns"} {
		wantCode(t, "commit", committed(ask[*kmsg.OffsetCommitResponse](c, commit(7, "g", topic, 5))), nil)
	}
	subscribed := join(3, "g", "")
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{"orders"}
	subscribed.Protocols[0].Metadata = meta.AppendTo(nil)
	wantCode(t, "join", ask[*kmsg.JoinGroupResponse](c, subscribed).ErrorCode, nil)

	wantCode(t, "of nobody", ask[*kmsg.OffsetDeleteResponse](c, offsetDelete("nobody", "orders", 0)).ErrorCode, kerr.GroupIDNotFound)
	wantCode(t, "of no name", ask[*kmsg.OffsetDeleteResponse](c, offsetDelete("", "orders", 0)).ErrorCode, kerr.InvalidGroupID)
	parts := ask[*kmsg.OffsetDeleteResponse](c, offsetDelete("g", "orders", 0)).Topics[0].Partitions
	wantCode(t, "of a topic that a member reads", parts[0].ErrorCode, kerr.GroupSubscribedToTopic)
	parts = ask[*kmsg.OffsetDeleteResponse](c, offsetDelete("g", "returns", 0, 2, -1)).Topics[0].Partitions
	wantCode(t, "of another topic", parts[0].ErrorCode, nil)
	wantCode(t, "of a partition that is not there", parts[1].ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "of partition -1", parts[2].ErrorCode, kerr.UnknownTopicOrPartition)
	if at := fetchedOffset(c, "g", "orders"); at != 5 {
		t.Errorf("orders stands at %d", at)
	}
	if at := fetchedOffset(c, "g", "returns"); at != -1 {
		t.Errorf("returns stands at %d", at)
	}
}

// TestGroupTimeline: what happened to a group is told to embedders and by the admin address.
func TestGroupTimeline(t *testing.T) {
	b := brokertest.Start(t)
	if _, err := b.Broker().GroupTimeline(t.Context(), "g"); !errors.Is(err, broker.ErrNoGroup) {
		t.Errorf("before any group: %v", err)
	}
	c := groupConn(t, b)
	mustJoin(t, c, "a/b")
	if _, err := b.Broker().GroupTimeline(t.Context(), "nobody"); !errors.Is(err, broker.ErrNoGroup) {
		t.Errorf("of nobody: %v", err)
	}
	events, err := b.Broker().GroupTimeline(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"joined", "rebalance began", "became stable"} {
		if !slices.ContainsFunc(events, func(e broker.GroupEvent) bool { return e.Kind == kind }) {
			t.Errorf("no event %q in %+v", kind, events)
		}
	}

	status, told := timelineOver(t, b, "/groups/a%2Fb/timeline")
	if status != http.StatusOK || told.Group != "a/b" || len(told.Events) != len(events) {
		t.Fatalf("%d %+v", status, told)
	}
	for i, e := range told.Events {
		if e.Kind != events[i].Kind || e.MemberID != events[i].MemberID || e.Generation != events[i].Generation {
			t.Errorf("event %d is told as %+v, is %+v", i, e, events[i])
		}
	}
	if status, told = timelineOver(t, b, "/groups/nobody/timeline"); status != http.StatusNotFound || told.Error == "" {
		t.Errorf("of nobody: %d %+v", status, told)
	}
}

type toldTimeline struct {
	Group, Error string
	Events       []struct {
		Kind       string
		MemberID   string
		Generation int32
	}
}

func timelineOver(t *testing.T, b *brokertest.Broker, path string) (int, toldTimeline) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
	w := httptest.NewRecorder()
	b.Broker().Handler().ServeHTTP(w, r)
	var told toldTimeline
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return w.Code, told
}
