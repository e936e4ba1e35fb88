package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusals holds a Core with a stable group "stable" of the member "d-1" and the
// static one "s-2" of instance "s", in generation 2, and an empty group of offsets
// "offsets".
type refusals struct {
	t    *testing.T
	core *Core
	now  time.Time
	tok  Token
}

func newRefusals(t *testing.T) *refusals {
	r := &refusals{t: t, core: New(Config{NewMemberID: numbered(), MaxSize: 2}), now: time.UnixMilli(1_000_000)}
	r.join(3, "stable", "", nil)
	r.join(9, "stable", "", kmsg.StringPtr("s"))
	r.join(3, "stable", "c-1", nil)
	for _, id := range []string{"c-1", "s-2"} {
		r.sync(3, "stable", id, nil, 2)
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 2, "offsets", -1
	r.commit(req)
	return r
}

// seen is an answer as a client of its version reads it.
func seen[R kmsg.Response](t *testing.T, resp R, version int16) R {
	t.Helper()
	again := resp.RequestKind().ResponseKind().(R)
	again.SetVersion(version)
	if resp.GetVersion() != version {
		t.Errorf("%T of v%d says it is v%d", resp, version, resp.GetVersion())
	}
	if err := again.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatalf("%T v%d: %v", resp, version, err)
	}
	return again
}

func (r *refusals) join(version int16, group, id string, instance *string) int16 {
	r.t.Helper()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = version, group, id, instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = 10_000, 60_000, "consumer"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	req.Protocols = append(req.Protocols, p)
	return r.joinWith(req)
}

func (r *refusals) joinWith(req *kmsg.JoinGroupRequest) int16 {
	r.t.Helper()
	r.tok++
	r.core.Join(r.now, r.tok, Client{"c", "/h"}, req)
	answer := r.answer()
	if answer == nil {
		return none
	}
	resp := seen(r.t, answer.(*kmsg.JoinGroupResponse), req.Version)
	if resp.ErrorCode != none && (resp.Generation != -1 || resp.LeaderID != "" || len(resp.Members) != 0) {
		r.t.Errorf("v%d: a refusal that tells of a generation: %+v", req.Version, resp)
	}
	if nameless := resp.Protocol == nil; resp.ErrorCode != none && nameless != (req.Version >= 7) {
		r.t.Errorf("v%d: protocol name null: %v (KIP-559: from v7)", req.Version, nameless)
	}
	return resp.ErrorCode
}

// answer is that of the last request; nil if it waits.
func (r *refusals) answer() kmsg.Response {
	for _, reply := range r.core.Take().Replies {
		if reply.Token == r.tok {
			return reply.Response
		}
	}
	return nil
}

func (r *refusals) sync(version int16, group, id string, instance *string, generation int32) int16 {
	r.t.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = version, group, id, instance, generation
	r.tok++
	r.core.Sync(r.now, r.tok, req)
	answer := r.answer()
	if answer == nil {
		return none
	}
	return seen(r.t, answer.(*kmsg.SyncGroupResponse), version).ErrorCode
}

func (r *refusals) heartbeat(version int16, group, id string, instance *string, generation int32) int16 {
	r.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = version, group, id, instance, generation
	return seen(r.t, r.core.Heartbeat(r.now, req), version).ErrorCode
}

func (r *refusals) commit(req *kmsg.OffsetCommitRequest) int16 {
	r.t.Helper()
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID, t.Partitions = "t", topicID("t"), append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := r.core.Commit(r.now, req, func(*kmsg.OffsetCommitRequestTopic, int32) int16 { return 0 })
	r.core.Take()
	return seen(r.t, resp, req.Version).Topics[0].Partitions[0].ErrorCode
}

// leave returns the codes of the whole and of the member, which is none before v3.
func (r *refusals) leave(version int16, group, id string, instance *string) (int16, int16) {
	r.t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group, req.MemberID = version, group, id
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = id, instance
	req.Members = append(req.Members, m)
	resp := seen(r.t, r.core.Leave(r.now, req), version)
	r.core.Take()
	if len(resp.Members) == 0 {
		return resp.ErrorCode, none
	}
	return resp.ErrorCode, resp.Members[0].ErrorCode
}

