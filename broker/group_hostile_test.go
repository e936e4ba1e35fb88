package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// oneShard has all groups share one goroutine and one log, so that what disturbs one of
// them could disturb all.
func oneShard(more ...string) brokertest.Option {
	settings := map[string]string{"offsets.topic.num.partitions": "1"}
	for i := 0; i < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	return brokertest.WithSettings(settings)
}

// bystanders are a member of a classic group and one of a consumer group, that want to be
// left in peace.
type bystanders struct {
	t       *testing.T
	c       *rawConn
	classic *kmsg.JoinGroupResponse
	next    *kmsg.ConsumerGroupHeartbeatResponse
}

func newBystanders(t *testing.T, c *rawConn) *bystanders {
	t.Helper()
	s := &bystanders{t: t, c: c, classic: mustJoin(t, c, "classic")}
	s.next = ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "consumer", "good", 0, "orders"))
	wantCode(t, "a good member joins", s.next.ErrorCode, nil)
	return s
}

// go on: both are still members as before, and can commit.
func (s *bystanders) goOn(after string) {
	s.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 4, "classic", s.classic.Generation, s.classic.MemberID
	wantCode(s.t, after+", a heartbeat of a classic group", ask[*kmsg.HeartbeatResponse](s.c, req).ErrorCode, nil)
	stay := ask[*kmsg.ConsumerGroupHeartbeatResponse](s.c, beat(1, "consumer", "good", s.next.MemberEpoch))
	wantCode(s.t, after+", a heartbeat of a consumer group", stay.ErrorCode, nil)
	if stay.MemberEpoch != s.next.MemberEpoch {
		s.t.Errorf("%s: the epoch of another group is %d, was %d", after, stay.MemberEpoch, s.next.MemberEpoch)
	}
	offset := commit(9, "consumer", "orders", 5)
	offset.MemberID, offset.Generation = "good", s.next.MemberEpoch
	wantCode(s.t, after+", a commit", committed(ask[*kmsg.OffsetCommitResponse](s.c, offset)), nil)
}

