package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/vfs"
)

// member is a consumer of a group whose process can be killed.
type member struct {
	*kgo.Client
	mu struct {
		sync.Mutex
		dead  bool
		conns []net.Conn
		owned map[int32]bool
	}
}

// newMember starts a consumer of topic orders in group g. It keeps count of the
// partitions that are its own.
func newMember(t *testing.T, b *brokertest.Broker, opts ...kgo.Opt) *member {
	t.Helper()
	m := &member{}
	m.mu.owned = map[int32]bool{}
	set := func(owned bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range moved["orders"] {
				m.mu.owned[p] = owned
			}
		}
	}
	m.Client = b.Client(append([]kgo.Opt{
		kgo.ConsumerGroup("g"), kgo.ConsumeTopics("orders"), kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(time.Second),
		// The client's timed commits wait for a mutex that is held across joins, and a bubble
		// that waits for a mutex does not move its clock.
		kgo.AutoCommitInterval(time.Hour),
		kgo.OnPartitionsAssigned(set(true)), kgo.OnPartitionsRevoked(set(false)), kgo.OnPartitionsLost(set(false)),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.mu.dead {
				return nil, errors.New("killed")
			}
			nc, err := b.DialContext(ctx, network, address)
			if err == nil {
				m.mu.conns = append(m.mu.conns, nc)
			}
			return nc, err
		}),
	}, opts...)...)
	return m
}

// kill ends all its connections, and it cannot say goodbye.
func (m *member) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.dead = true
	for _, nc := range m.mu.conns {
		nc.Close()
	}
}

func (m *member) owned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []int32
	for p, owned := range m.mu.owned {
		if owned {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

func wantOwned(t *testing.T, m *member, when string, want ...int32) {
	t.Helper()
	if got := m.owned(); !slices.Equal(got, want) {
		t.Errorf("%s: owns %v, want %v", when, got, want)
	}
}

// TestGroupSharesPartitions: two members share a topic; one leaves; one dies and
// is missed when its session has ended.
func TestGroupSharesPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 4)
		first := newMember(t, b)
		time.Sleep(5 * time.Second)
		wantOwned(t, first, "alone", 0, 1, 2, 3)

		second := newMember(t, b)
		time.Sleep(10 * time.Second)
		if got := slices.Sorted(slices.Values(append(first.owned(), second.owned()...))); !slices.Equal(got, []int32{0, 1, 2, 3}) {
			t.Errorf("two members own %v and %v", first.owned(), second.owned())
		}
		if len(first.owned()) != 2 {
			t.Errorf("two members own %v and %v, want two each", first.owned(), second.owned())
		}

		second.LeaveGroup()
		time.Sleep(5 * time.Second)
		wantOwned(t, first, "the other has left", 0, 1, 2, 3)

		third := newMember(t, b)
		time.Sleep(10 * time.Second)
		first.kill()
		time.Sleep(8 * time.Second)
		if n := len(third.owned()); n != 2 {
			t.Errorf("before the session of the other has ended: owns %d", n)
		}
		time.Sleep(8 * time.Second)
		wantOwned(t, third, "the other is dead", 0, 1, 2, 3)
	})
}

// TestGroupSurvivesCrash: when the broker comes back the member has its partitions,
// in a generation that does not fall, and what it committed is there.
func TestGroupSurvivesCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 4)
		m := newMember(t, b, kgo.DisableAutoCommit())
		time.Sleep(5 * time.Second)
		_, generation := m.GroupMetadata()
		for i := range 5 {
			at := int64(10 * (i + 1))
			var failed error
			m.CommitOffsetsSync(t.Context(), map[string]map[int32]kgo.EpochOffset{"orders": {2: {Epoch: -1, Offset: at}}},
				func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
					failed = err
					if err == nil && resp.Topics[0].Partitions[0].ErrorCode != 0 {
						failed = fmt.Errorf("code %d", resp.Topics[0].Partitions[0].ErrorCode)
					}
				})
			if failed != nil {
				t.Fatal(failed)
			}
			b.Crash(uint64(i))
			got, err := kadm.NewClient(b.Client()).FetchOffsets(t.Context(), "g")
			if err != nil {
				t.Fatal(err)
			}
			if o, _ := got.Lookup("orders", 2); o.At != at {
				t.Errorf("after crash %d: committed offset %d, want %d", i, o.At, at)
			}
			time.Sleep(5 * time.Second)
			wantOwned(t, m, "after a crash", 0, 1, 2, 3)
			// A heartbeat that meets the broker while it is away makes the client join
			// again; the group that it joins must be the one that it was in.
			_, now := m.GroupMetadata()
			if now < generation {
				t.Errorf("after crash %d: generation %d, was %d", i, now, generation)
			}
			generation = now
		}
	})
}

// TestStaticMemberRestarts: a static member that comes back within its session
// takes its partitions up again, and the other one is not disturbed.
func TestStaticMemberRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "orders", 2)
		one := newMember(t, b, kgo.InstanceID("one"))
		two := newMember(t, b, kgo.InstanceID("two"))
		time.Sleep(10 * time.Second)
		_, generation := one.GroupMetadata()
		had := two.owned()
		two.Close() // a static member does not leave
		again := newMember(t, b, kgo.InstanceID("two"))
		time.Sleep(5 * time.Second)
		if got := again.owned(); len(got) != 1 || !slices.Equal(got, had) {
			t.Errorf("after its restart it owns %v, had %v", got, had)
		}
		if _, now := one.GroupMetadata(); now != generation {
			t.Errorf("generation %d, was %d: the other member had to rebalance", now, generation)
		}
	})
}