func (r *refusals) want(what string, version, got, want int16) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s v%d: code %d, want %d", what, version, got, want)
	}
}

// TestJoinErrorsEveryVersion: which error a join gets, by version.
func TestJoinErrorsEveryVersion(t *testing.T) {
	r := newRefusals(t)
	for v := int16(0); v <= 9; v++ {
		r.want("no group", v, r.join(v, "", "", nil), invalidGroupID)
		r.want("unknown group", v, r.join(v, "nobody", "invented", nil), unknownMemberID)
		r.want("invented member", v, r.join(v, "stable", "invented", nil), groupMaxSizeReached)
		r.want("no room", v, r.join(v, "stable", "", nil), groupMaxSizeReached)
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.SessionTimeoutMillis, req.ProtocolType = v, "stable", 1, "consumer"
		r.want("session", v, r.joinWith(req), invalidSessionTimeout)
		req.SessionTimeoutMillis, req.MemberID = 10_000, "c-1"
		r.want("protocols", v, r.joinWith(req), inconsistentGroupProtocol)
		if v >= 4 {
			r.want("first join", v, r.join(v, fmt.Sprintf("new%d", v), "", nil), memberIDRequired)
		}
		if v >= 5 {
			r.want("fenced", v, r.join(v, "stable", "c-1", kmsg.StringPtr("s")), fencedInstanceID)
		}
	}
}

// TestMemberErrorsEveryVersion: the same of what members ask for.
func TestMemberErrorsEveryVersion(t *testing.T) {
	r := newRefusals(t)
	s := kmsg.StringPtr("s")
	for v := int16(0); v <= 5; v++ {
		r.want("sync, no group", v, r.sync(v, "", "c-1", nil, 2), invalidGroupID)
		r.want("sync, unknown group", v, r.sync(v, "nobody", "c-1", nil, 2), unknownMemberID)
		r.want("sync, group without members", v, r.sync(v, "offsets", "", nil, 0), unknownMemberID)
		r.want("sync, invented member", v, r.sync(v, "stable", "invented", nil, 2), unknownMemberID)
		r.want("sync, last generation", v, r.sync(v, "stable", "c-1", nil, 1), illegalGeneration)
		if v >= 3 {
			r.want("sync, fenced", v, r.sync(v, "stable", "c-1", s, 2), fencedInstanceID)
			r.want("sync, no such instance", v, r.sync(v, "stable", "c-1", kmsg.StringPtr("x"), 2), unknownMemberID)
		}
	}
	for v := int16(0); v <= 4; v++ {
		r.want("heartbeat, no group", v, r.heartbeat(v, "", "c-1", nil, 2), invalidGroupID)
		r.want("heartbeat, unknown group", v, r.heartbeat(v, "nobody", "c-1", nil, 2), unknownMemberID)
		r.want("heartbeat, invented member", v, r.heartbeat(v, "stable", "invented", nil, 2), unknownMemberID)
		r.want("heartbeat, no member", v, r.heartbeat(v, "stable", "", nil, 2), unknownMemberID)
		r.want("heartbeat, next generation", v, r.heartbeat(v, "stable", "c-1", nil, 3), illegalGeneration)
		r.want("heartbeat", v, r.heartbeat(v, "stable", "c-1", nil, 2), none)
		if v >= 3 {
			r.want("heartbeat, fenced", v, r.heartbeat(v, "stable", "c-1", s, 2), fencedInstanceID)
		}
	}
}

