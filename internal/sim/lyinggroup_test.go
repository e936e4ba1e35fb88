package sim

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// forgets answers commits and throws them away.
func forgets(s *shim, req kmsg.Request, _ exchange) (kmsg.Response, error) {
	c, ok := req.(*kmsg.OffsetCommitRequest)
	if !ok {
		return nil, nil
	}
	s.mu.Lock()
	s.told++
	s.mu.Unlock()
	resp := c.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, t := range c.Topics {
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetCommitResponseTopicPartition()
			one.Partition = p.Partition
			out.Partitions = append(out.Partitions, one)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// shares assigns to each member what was assigned to another one.
func shares(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.SyncGroupRequest); !ok {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &resp.(*kmsg.SyncGroupResponse).MemberAssignment
	if len(*a) < len(s.kept) {
		*a = s.kept
		s.told++
	}
	s.kept = *a
	return resp, nil
}

// gives assigns what one member of a consumer group has to the others, too.
func gives(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	r, ok := req.(*kmsg.ConsumerGroupHeartbeatRequest)
	if !ok {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
	switch a := answer.Assignment; {
	case answer.ErrorCode != 0 || r.MemberEpoch < 0:
	case s.assigned == nil && a != nil && len(a.Topics) > 0:
		s.assigned, s.topic = a, r.MemberID
	case s.assigned != nil && r.MemberID != s.topic && r.Topics != nil:
		answer.Assignment = s.assigned
		s.told++
	}
	return resp, nil
}

// overlooks acknowledges what the broker has refused because it came from who is
// not, or not any more, a member.
func overlooks(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.OffsetCommitRequest); !ok {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil {
		return nil, err
	}
	for i := range resp.(*kmsg.OffsetCommitResponse).Topics {
		for j := range resp.(*kmsg.OffsetCommitResponse).Topics[i].Partitions {
			if code := &resp.(*kmsg.OffsetCommitResponse).Topics[i].Partitions[j].ErrorCode; *code != 0 {
				*code = 0
				s.mu.Lock()
				s.told++
				s.mu.Unlock()
			}
		}
	}
	return resp, nil
}

// tells answers other committed offsets than there are.
func tells(other func(offset int64) int64) lie {
	return func(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
		if _, ok := req.(*kmsg.OffsetFetchRequest); !ok {
			return nil, nil
		}
		resp, err := broker(req)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, g := range resp.(*kmsg.OffsetFetchResponse).Groups {
			for _, t := range g.Topics {
				for i, p := range t.Partitions {
					t.Partitions[i].Offset = other(p.Offset)
					s.told++
				}
			}
		}
		return resp, nil
	}
}

// TestLyingCoordinator: what a broker lies about groups is found out, whatever protocol
// they speak.
func TestLyingCoordinator(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fifteen loads, slow with the race detector")
	}
	for _, p := range []Protocol{Eager, Cooperative, Consumer} {
		t.Run(string(p), func(t *testing.T) {
			share := shares
			if p == Consumer {
				share = gives
			}
			for _, c := range []liar{
				{name: "forgets commits", lie: forgets, want: []Kind{CommitLost}, also: []Kind{CommitRegressed, ZombieCommit, GroupStuck}},
				{name: "shares partitions", lie: share, await: DoubleOwner, want: []Kind{DoubleOwner}, also: []Kind{CommitRegressed, ZombieCommit}},
				{name: "overlooks who commits", lie: overlooks, await: ZombieCommit, want: []Kind{ZombieCommit}, also: []Kind{CommitRegressed, CommitLost}},
				{name: "takes commits back", lie: tells(func(n int64) int64 { return n / 2 }), want: []Kind{CommitRegressed}, also: []Kind{GroupStuck}},
				{name: "leads past records", lie: tells(func(n int64) int64 { return n + n/8 }), want: []Kind{GroupSkipped}, also: []Kind{CommitRegressed}},
			} {
				c.protocols = []Protocol{p}
				c.run(t)
			}
		})
	}
}