// consumerRows are heartbeats (KIP-848) that make no sense, or try to take much; nil is
// accepted. Who is refused leaves no group behind.
func consumerRows(topic [16]byte) []hostileRow {
	type request = kmsg.ConsumerGroupHeartbeatRequest
	row := func(name string, want *kerr.Error, change func(*request)) hostileRow {
		return hostileRow{name, want, want == nil, func(c *rawConn) int16 {
			req := beat(1, name, "m", 0, "orders")
			change(req)
			return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, req).ErrorCode
		}}
	}
	regex := func(s string) func(*request) {
		return func(r *request) { r.SubscribedTopicNames, r.SubscribedTopicRegex = nil, &s }
	}
	many := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("%016d", i)
		}
		return list
	}
	bad := kerr.InvalidRegularExpression
	return []hostileRow{
		row("a regex of 3,000 bytes", bad, regex(strings.Repeat("a", 3000))),
		row("a regex of 3,000 parentheses", bad, regex(strings.Repeat("(", 3000))),
		row("a regex with repeated repetitions", bad, regex("((a{50}){50}){50}")),
		row("a regex with a repetition too large", bad, regex("a{100000}")),
		row("a regex with a set that does not end", bad, regex("[a")),
		row("a regex of nothing repeated", bad, regex("*")),
		row("a regex that looks ahead", bad, regex("(?=a)")),
		row("a regex that looks back", bad, regex(`(a)\1`)),
		row("a regex that is no UTF-8", bad, regex("\xff")),
		row("a regex that would take long elsewhere", nil, regex("(a*)*b")),
		row("a regex of nothing", nil, regex("")),
		row("rebalance timeout -2", kerr.InvalidRequest, func(r *request) { r.RebalanceTimeoutMillis = -2 }),
		row("rebalance timeout -2^31", kerr.InvalidRequest, func(r *request) { r.RebalanceTimeoutMillis = -1 << 31 }),
		row("rebalance timeout 0", nil, func(r *request) { r.RebalanceTimeoutMillis = 0 }),
		row("rebalance timeout 2^31-1", nil, func(r *request) { r.RebalanceTimeoutMillis = 1<<31 - 1 }),
		row("epoch 2^31-1", kerr.GroupIDNotFound, func(r *request) { r.MemberEpoch = 1<<31 - 1 }),
		row("epoch -2^31", kerr.InvalidRequest, func(r *request) { r.MemberEpoch = -1 << 31 }),
		row("a member's id of 2,000 bytes", kerr.InvalidRequest, func(r *request) { r.MemberID = strings.Repeat("m", 2000) }),
		row("an instance of 2,000 bytes", kerr.InvalidRequest, func(r *request) { r.InstanceID = kmsg.StringPtr(strings.Repeat("i", 2000)) }),
		row("a rack of 2,000 bytes", kerr.InvalidRequest, func(r *request) { r.RackID = kmsg.StringPtr(strings.Repeat("r", 2000)) }),
		row("a group's id of 40,000 bytes", kerr.InvalidGroupID, func(r *request) { r.Group = strings.Repeat("g", 40_000) }),
		row("an assignor of 30,000 bytes", kerr.UnsupportedAssignor, func(r *request) { r.ServerAssignor = kmsg.StringPtr(strings.Repeat("a", 30_000)) }),
		row("names that no topic can have", nil, func(r *request) {
			r.SubscribedTopicNames = []string{"", ".", "..", "a b", strings.Repeat("t", 5000), "\x00"}
		}),
		row("one topic 10,000 times", nil, func(r *request) { r.SubscribedTopicNames = slices.Repeat([]string{"orders"}, 10_000) }),
		row("10,000 topics", nil, func(r *request) { r.SubscribedTopicNames = many(10_000) }),
		{"two members of 220,000 topics", kerr.GroupMaxSizeReached, true, func(c *rawConn) int16 {
			for _, id := range []string{"m1", "m2"} {
				resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "two members of 220,000 topics", id, 0, many(220_000)...))
				if resp.ErrorCode != 0 || id == "m2" {
					return resp.ErrorCode
				}
			}
			return 0
		}},
		{"an invented member of a group", kerr.UnknownMemberID, false, func(c *rawConn) int16 {
			return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "consumer", "invented", 1)).ErrorCode
		}},
		{"a member with another's epoch", kerr.FencedMemberEpoch, false, func(c *rawConn) int16 {
			return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "consumer", "good", 77)).ErrorCode
		}},
		{"who owns what nobody has", nil, false, func(c *rawConn) int16 {
			req := holding(beat(1, "consumer", "good", 1), [16]byte{9}, 0, -1, 1<<31-1)
			return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, holding(req, topic, -1<<31, 3, 3)).ErrorCode
		}},
		{"a leave of nobody", kerr.UnknownMemberID, false, func(c *rawConn) int16 {
			return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "consumer", "invented", -1)).ErrorCode
		}},
	}
}

// hostileRow is one request, and its code; nil is accepted.
type hostileRow struct {
	name  string
	want  *kerr.Error
	stays bool // a group of this name is left
	ask   func(c *rawConn) int16
}

// classicRows are the same of the classic protocol.
func classicRows() []hostileRow {
	row := func(name string, want *kerr.Error, group string, change func(*kmsg.JoinGroupRequest)) hostileRow {
		return hostileRow{name, want, false, func(c *rawConn) int16 {
			req := join(3, group, "")
			change(req)
			return ask[*kmsg.JoinGroupResponse](c, req).ErrorCode
		}}
	}
	return []hostileRow{
		row("session timeout -1", kerr.InvalidSessionTimeout, "x", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = -1 }),
		row("a protocol that the others do not speak", kerr.InconsistentGroupProtocol, "classic", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "mine" }),
		row("another protocol type", kerr.InconsistentGroupProtocol, "classic", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }),
		row("no protocol type", kerr.InconsistentGroupProtocol, "x", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }),
		row("an invented member of a group", kerr.UnknownMemberID, "classic", func(r *kmsg.JoinGroupRequest) { r.MemberID = "invented" }),
		row("a join without a word to a consumer group", kerr.InconsistentGroupProtocol, "consumer", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Metadata = nil }),
		{"a heartbeat of nobody", kerr.UnknownMemberID, false, func(c *rawConn) int16 {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Version, req.Group, req.MemberID = 4, "classic", "invented"
			return ask[*kmsg.HeartbeatResponse](c, req).ErrorCode
		}},
		{"a leave of 10,000 nobodies", kerr.UnknownMemberID, false, func(c *rawConn) int16 {
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Version, req.Group = 5, "classic"
			for i := range 10_000 {
				m := kmsg.NewLeaveGroupRequestMember()
				m.MemberID = fmt.Sprint("invented", i)
				req.Members = append(req.Members, m)
			}
			return ask[*kmsg.LeaveGroupResponse](c, req).Members[9_999].ErrorCode
		}},
		{"an assignment from nobody", kerr.UnknownMemberID, false, func(c *rawConn) int16 {
			req := kmsg.NewPtrSyncGroupRequest()
			req.Version, req.Group, req.MemberID, req.Generation = 3, "classic", "invented", 1
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberAssignment = make([]byte, 4<<20)
			req.GroupAssignment = append(req.GroupAssignment, a)
			return ask[*kmsg.SyncGroupResponse](c, req).ErrorCode
		}},
		{"a commit of a generation to come", kerr.IllegalGeneration, false, func(c *rawConn) int16 {
			req := commit(8, "nobody", "orders", 1)
			req.Generation, req.MemberID = 1<<31-1, "invented"
			return committed(ask[*kmsg.OffsetCommitResponse](c, req))
		}},
	}
}