// TestLeaveErrorsEveryVersion: before v3 there is one member, whose error is that of
// the whole.
func TestLeaveErrorsEveryVersion(t *testing.T) {
	r := newRefusals(t)
	for v := int16(0); v <= 5; v++ {
		of := func(whole, member int16) int16 {
			if v < 3 {
				return whole
			}
			r.want("leave, the whole", v, whole, none)
			return member
		}
		whole, _ := r.leave(v, "", "c-1", nil)
		r.want("leave, no group", v, whole, invalidGroupID)
		r.want("leave, unknown group", v, of(r.leave(v, "nobody", "c-1", nil)), unknownMemberID)
		r.want("leave, invented member", v, of(r.leave(v, "stable", "invented", nil)), unknownMemberID)
		r.want("leave, no member", v, of(r.leave(v, "stable", "", nil)), unknownMemberID)
		if v >= 3 {
			r.want("leave, fenced", v, of(r.leave(v, "stable", "c-1", kmsg.StringPtr("s"))), fencedInstanceID)
		}
	}
	r.want("heartbeat after all that", 4, r.heartbeat(4, "stable", "c-1", nil, 2), none)
}

// TestCommitErrorsEveryVersion: from v9 a group that does not exist has an error of
// its own.
func TestCommitErrorsEveryVersion(t *testing.T) {
	r := newRefusals(t)
	for v := int16(2); v <= 10; v++ {
		ask := func(group, id string, instance *string, generation int32) int16 {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = v, group, id, instance, generation
			return r.commit(req)
		}
		gone := illegalGeneration
		if v >= 9 {
			gone = groupIDNotFound
		}
		r.want("commit, unknown group", v, ask("nobody", "c-1", nil, 1), gone)
		r.want("commit, no group", v, ask("", "", nil, -1), none) // as Kafka: a group without a name may hold offsets
		r.want("commit, member", v, ask("stable", "c-1", nil, 2), none)
		r.want("commit, last generation", v, ask("stable", "c-1", nil, 1), illegalGeneration)
		r.want("commit, invented member", v, ask("stable", "invented", nil, 2), unknownMemberID)
		r.want("commit, nobody", v, ask("stable", "", nil, -1), unknownMemberID)
		r.want("commit, simple", v, ask("offsets", "", nil, -1), none)
		r.want("commit, simple with a generation", v, ask("offsets", "", nil, 0), unknownMemberID)
		if v >= 7 {
			r.want("commit, fenced", v, ask("stable", "c-1", kmsg.StringPtr("s"), 2), fencedInstanceID)
		}
	}
}

// TestManyHostileMembers: a hundred thousand joins of clients that never come back
// take bounded memory, and a group beside them goes on.
func TestManyHostileMembers(t *testing.T) {
	sum := int64(0)
	cfg := Config{NewMemberID: numbered(), MaxMemory: 4 << 20, Memory: func(n int64) int64 { sum += n; return sum }}
	r := &refusals{t: t, core: New(cfg), now: time.UnixMilli(1_000_000)}
	r.join(3, "good", "", nil)
	r.sync(3, "good", "c-1", nil, 1)
	for i := range 100_000 {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group = int16(i%10), fmt.Sprintf("bad%d", i%50)
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = 1_800_000, 1<<31-1, "consumer"
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = "range", make([]byte, i%5000)
		req.Protocols = append(req.Protocols, p)
		r.core.Join(r.now, Token(i), Client{"c", "/h"}, req)
		r.core.Take()
		if i%1000 == 0 {
			r.now = r.now.Add(time.Second)
			r.want("heartbeat of the good one", 4, r.heartbeat(4, "good", "c-1", nil, 1), none)
			r.core.Tick(r.now)
			r.core.Take()
		}
	}
	if sum > cfg.MaxMemory || sum < cfg.MaxMemory/2 {
		t.Errorf("%d bytes are counted, the bound is %d", sum, cfg.MaxMemory)
	}
	for range 5 {
		r.now = r.now.Add(31 * time.Minute)
		for at, ok := r.core.Deadline(); ok && !at.After(r.now); at, ok = r.core.Deadline() {
			r.core.Tick(r.now)
			r.core.Take()
		}
	}
	if sum != 0 || r.core.Len() != 0 {
		t.Errorf("%d bytes and %d groups are left", sum, r.core.Len())
	}
	checkHistory(t, r.core)
}
