package group

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestConsumerHostile lets clients that follow no rule at all loose on a group: wild
// epochs, invented ids, partitions of nowhere, metadata that are rubbish. Nothing
// panics, what is counted is true, a replay gives the same state, and the group can be
// worked with in the end.
func TestConsumerHostile(t *testing.T) {
	for s := int64(1); s <= 300; s++ {
		if *seed != 0 && s != *seed {
			continue
		}
		w := newStorm(t, s)
		w.cfg.MaxGroupBytes = 60_000
		w.cfg.Consumer.MaxSize = 6
		w.core = w.replay(nil)
		for range 100 {
			w.rage()
			w.drain()
			w.check()
		}
		w.replays()
		w.pass(time.Hour)
		if w.core.Held() != 0 || len(w.core.groups) != 0 {
			t.Errorf("after an hour %d bytes and %d groups are left", w.core.Held(), len(w.core.groups))
		}
		if t.Failed() {
			t.Fatalf("replay with: go test ./internal/group -run TestConsumerHostile -seed %d", s)
		}
	}
}

func (w *storm) any(list ...string) string { return list[w.r.Intn(len(list))] }

func (w *storm) maybe(list ...string) *string {
	if w.r.Intn(2) == 0 {
		return nil
	}
	return kmsg.StringPtr(w.any(list...))
}

func (w *storm) rage() {
	id := w.any("a", "b", "c", "", "m-1", "m-2", "m-3", strings.Repeat("x", 2000))
	instance := w.maybe("i", "j", "", strings.Repeat("x", 2000))
	switch w.r.Intn(8) {
	case 0:
		w.rageJoin(id, instance)
	case 1:
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = "g", id, instance, int32(w.r.Intn(6))
		w.tokens++
		w.core.Sync(w.now, w.tokens, req)
	case 2:
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = "g", id, instance, int32(w.r.Intn(6))
		w.core.Heartbeat(w.now, req)
	case 3:
		w.pass(time.Duration(w.r.Intn(3000)) * time.Millisecond)
		w.topics()
	case 4:
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = 5, "g"
		req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: id, InstanceID: instance}, {MemberID: "a"}, {MemberID: "a"}}
		w.core.Leave(w.now, req)
	default:
		w.rageBeat(id, instance)
	}
}

func (w *storm) rageBeat(id string, instance *string) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = int16(w.r.Intn(2)), "g", id, instance, int32(w.r.Intn(10)-3)
	req.RackID, req.ServerAssignor = w.maybe("r", ""), w.maybe("range", "uniform", "mine")
	req.RebalanceTimeoutMillis = []int32{-2, -1, 0, 1, 5000, 1<<31 - 1}[w.r.Intn(6)]
	if w.r.Intn(2) == 0 {
		req.SubscribedTopicNames = []string{w.any("t", "", "..", "t"), w.any("u", "t", strings.Repeat("y", 5000))}
	}
	req.SubscribedTopicRegex = w.maybe("", ".*", "[tu]", "(", "a{1000}", strings.Repeat("(", 1500))
	if w.r.Intn(3) > 0 {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for range w.r.Intn(3) {
			t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			t.TopicID, t.Partitions = w.cluster.id(w.any("t", "u", "nowhere")), []int32{int32(w.r.Intn(5) - 1), 0, 1<<31 - 1}
			req.Topics = append(req.Topics, t)
		}
	}
	resp := w.core.ConsumerHeartbeat(w.now, Client{w.any("c", "d"), "/h"}, req, nil)
	if resp.ErrorCode != none && (resp.ErrorMessage == nil || resp.Assignment != nil) {
		w.t.Errorf("refused without a word: %+v", resp)
	}
}

func (w *storm) rageJoin(id string, instance *string) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = int16(w.r.Intn(10)), "g", id, instance, w.any("consumer", "consumer", "connect", "")
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, int32(w.r.Intn(8000)-1)
	meta := w.metadata(&sailor{classic: true, wishes: w.r.Intn(4), has: map[string]bool{"t/0": true, "u/7": true, "nowhere/1": true}})
	switch w.r.Intn(4) {
	case 0:
		meta = meta[:w.r.Intn(len(meta))]
	case 1:
		meta[w.r.Intn(len(meta))] ^= byte(w.r.Int())
	}
	for _, name := range []string{"p", "q"}[:w.r.Intn(3)] {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: slices.Clone(meta)})
	}
	w.tokens++
	w.core.Join(w.now, w.tokens, Client{"c", "/h"}, req)
}
