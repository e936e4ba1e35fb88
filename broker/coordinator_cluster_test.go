package broker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// TestClusterIsTheImage: cores see topics and settings of groups as the image has them.
func TestClusterIsTheImage(t *testing.T) {
	img := meta.NewImage()
	for _, r := range []meta.Record{
		meta.TopicRecord{Name: "b", ID: [16]byte{2}, Partitions: 4},
		meta.TopicRecord{Name: "a", ID: [16]byte{1}, Partitions: 3},
		meta.GroupConfigsRecord{Name: "g", Configs: map[string]string{"consumer.session.timeout.ms": "50000"}},
		meta.GroupConfigsRecord{Name: "wide", Configs: map[string]string{"consumer.heartbeat.interval.ms": "1"}},
	} {
		var err error
		if img, err = img.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := meta.ParseSettings(map[string]string{"group.consumer.heartbeat.interval.ms": "6000", "group.consumer.migration.policy": "Downgrade", "group.consumer.assignors": "range"})
	if err != nil {
		t.Fatal(err)
	}
	var c group.Cluster = cluster{img, &settings}
	if id, n, ok := c.Topic("b"); !ok || id != [16]byte{2} || n != 4 {
		t.Errorf("topic b: %x with %d partitions, %v", id, n, ok)
	}
	if _, _, ok := c.Topic("c"); ok {
		t.Error("there is a topic c")
	}
	if name, ok := c.TopicName([16]byte{1}); !ok || name != "a" {
		t.Errorf("topic 1 is %q, %v", name, ok)
	}
	if _, ok := c.TopicName([16]byte{3}); ok {
		t.Error("there is a topic 3")
	}
	if names := slices.Collect(c.TopicNames()); !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("topics %q", names)
	}
	for name := range c.TopicNames() {
		if name == "a" {
			break // which must end the iteration
		}
	}
	for id, want := range map[string]group.GroupConfig{
		"g":    {SessionTimeout: 50 * time.Second, HeartbeatInterval: 6 * time.Second},
		"h":    {SessionTimeout: 45 * time.Second, HeartbeatInterval: 6 * time.Second},
		"wide": {SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second},
	} {
		if got := c.GroupConfig(id); got != want {
			t.Errorf("group %s: %+v, want %+v", id, got, want)
		}
	}
	consumer := consumerConfig(&settings)
	if consumer.Migration != group.MigrationDowngrade || consumer.HeartbeatInterval != 6*time.Second || consumer.MaxSize != 1000 || !slices.Equal(consumer.Assignors, []string{"range"}) {
		t.Errorf("%+v", consumer)
	}
}

func TestMigrationPolicies(t *testing.T) {
	for word, want := range map[string]group.MigrationPolicy{
		"": group.MigrationBidirectional, "bidirectional": group.MigrationBidirectional, "upgrade": group.MigrationUpgrade,
		"downgrade": group.MigrationDowngrade, "disabled": group.MigrationDisabled,
	} {
		if got := consumerConfig(&meta.Settings{ConsumerGroupMigration: word}).Migration; got != want {
			t.Errorf("%q is %d", word, got)
		}
	}
}

// TestShardHearsOfChanges: the next answer waits for the change that the shard was
// told of, whether it heard of it before the request or with it.
func TestShardHearsOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		c := unstartedCoordinator(t, log, nil)
		defer c.close()
		topics := c.cfg.topics.(*fakeTopics)
		topics.newest.Store(17)
		if _, err := c.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		lsn := func() storage.LSN {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Group = "g"
			call := newTestCall(req)
			c.heartbeat(call, req)
			<-call.slot.ready
			return call.slot.lsn
		}
		if got := lsn(); got != 17 {
			t.Errorf("after the start an answer waits for %d", got)
		}
		topics.newest.Store(40)
		c.clusterChanged()
		synctest.Wait()
		topics.newest.Store(41) // not told of
		if got := lsn(); got != 40 {
			t.Errorf("an answer waits for %d, want 40", got)
		}
		for range 3 {
			c.clusterChanged() // who has many changes does not wait
		}
		if got := lsn(); got != 41 {
			t.Errorf("an answer waits for %d, want 41", got)
		}
	})
}

// TestExpressionOfAnOlderImage: an expression is matched before the shard's turn, perhaps
// with topics that the shard knows better by then.
func TestExpressionOfAnOlderImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := unstartedCoordinator(t, &fakeLog{}, nil)
		defer c.close()
		topics := c.cfg.topics.(*fakeTopics)
		older := topics.img
		newer, err := older.Apply(meta.TopicRecord{Name: "u", ID: [16]byte{8}, Partitions: 2})
		if err != nil {
			t.Fatal(err)
		}
		topics.img = newer
		if _, err := c.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the shard has heard of it
		topics.img = older
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "g", "m", 1000
		req.SubscribedTopicRegex, req.Topics = kmsg.StringPtr("[tu]"), []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		call := newTestCall(req)
		c.consumerGroupHeartbeat(call, req)
		resp := answerOf(t, call, kmsg.NewPtrConsumerGroupHeartbeatResponse())
		if resp.ErrorCode != 0 || resp.Assignment == nil || len(resp.Assignment.Topics) != 2 {
			t.Errorf("%+v", resp)
		}
	})
}

