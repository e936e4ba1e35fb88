package broker_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// formatGroup is what a broker knows of a group's members after a start.
type formatGroup struct {
	Epoch           int32                   `json:"epoch"`
	AssignmentEpoch int32                   `json:"assignmentEpoch"`
	Members         map[string]formatMember `json:"members"`
}

// formatMember has a subscription, an assignment and a target as "topic-partition
// topic-partition"; for a group of the classic protocol the bytes in hexadecimal.
type formatMember struct {
	Instance   string `json:"instance,omitempty"`
	Regex      string `json:"regex,omitempty"`
	Subscribed string `json:"subscribed"`
	Epoch      int32  `json:"epoch"`
	Assigned   string `json:"assigned"`
	Target     string `json:"target,omitempty"`
	Classic    bool   `json:"classic,omitempty"`
}

func formatAssignment(a kmsg.Assignment) string {
	var all []string
	for _, t := range a.TopicPartitions {
		for _, p := range t.Partitions {
			all = append(all, fmt.Sprint(t.Topic, "-", p))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// readGroups describes the groups of writeGroups.
func readGroups(t *testing.T, cl *kgo.Client) map[string]formatGroup {
	t.Helper()
	out := map[string]formatGroup{}
	next := kmsg.NewPtrConsumerGroupDescribeRequest()
	next.Groups = []string{"next"}
	resp, err := next.RequestWith(within(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	if g := resp.Groups[0]; g.ErrorCode == 0 {
		one := formatGroup{Epoch: g.Epoch, AssignmentEpoch: g.AssignmentEpoch, Members: map[string]formatMember{}}
		for _, m := range g.Members {
			slices.Sort(m.SubscribedTopics)
			one.Members[m.MemberID] = formatMember{
				Instance: textOf(m.InstanceID), Regex: textOf(m.SubscribedTopicRegex), Subscribed: strings.Join(m.SubscribedTopics, " "),
				Epoch: m.MemberEpoch, Assigned: formatAssignment(m.Assignment), Target: formatAssignment(m.TargetAssignment), Classic: m.MemberType == 0,
			}
		}
		out[g.Group] = one
	}
	old := kmsg.NewPtrDescribeGroupsRequest()
	old.Groups = []string{"old"}
	described, err := old.RequestWith(within(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	if g := described.Groups[0]; g.ErrorCode == 0 && len(g.Members) > 0 {
		one := formatGroup{Members: map[string]formatMember{}}
		for _, m := range g.Members {
			one.Members[m.MemberID] = formatMember{Instance: textOf(m.InstanceID),
				Subscribed: hex.EncodeToString(m.ProtocolMetadata), Assigned: hex.EncodeToString(m.MemberAssignment)}
		}
		out[g.Group] = one
	}
	return out
}

// writeGroups makes a group of the classic protocol, and one of the next protocol
// with a static member, one with a regular expression, and one that speaks the
// classic protocol. Each kind of record of a group is written.
func writeGroups(t *testing.T, cl *kgo.Client) {
	t.Helper()
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Version, metadata.Topics = 1, []string{"orders"}
	assigned := kmsg.NewConsumerMemberAssignment()
	assigned.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "orders", Partitions: []int32{0, 1}}}
	member, generation := joinClassic(t, cl, "old", "instance-1", metadata.AppendTo(nil))
	syncClassic(t, cl, "old", "instance-1", member, generation, assigned.AppendTo(nil))

	instance, expression := "instance-2", "ev.*"
	first := formatBeat("a-static-member", 0)
	first.InstanceID, first.SubscribedTopicNames = &instance, []string{"orders"}
	second := formatBeat("a-member-with-an-expression", 0)
	second.SubscribedTopicRegex = &expression
	static, matching := mustBeat(t, cl, first), mustBeat(t, cl, second)
	member, generation = joinClassic(t, cl, "next", "", metadata.AppendTo(nil))
	syncClassic(t, cl, "next", "", member, generation, nil)
	for !formatSettled(readGroups(t, cl)["next"]) {
		for _, m := range []*kmsg.ConsumerGroupHeartbeatResponse{static, matching} {
			req := formatBeat(*m.MemberID, m.MemberEpoch)
			if m == static {
				req.InstanceID = &instance
			}
			if m.Assignment != nil { // it has what it was given, and no more
				for _, a := range m.Assignment.Topics {
					req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: a.TopicID, Partitions: a.Partitions})
				}
			}
			got := mustBeat(t, cl, req)
			m.MemberEpoch = got.MemberEpoch
			if got.Assignment != nil {
				m.Assignment = got.Assignment
			}
		}
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID, beat.Generation = "next", member, generation
		resp, err := beat.RequestWith(within(t), cl)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ErrorCode == kerr.RebalanceInProgress.Code {
			_, generation = joinClassicAs(t, cl, "next", "", member, metadata.AppendTo(nil))
			syncClassic(t, cl, "next", "", member, generation, nil)
		}
	}
}

// formatSettled: each member has its target, and all three have something.
func formatSettled(g formatGroup) bool {
	for _, m := range g.Members {
		if m.Assigned == "" || m.Assigned != m.Target || m.Epoch != g.Epoch {
			return false
		}
	}
	return len(g.Members) == 3
}

func formatBeat(member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = "next", member, epoch, 60_000
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

func mustBeat(t *testing.T, cl *kgo.Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	t.Helper()
	resp, err := req.RequestWith(within(t), cl)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("heartbeat of %s: %+v, %v", req.MemberID, resp, err)
	}
	return resp
}

func joinClassic(t *testing.T, cl *kgo.Client, group, instance string, metadata []byte) (member string, generation int32) {
	t.Helper()
	member, generation = joinClassicAs(t, cl, group, instance, "", metadata)
	if generation < 0 { // MEMBER_ID_REQUIRED
		member, generation = joinClassicAs(t, cl, group, instance, member, metadata)
	}
	return member, generation
}

func joinClassicAs(t *testing.T, cl *kgo.Client, group, instance, member string, metadata []byte) (string, int32) {
	t.Helper()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45_000, 60_000
	if instance != "" {
		req.InstanceID = &instance
	}
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata}}
	resp, err := req.RequestWith(within(t), cl)
	if err != nil || resp.ErrorCode != 0 && resp.ErrorCode != kerr.MemberIDRequired.Code {
		t.Fatalf("join of %s: %+v, %v", group, resp, err)
	}
	if resp.ErrorCode != 0 {
		return resp.MemberID, -1
	}
	return resp.MemberID, resp.Generation
}

// syncClassic gives the assignment, of its leader, to the member alone.
func syncClassic(t *testing.T, cl *kgo.Client, group, instance, member string, generation int32, assignment []byte) {
	t.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	if instance != "" {
		req.InstanceID = &instance
	}
	if assignment != nil {
		req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: assignment}}
	}
	resp, err := req.RequestWith(within(t), cl)
	if err != nil || resp.ErrorCode != 0 && resp.ErrorCode != kerr.RebalanceInProgress.Code {
		t.Fatalf("sync of %s: %+v, %v", group, resp, err)
	}
}
