package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func pointer[T any](v T) *T { return &v }

// TestConsumerView: all that ConsumerGroupDescribe tells arrives.
func TestConsumerView(t *testing.T) {
	had, shall := kadm.TopicsSet{}, kadm.TopicsSet{}
	had.Add("t", 0)
	shall.Add("t", 0, 1)
	got := consumerView(kadm.DescribedConsumerGroup{
		Group: "g", State: "Reconciling", Epoch: 7, AssignmentEpoch: 6, AssignorName: "uniform",
		Members: []kadm.ConsumerGroupMember{
			{MemberID: "m", InstanceID: pointer("i"), RackID: pointer("r"), MemberEpoch: 5, ClientID: "c", ClientHost: "/h", MemberType: 1,
				SubscribedTopics: []string{"z", "t"}, SubscribedTopicRegex: pointer("t.*"), Assignment: had, TargetAssignment: shall},
			{MemberID: "old", MemberType: 0},
		},
	})
	want := &groupView{
		name: "g", kind: "consumer", state: "Reconciling", assignor: "uniform", epochs: [2]any{int32(7), int32(6)},
		members: []memberView{
			{id: "m", instance: "i", client: "c", host: "/h", rack: "r", kind: "consumer", epoch: int32(5),
				topics: []string{"t", "z"}, regex: "t.*", assigned: had, target: shall},
			{id: "old", kind: "classic", epoch: int32(0)},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(groupView{}, memberView{})); diff != "" {
		t.Error(diff)
	}
	refused := consumerView(kadm.DescribedConsumerGroup{Group: "g", Err: kerr.CoordinatorLoadInProgress})
	if refused.epochs[0] != nil || refused.state != "" || refused.err == nil {
		t.Errorf("a group that is not told: %+v", refused)
	}
}

func TestActive(t *testing.T) {
	for _, c := range []struct {
		g    groupView
		want bool
	}{
		{groupView{state: "Empty"}, false},
		{groupView{state: "Dead"}, false},
		{groupView{state: "PreparingRebalance"}, true},
		{groupView{state: "Empty", members: make([]memberView, 1)}, true},
		{groupView{err: kerr.GroupIDNotFound}, false},
	} {
		if got := c.g.active(); got != c.want {
			t.Errorf("%+v: %v", c.g, got)
		}
	}
}

func TestWho(t *testing.T) {
	g := groupView{members: []memberView{
		{id: "m1", client: "c", host: "/10.0.0.1"}, {id: "m2", client: "c", instance: "i", host: "/10.0.0.2"}, {id: "m3", host: "h"}, {}, {}}}
	if got, want := g.who(), `"c" at 10.0.0.1, "i" at 10.0.0.2, "m3" at h, and 2 more`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestOffsetsKept: what a broker refuses to delete has its topic, reason and next step.
func TestOffsetsKept(t *testing.T) {
	if err := offsetsKept(kadm.DeleteOffsetsResponses{"t": {0: nil}}); err != nil {
		t.Error(err)
	}
	err := offsetsKept(kadm.DeleteOffsetsResponses{"t": {0: kerr.GroupSubscribedToTopic}, "u": {1: nil}})
	if !errors.Is(err, kerr.GroupSubscribedToTopic) || !strings.Contains(err.Error(), "offsets of t are still there: a member subscribes to it; stop") {
		t.Error(err)
	}
}
