package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// TestPartitionOf has values of Java's String.hashCode. The first is the
// one whose absolute value Java cannot represent.
func TestPartitionOf(t *testing.T) {
	for _, c := range []struct {
		group      string
		partitions int32
		want       int32
	}{
		{"polygenelubricants", 50, 0},
		{"", 50, 0},
		{"hello", 50, 99162322 % 50},
		{"Aa", 1000, 2112 % 1000},
		{"BB", 1000, 2112 % 1000},
		{"😀", 50, 1772899 % 50},
		{"console-consumer-1", 1, 0},
	} {
		if got := partitionOf(c.group, c.partitions); got != c.want {
			t.Errorf("partitionOf(%q, %d) = %d, want %d", c.group, c.partitions, got, c.want)
		}
	}
}

// fakeLog is a shard's log in memory, which can be told to fail.
type fakeLog struct {
	mu struct {
		sync.Mutex
		records []group.Record
		appends int
		fail    error
	}
}

func (l *fakeLog) append(_ context.Context, records []group.Record, _ time.Time) (storage.LSN, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.fail != nil {
		return 0, l.mu.fail
	}
	l.mu.records = append(l.mu.records, records...)
	l.mu.appends++
	return storage.LSN(len(l.mu.records)), nil
}

func (l *fakeLog) part(records []group.Record, _ time.Time) storage.Append {
	return storage.Append{Batches: records[0].Key}
}

func (l *fakeLog) replay(_ context.Context, to replay) (storage.LSN, error) {
	l.mu.Lock()
	records := l.mu.records
	l.mu.Unlock()
	for _, r := range records {
		if err := to.record(r); err != nil {
			return 0, err
		}
	}
	return storage.LSN(len(records)), nil
}

func (l *fakeLog) newestEpoch(int64) int16 { return -1 }

func (l *fakeLog) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.fail = err
}

func (l *fakeLog) appends() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.appends
}

// fakeTopics is a metadata store that has a topic t and makes no new ones but
// __consumer_offsets.
type fakeTopics struct {
	img    *meta.Image
	newest atomic.Int64 // LSN of the metadata log
}

func (f *fakeTopics) image() *meta.Image { return f.img }

func (f *fakeTopics) lsn() storage.LSN { return storage.LSN(f.newest.Load()) }

func (f *fakeTopics) ensureInternalTopic(_ context.Context, name string, partitions int32) (*meta.Topic, storage.LSN, error) {
	return &meta.Topic{Name: name, ID: [16]byte{9}, Partitions: partitions, Internal: true}, 0, nil
}

