package weir

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestMembershipComesFirst: a commit may carry the generation of before and be
// refused, but never a new one with what was assigned and handled before it.
func TestMembershipComesFirst(t *testing.T) {
	client, err := kgo.NewClient(kgo.SeedBrokers("localhost:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w := &worker{partition: testPartition(), next: slabSize}
	w.app.client = client
	var order []string
	c := newCommitter(w.app)
	c.metadata = func() (string, int32) { order = append(order, "membership"); return "m", 7 }
	c.app.life, c.app.endLife = t.Context(), func() {}
	taken := func() []*partition { order = append(order, "assigned"); return nil }
	c.commit(t.Context(), c.membership(), taken)
	if len(order) != 2 || order[0] != "membership" {
		t.Errorf("read in the order %v", order)
	}

	// The last commit's is that of the hand-over, however long it had to wait.
	c.metadata = func() (string, int32) { return "m", 8 }
	go c.last([]*partition{w.partition})
	r := <-c.requests
	c.metadata = func() (string, int32) { return "m", 9 }
	if req := c.request(r.as, positions{}); req.Generation != 8 || req.MemberID != "m" {
		t.Errorf("commits as %s of generation %d, want m of 8", req.MemberID, req.Generation)
	}
	close(r.done)
}

// TestCommitByIdentity: a topic's old and new self commit apart, each by the
// id its records came with.
func TestCommitByIdentity(t *testing.T) {
	handled := func(topic string, id topicID, partition int32, offset int64) *partition {
		w := &worker{partition: testPartition(), next: slabSize}
		w.topic, w.partition.id = topic, partition
		rec := &kgo.Record{Topic: topic, Offset: offset}
		w.push([]*kgo.Record{rec}, offset+1, id)
		w.begin(rec).done()
		return w.partition
	}
	old, anew := handled("a", topicID{1}, 0, 70), handled("a", topicID{2}, 1, 3)
	other, disowned := handled("b", topicID{3}, 0, 5), handled("b", topicID{3}, 1, 5)
	disowned.disown()
	moved := collect([]*partition{old, anew, other, disowned})
	c := &committer{app: old.app}
	req := c.request(membership{"m", 1}, moved)
	n := 0
	resp := kmsg.NewPtrOffsetCommitResponse()
	for _, rt := range req.Topics {
		rn := kmsg.NewOffsetCommitResponseTopic()
		rn.TopicID = rt.TopicID
		for _, p := range rt.Partitions {
			n++
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			if rt.TopicID == (topicID{1}) {
				rp.ErrorCode = kerr.UnknownTopicID.Code
			}
			rn.Partitions = append(rn.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rn)
	}
	if n != 3 {
		t.Errorf("%d positions are committed, want 3", n)
	}
	out := accept(resp, moved)
	if len(out.committed) != 2 || len(out.refused) != 1 || !isGone(out.refused[topicPartition{"a", 0}]) {
		t.Errorf("outcome %+v", out)
	}
	for p, want := range map[*partition]int64{old: -1, anew: 4, other: 6, disowned: -1} {
		if got := p.mu.ledger.committed; got != want {
			t.Errorf("%s-%d is committed up to %d, want %d", p.topic, p.id, got, want)
		}
	}
}

// TestErrorsAreToldOnce until they change.
func TestErrorsAreToldOnce(t *testing.T) {
	l, tp := lastErrors{}, topicPartition{"a", 1}
	for i, tc := range []struct {
		err  error
		news bool
	}{{kerr.UnknownTopicID, true}, {kerr.UnknownTopicID, false}, {kerr.NotCoordinator, true}, {kerr.UnknownTopicID, true}} {
		if got := l.news(tp, tc.err); got != tc.news {
			t.Errorf("%d: news %v, want %v", i, got, tc.news)
		}
	}
	if !l.news(topicPartition{"a", 2}, kerr.UnknownTopicID) {
		t.Error("another partition's error is no news")
	}
}

// TestFinishedTaskTakesNoShare, not even while several ask at once.
func TestFinishedTaskTakesNoShare(t *testing.T) {
	for range 20_000 {
		var tk task
		var taken atomic.Int32
		var start, end sync.WaitGroup
		start.Add(1)
		for range 3 {
			end.Go(func() {
				start.Wait()
				for range 10 {
					if tk.add() {
						taken.Add(1)
					}
				}
			})
		}
		start.Done()
		end.Wait()
		if taken.Load() > 0 {
			t.Fatal("a finished task took a share")
		}
	}
}

// TestGivenUpIsNotPaused: the poll loop may come too late with a pause, which
// would outlive the assignment.
func TestGivenUpIsNotPaused(t *testing.T) {
	client, err := kgo.NewClient(kgo.SeedBrokers("localhost:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := testPartition()
	a := p.app
	a.client, a.cfg.MaxQueued = client, 2
	p.topic, p.done = "a", make(chan struct{})
	a.mu.parts = map[topicPartition]*partition{{"a", 0}: p}
	a.mu.retired, a.mu.counted = map[topicPartition]*partition{}, map[string]int64{}
	recs := make([]*kgo.Record, 5)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: "a", Offset: int64(i)}
	}
	p.push(recs, 5, topicID{})
	p.pop() // the worker has them in hand
	a.pause(p)
	if paused := client.PauseFetchPartitions(nil); len(paused["a"]) != 1 {
		t.Fatalf("paused %v, want the full partition", paused)
	}
	a.retire([]*partition{p}, ErrPartitionLost)
	a.pause(p)
	p.push(recs, 5, topicID{})
	if paused := client.PauseFetchPartitions(nil); len(paused) != 0 {
		t.Errorf("paused %v after the partition was given up", paused)
	}
	if n := len(p.mu.queue); n != 0 {
		t.Errorf("%d fetches are queued after the partition was given up", n)
	}
}