// TestDeletedTopicDropsOffsets: the offsets go with the topic, for good, also
// when a topic of the same name comes.
func TestDeletedTopicDropsOffsets(t *testing.T) {
	b := brokertest.Start(t)
	c := groupConn(t, b)
	createTopic(t, b, "orders", 2)
	createTopic(t, b, "other", 1)
	mustCommit(t, c, "g", "orders", 5)
	mustCommit(t, c, "g", "other", 6)
	mustCommit(t, c, "another", "orders", 7)

	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TopicNames = 5, []string{"orders"}
	if code := ask[*kmsg.DeleteTopicsResponse](c, req).Topics[0].ErrorCode; code != 0 {
		t.Fatalf("delete: code %d", code)
	}
	wantOffset(t, c, "g", "orders", -1)
	b.Crash(3)
	c = groupConn(t, b)
	createTopic(t, b, "orders", 2)
	wantOffset(t, c, "g", "orders", -1)
	wantOffset(t, c, "g", "other", 6)
	wantOffset(t, c, "another", "orders", -1)
}

// TestFullDiskRefusesCommits: commits are refused with a retriable code, what
// was committed is still told, and with room again commits succeed.
func TestFullDiskRefusesCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		c := groupConn(t, b)
		createTopic(t, b, "orders", 1)
		mustCommit(t, c, "g", "orders", 5)
		b.Files().Add(vfs.Rule{Op: vfs.OpWrite, Err: syscall.ENOSPC, Match: func(name string) bool {
			return filepath.Ext(name) == ".log"
		}})
		if code := committed(ask[*kmsg.OffsetCommitResponse](c, commit(7, "g", "orders", 6))); code != 15 {
			t.Errorf("commit on a full disk: code %d, want COORDINATOR_NOT_AVAILABLE (15)", code)
		}
		time.Sleep(3 * time.Second)
		wantOffset(t, c, "g", "orders", 5)
		b.Files().Clear()
		time.Sleep(time.Minute)
		c = groupConn(t, b)
		mustCommit(t, c, "g", "orders", 7)
		wantOffset(t, c, "g", "orders", 7)
	})
}

// groupConn is a connection to a broker that coordinates groups.
func groupConn(t *testing.T, b *brokertest.Broker) *rawConn {
	t.Helper()
	c := dial(t, b)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 3, "g"
	if resp := ask[*kmsg.FindCoordinatorResponse](c, find); resp.ErrorCode != 0 {
		t.Fatalf("find the coordinator: code %d", resp.ErrorCode)
	}
	return c
}

func commit(version int16, group, topic string, at int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.RetentionTimeMillis = version, group, -1, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch, p.Metadata = at, 3, kmsg.StringPtr("note")
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	return req
}

func committed(resp *kmsg.OffsetCommitResponse) int16 { return resp.Topics[0].Partitions[0].ErrorCode }

func mustCommit(t *testing.T, c *rawConn, group, topic string, at int64) {
	t.Helper()
	if code := committed(ask[*kmsg.OffsetCommitResponse](c, commit(7, group, topic, at))); code != 0 {
		t.Fatalf("commit %d to %s: code %d", at, topic, code)
	}
}

// wantOffset asks for partition 0.
func wantOffset(t *testing.T, c *rawConn, group, topic string, want int64) {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, group
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, []int32{0}
	req.Topics = append(req.Topics, rt)
	resp := ask[*kmsg.OffsetFetchResponse](c, req)
	if resp.ErrorCode != 0 {
		t.Fatalf("fetch offsets of %s: code %d", group, resp.ErrorCode)
	}
	p := resp.Topics[0].Partitions[0]
	if p.Offset != want || p.ErrorCode != 0 || p.Metadata == nil {
		t.Errorf("group %s, topic %s: %+v, want offset %d", group, topic, p, want)
	}
}

// TestCommitsRaceDeletions: while topics come and go under many committers, an
// offset outlives its topic never, neither in memory nor in the log.
func TestCommitsRaceDeletions(t *testing.T) {
	b := brokertest.Start(t)
	groupConn(t, b)
	createTopic(t, b, "orders", 1)
	stop := make(chan struct{})
	var committers sync.WaitGroup
	for i := range 4 {
		c := dial(t, b)
		committers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				code := committed(ask[*kmsg.OffsetCommitResponse](c, commit(9, fmt.Sprintf("g%d", i+4*(n%20)), "orders", int64(n))))
				if code != 0 && code != kerr.UnknownTopicOrPartition.Code {
					t.Errorf("commit: %v", kerr.ErrorForCode(code))
					return
				}
			}
		})
	}
	admin := dial(t, b)
	for range 20 {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TopicNames = 5, []string{"orders"}
		if code := ask[*kmsg.DeleteTopicsResponse](admin, req).Topics[0].ErrorCode; code != 0 {
			t.Errorf("delete: %v", kerr.ErrorForCode(code))
		}
		createTopic(t, b, "orders", 1)
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TopicNames = 5, []string{"orders"}
	ask[*kmsg.DeleteTopicsResponse](admin, req)
	close(stop)
	committers.Wait()
	check := func(c *rawConn) {
		for i := range 80 {
			wantOffset(t, c, fmt.Sprintf("g%d", i), "orders", -1)
		}
	}
	check(admin)
	b.Crash(5)
	check(dial(t, b))
}