func testCoordinator(t *testing.T, log shardLog, settings map[string]string) *coordinator {
	t.Helper()
	c := unstartedCoordinator(t, log, settings)
	t.Cleanup(c.close)
	if _, err := c.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func unstartedCoordinator(t *testing.T, log shardLog, settings map[string]string) *coordinator {
	t.Helper()
	img, err := meta.NewImage().Apply(meta.TopicRecord{Name: "t", ID: [16]byte{7}, Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	if settings == nil {
		settings = map[string]string{}
	}
	settings["offsets.topic.num.partitions"] = "1"
	s, err := meta.ParseSettings(settings)
	if err != nil {
		t.Fatal(err)
	}
	return newCoordinator(coordinatorConfig{
		topics: &fakeTopics{img: img}, settings: &s, now: time.Now, random: rand.Reader,
		open:      func(*meta.Topic, int32) shardLog { return log },
		advertise: func(*call) (int32, string, int32) { return 1, "here", 9092 },
		logger:    slog.New(slog.DiscardHandler),
	})
}

// newTestCall makes a call whose answer stands in its slot.
func newTestCall(req kmsg.Request) *call {
	s := &slot{ready: make(chan struct{}, 2)}
	s.call = call{
		ctx: context.Background(), key: req.Key(), version: req.GetVersion(), clientID: "c", host: "/h",
		conn: &conn{}, slot: s,
	}
	return &s.call
}

// answerOf waits for the answer of a call and decodes it.
func answerOf[R kmsg.Response](t *testing.T, c *call, resp R) R {
	t.Helper()
	<-c.slot.ready
	resp.SetVersion(c.version)
	if err := resp.ReadFrom(c.slot.buf[8:]); err != nil {
		t.Fatalf("answer: %v", err)
	}
	return resp
}

func commitRequest(groupID, topic string, at int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 7, groupID, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = at
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	return req
}

func commitNow(t *testing.T, c *coordinator, groupID string, at int64) int16 {
	t.Helper()
	req := commitRequest(groupID, "t", at)
	call := newTestCall(req)
	c.offsetCommit(call, req)
	return answerOf(t, call, kmsg.NewPtrOffsetCommitResponse()).Topics[0].Partitions[0].ErrorCode
}

func fetchNow(t *testing.T, c *coordinator, groupID string) (int64, int16) {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, groupID
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = "t", []int32{0}
	req.Topics = append(req.Topics, rt)
	call := newTestCall(req)
	c.offsetFetch(call, req)
	resp := answerOf(t, call, kmsg.NewPtrOffsetFetchResponse())
	if resp.ErrorCode != 0 {
		return -1, resp.ErrorCode
	}
	return resp.Topics[0].Partitions[0].Offset, 0
}

func joinRequest(groupID string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType = 3, groupID, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	req.Protocols = append(req.Protocols, p)
	return req
}

func joinNow(t *testing.T, c *coordinator, groupID string) *kmsg.JoinGroupResponse {
	t.Helper()
	req := joinRequest(groupID)
	call := newTestCall(req)
	c.joinGroup(call, req)
	return answerOf(t, call, kmsg.NewPtrJoinGroupResponse())
}

func describeNow(t *testing.T, c *coordinator, groupID string) kmsg.DescribeGroupsResponseGroup {
	t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 5, []string{groupID}
	call := newTestCall(req)
	c.describeGroups(call, req)
	return answerOf(t, call, kmsg.NewPtrDescribeGroupsResponse()).Groups[0]
}

// TestWaitingRequestsShareOneAppend: what waits for a shard is one frame, and
// each answer carries the LSN of the newest state.
func TestWaitingRequestsShareOneAppend(t *testing.T) {
	log := &fakeLog{}
	c := testCoordinator(t, log, nil)
	s := (*c.shards.Load())[0]
	running, gate := make(chan struct{}), make(chan struct{})
	s.send(t.Context(), task{step: func(*shard, time.Time) func(storage.LSN) {
		close(running)
		<-gate
		return nil
	}})
	<-running
	var calls []*call
	for range 10 {
		req := commitRequest("g", "t", 5)
		calls = append(calls, newTestCall(req))
		c.offsetCommit(calls[len(calls)-1], req)
	}
	close(gate)
	for _, call := range calls {
		resp := answerOf(t, call, kmsg.NewPtrOffsetCommitResponse())
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 || call.slot.lsn != 10 || call.slot.level != storage.Durable {
			t.Errorf("code %d, LSN %d, level %d", code, call.slot.lsn, call.slot.level)
		}
	}
	if n := log.appends(); n != 1 {
		t.Errorf("%d appends for 10 commits that waited together", n)
	}
}

// TestAnswersCarryNewestLSN: whatever is told of a group, errors too, waits for
// the newest record of its shard (rule 3 of the journal).
func TestAnswersCarryNewestLSN(t *testing.T) {
	c := testCoordinator(t, &fakeLog{}, nil)
	for n := 1; n <= 3; n++ {
		commitNow(t, c, "g", int64(n))
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Version, fetch.Group = 7, "g"
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID = "g", "nobody"
		describe := kmsg.NewPtrDescribeGroupsRequest()
		describe.Groups = []string{"g", "another"}
		list := kmsg.NewPtrListGroupsRequest()
		calls := []*call{newTestCall(fetch), newTestCall(beat), newTestCall(describe), newTestCall(list)}
		c.offsetFetch(calls[0], fetch)
		c.heartbeat(calls[1], beat)
		c.describeGroups(calls[2], describe)
		c.listGroups(calls[3], list)
		for _, call := range calls {
			<-call.slot.ready
			if call.slot.lsn != storage.LSN(n) || call.slot.level != storage.Durable {
				t.Errorf("%s waits for LSN %d, level %d; want %d, durable", kmsg.NameForKey(call.key), call.slot.lsn, call.slot.level, n)
			}
		}
	}
}

// TestFailedAppendRebuildsShard: nobody hears of what the log does not hold, a
// member that waits is told to try again, and when there is room the group goes on.
func TestFailedAppendRebuildsShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		c := testCoordinator(t, log, map[string]string{"group.initial.rebalance.delay.ms": "3000"})
		if code := commitNow(t, c, "g", 5); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		req := joinRequest("other")
		waiting := newTestCall(req)
		c.joinGroup(waiting, req)
		synctest.Wait()

		log.setFail(storage.ErrNoSpace)
		if code := commitNow(t, c, "g", 6); code != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("commit on a full disk: %v", kerr.ErrorForCode(code))
		}
		if resp := answerOf(t, waiting, kmsg.NewPtrJoinGroupResponse()); resp.ErrorCode != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("the member that waited: %v", kerr.ErrorForCode(resp.ErrorCode))
		}
		time.Sleep(2 * reloadDelay)
		if at, code := fetchNow(t, c, "g"); at != 5 || code != 0 {
			t.Errorf("after the failed commit: offset %d, %v; want the one before", at, kerr.ErrorForCode(code))
		}
		log.setFail(nil)
		if code := commitNow(t, c, "g", 7); code != 0 {
			t.Errorf("commit with room again: %v", kerr.ErrorForCode(code))
		}
		if at, _ := fetchNow(t, c, "g"); at != 7 {
			t.Errorf("offset %d, want 7", at)
		}
	})
}