// TestExpressionsAfterARestart: a shard serves its groups before their expressions are
// matched, and hears what they stand for afterwards, brought up to date. A coordinator that
// is closed does not wait for it.
func TestExpressionsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		first := testCoordinator(t, log, nil)
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "g", "m", 1000
		req.SubscribedTopicRegex, req.Topics = kmsg.StringPtr("[tuv]"), []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		call := newTestCall(req)
		first.consumerGroupHeartbeat(call, req)
		answerOf(t, call, kmsg.NewPtrConsumerGroupHeartbeatResponse())
		first.close()

		has := func(c *coordinator) int {
			describe := kmsg.NewPtrConsumerGroupDescribeRequest()
			describe.Groups = []string{"g"}
			call := newTestCall(describe)
			c.consumerGroupDescribe(call, describe)
			g := answerOf(t, call, kmsg.NewPtrConsumerGroupDescribeResponse()).Groups[0]
			return len(g.Members[0].TargetAssignment.TopicPartitions)
		}
		second := unstartedCoordinator(t, log, nil)
		defer second.close()
		topics := second.cfg.topics.(*fakeTopics)
		topics.img = mustApply(t, topics.img, meta.TopicRecord{Name: "u", ID: [16]byte{8}, Partitions: 2})
		second.resolving <- struct{}{} // another shard has its turn
		if _, err := second.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := has(second); n != 1 {
			t.Errorf("before its expression is resolved the group has %d topics", n)
		}
		<-second.resolving
		synctest.Wait()
		if n := has(second); n != 2 {
			t.Errorf("after its expression was resolved the group has %d topics", n)
		}

		third := unstartedCoordinator(t, log, nil)
		topics = third.cfg.topics.(*fakeTopics)
		topics.img = mustApply(t, topics.img, meta.TopicRecord{Name: "v", ID: [16]byte{6}, Partitions: 2})
		third.resolving <- struct{}{}
		if _, err := third.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		third.all()[0].loads.Add(1) // while its expression waited, the shard was loaded again
		<-third.resolving
		synctest.Wait()
		if n := has(third); n != 1 {
			t.Errorf("an expression of an older load was resolved: the group has %d topics", n)
		}
		third.resolving <- struct{}{}
		third.wait.Go(func() { third.resolve(third.all()[0], 2, []string{"[tuv]"}) })
		third.close()
		for range third.untilClosed(slices.Values([]string{"t"})) {
			t.Error("a closed coordinator matches names")
		}
	})
}

// TestResolvedOfAnOlderImage: topics that came while an expression was matched count, too.
func TestResolvedOfAnOlderImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := unstartedCoordinator(t, &fakeLog{}, nil)
		defer c.close()
		topics := c.cfg.topics.(*fakeTopics)
		older := topics.img
		topics.img = mustApply(t, older, meta.TopicRecord{Name: "u", ID: [16]byte{8}, Partitions: 2})
		if _, err := c.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		x := group.Match("[tu]", cluster{older, c.cfg.settings}.TopicNames())
		before := x.Bytes()
		c.all()[0].send(t.Context(), resolved("[tu]", x, older))
		synctest.Wait()
		if x.Bytes() <= before {
			t.Error("the expression does not stand for the new topic")
		}
	})
}

func mustApply(t *testing.T, img *meta.Image, r meta.Record) *meta.Image {
	t.Helper()
	img, err := img.Apply(r)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestTopicsAreTold: the metadata store tells the coordinator of whatever a group may
// depend on.
func TestTopicsAreTold(t *testing.T) {
	b := openForTest(t)
	told := 0
	b.metadata.changed = func() { told++ }
	m, ctx := b.metadata, t.Context()
	topic, _, err := m.create(ctx, "t", 1, nil)
	steps := []error{err}
	_, err = m.addPartitions(ctx, "t", 2, false)
	steps = append(steps, err)
	_, _, err = m.configureTopic(ctx, "t", false, func(*meta.Topic) (map[string]string, error) { return map[string]string{"retention.ms": "1"}, nil })
	steps = append(steps, err)
	_, err = m.configureGroup(ctx, "g", false, func(map[string]string) (map[string]string, error) {
		return map[string]string{"consumer.session.timeout.ms": "50000"}, nil
	})
	steps = append(steps, err)
	_, err = m.remove(ctx, topic)
	if steps = append(steps, err); told != len(steps) {
		t.Errorf("told %d times of %d changes", told, len(steps))
	}
	for i, err := range steps {
		if err != nil {
			t.Error(fmt.Errorf("step %d: %w", i, err))
		}
	}
}