// TestHostileMembersDisturbNobody: every one of these is answered with Kafka's code, the
// groups beside go on as if nothing had been, and who was refused has left nothing.
func TestHostileMembersDisturbNobody(t *testing.T) {
	b := brokertest.Start(t, oneShard())
	topic := createTopic(t, b, "orders", 3)
	c := groupConn(t, b)
	others := newBystanders(t, c)
	want := []string{"classic", "consumer"}
	for _, h := range slices.Concat(consumerRows(topic), classicRows()) {
		wantCode(t, h.name, h.ask(dial(t, b)), h.want)
		others.goOn("after " + h.name)
		if h.stays {
			want = append(want, h.name)
		}
	}
	list := kmsg.NewPtrListGroupsRequest()
	list.Version = 5
	var got []string
	for _, g := range ask[*kmsg.ListGroupsResponse](c, list).Groups {
		got = append(got, g.Group)
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("there are the groups %q, want %q", got, want)
	}
}

// TestHostileCrowd: of thousands that join, in one group or each in its own, as many get
// in as there may be; the others are refused, and nobody else notices. When those who got
// in are not heard of any more there is room again.
func TestHostileCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 20
		size, n := fmt.Sprint(most), 50*most
		b := brokertest.Start(t, oneShard("group.consumer.max.size", size, "group.max.size", size, "weir.max.groups", size))
		createTopic(t, b, "orders", 3)
		c := dialBubble(t, b)
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorKey = 3, "g"
		wantCode(t, "find", ask[*kmsg.FindCoordinatorResponse](c, find).ErrorCode, nil)
		others := newBystanders(t, c)
		crowds := []struct {
			name string
			in   int
			want *kerr.Error
			join func(i int) int16
		}{
			{"consumers of a group", most, nil, func(i int) int16 {
				return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, "crowd", fmt.Sprint("m", i), 0, "orders")).ErrorCode
			}},
			{"pending members of a group", most, kerr.MemberIDRequired, func(int) int16 {
				return ask[*kmsg.JoinGroupResponse](c, join(9, "pending", "")).ErrorCode
			}},
			{"groups of a pending member", most - 4, kerr.MemberIDRequired, func(i int) int16 {
				return ask[*kmsg.JoinGroupResponse](c, join(9, fmt.Sprint("pending", i), "")).ErrorCode
			}},
			{"groups of a consumer", 0, nil, func(i int) int16 {
				return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, beat(1, fmt.Sprint("crowd", i), "m", 0, "orders")).ErrorCode
			}},
		}
		for _, w := range crowds {
			for i := range n {
				want := w.want
				if i >= w.in {
					want = kerr.GroupMaxSizeReached
				}
				wantCode(t, fmt.Sprintf("%d of the %s", i, w.name), w.join(i), want)
			}
			others.goOn("after many " + w.name)
		}
		for range 20 {
			time.Sleep(3 * time.Second)
			others.goOn("while the crowd is waited for")
		}
		for i, w := range crowds[:3] {
			wantCode(t, "one of the "+w.name+" when the others are gone", w.join(n+i), w.want)
		}
	})
}