// TestShardSurvivesPanic: a bug in one step costs that step, not the process.
func TestShardSurvivesPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testCoordinator(t, &fakeLog{}, nil)
		commitNow(t, c, "g", 5)
		failed := make(chan int16, 1)
		(*c.shards.Load())[0].send(t.Context(), task{
			step: func(s *shard, now time.Time) func(storage.LSN) { panic("bug") },
			fail: func(code int16) { failed <- code },
		})
		if code := <-failed; code != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("the step that panicked: %v", kerr.ErrorForCode(code))
		}
		time.Sleep(2 * reloadDelay)
		if at, code := fetchNow(t, c, "g"); at != 5 || code != 0 {
			t.Errorf("offset %d, %v", at, kerr.ErrorForCode(code))
		}
	})
}

// TestSessionTimeoutInVirtualTime: the shard's timer is the core's deadline.
func TestSessionTimeoutInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testCoordinator(t, &fakeLog{}, nil)
		joinNow(t, c, "g")
		time.Sleep(10*time.Second - time.Millisecond)
		if g := describeNow(t, c, "g"); g.State != "CompletingRebalance" {
			t.Errorf("just before the timeout: %s", g.State)
		}
		time.Sleep(2 * time.Millisecond)
		if g := describeNow(t, c, "g"); g.State != "Empty" {
			t.Errorf("just after the timeout: %s", g.State)
		}
	})
}

// TestCloseAnswersWhoWaits: a parked request is answered when the broker stops,
// and so is one that comes afterwards.
func TestCloseAnswersWhoWaits(t *testing.T) {
	c := testCoordinator(t, &fakeLog{}, map[string]string{"group.initial.rebalance.delay.ms": "60000"})
	req := joinRequest("g")
	waiting := newTestCall(req)
	c.joinGroup(waiting, req)
	describeNow(t, c, "g") // behind the join
	c.close()
	if resp := answerOf(t, waiting, kmsg.NewPtrJoinGroupResponse()); resp.ErrorCode != kerr.NotCoordinator.Code {
		t.Errorf("the member that waited: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	if resp := joinNow(t, c, "g"); resp.ErrorCode != kerr.NotCoordinator.Code {
		t.Errorf("after close: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
}

// TestDeleteTopicHoldsShards: while the deletion is being committed no commit
// comes between, and a deletion that fails changes nothing.
func TestDeleteTopicHoldsShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		c := testCoordinator(t, log, nil)
		commitNow(t, c, "g", 5)

		failure := errors.New("no")
		_, err := c.deleteTopic(t.Context(), "t", func(a []storage.Append) (storage.LSN, error) { return 0, failure })
		if !errors.Is(err, failure) {
			t.Errorf("error %v, want that of the commit", err)
		}
		time.Sleep(2 * reloadDelay)
		if at, _ := fetchNow(t, c, "g"); at != 5 {
			t.Errorf("after a failed deletion: offset %d, want 5", at)
		}

		req := commitRequest("g", "t", 6)
		late := newTestCall(req)
		lsn, err := c.deleteTopic(t.Context(), "t", func(a []storage.Append) (storage.LSN, error) {
			if len(a) != 1 {
				t.Errorf("%d tombstone appends, want 1", len(a))
			}
			c.offsetCommit(late, req)
			synctest.Wait()
			if len(late.slot.ready) != 0 {
				t.Error("a commit was answered while the deletion was under way")
			}
			img, err := c.cfg.topics.image().Apply(meta.TopicDeletedRecord{Name: "t", ID: [16]byte{7}})
			if err != nil {
				t.Fatal(err)
			}
			c.cfg.topics.(*fakeTopics).img = img
			return 99, nil
		})
		if err != nil || lsn != 99 {
			t.Errorf("LSN %d, %v", lsn, err)
		}
		resp := answerOf(t, late, kmsg.NewPtrOffsetCommitResponse())
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("the late commit: %v", kerr.ErrorForCode(code))
		}
		if late.slot.lsn != 99 {
			t.Errorf("the late commit's answer waits for LSN %d, not for the deletion it speaks of", late.slot.lsn)
		}
		if at, _ := fetchNow(t, c, "g"); at != -1 {
			t.Errorf("offset %d of a topic that is gone", at)
		}
	})
}

// TestNoCoordinatorBeforeTheTopic: requests before the first FindCoordinator.
func TestNoCoordinatorBeforeTheTopic(t *testing.T) {
	c := newCoordinator(coordinatorConfig{settings: &meta.Settings{}, logger: slog.New(slog.DiscardHandler)})
	defer c.close()
	if code := commitNow(t, c, "g", 1); code != kerr.NotCoordinator.Code {
		t.Errorf("commit: %v", kerr.ErrorForCode(code))
	}
	if _, code := fetchNow(t, c, "g"); code != kerr.NotCoordinator.Code {
		t.Errorf("fetch: %v", kerr.ErrorForCode(code))
	}
	if resp := joinNow(t, c, "g"); resp.ErrorCode != kerr.NotCoordinator.Code {
		t.Errorf("join: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	req := kmsg.NewPtrListGroupsRequest()
	call := newTestCall(req)
	c.listGroups(call, req)
	if resp := answerOf(t, call, kmsg.NewPtrListGroupsResponse()); resp.ErrorCode != 0 || len(resp.Groups) != 0 {
		t.Errorf("list: %+v", resp)
	}
}

// TestGroupLimit: weir.max.groups bounds the groups of all shards together.
func TestGroupLimit(t *testing.T) {
	c := testCoordinator(t, &fakeLog{}, map[string]string{"weir.max.groups": "2"})
	for i, want := range []int16{0, 0, kerr.PolicyViolation.Code} {
		if code := commitNow(t, c, string(rune('a'+i)), 1); code != want {
			t.Errorf("group %d: %v, want %v", i, kerr.ErrorForCode(code), kerr.ErrorForCode(want))
		}
	}
	if resp := joinNow(t, c, "z"); resp.ErrorCode != kerr.GroupMaxSizeReached.Code {
		t.Errorf("join of a group too many: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
}
