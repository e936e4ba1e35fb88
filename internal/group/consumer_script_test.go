package group

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/weirstream/weir/internal/assignor"
	"github.com/weirstream/weir/internal/script"
)

// testCluster is a Cluster of a script: topics with their partitions.
type testCluster struct {
	partitions map[string]int32
	made       map[string]int // how often a topic was made, which its id tells
	config     map[string]GroupConfig
}

func (c *testCluster) id(name string) (id [16]byte) {
	copy(id[:15], name)
	id[15] = byte(c.made[name])
	return id
}

func (c *testCluster) Topic(name string) ([16]byte, int32, bool) {
	n, ok := c.partitions[name]
	return c.id(name), n, ok
}

func (c *testCluster) TopicName(id [16]byte) (string, bool) {
	name := strings.TrimRight(string(id[:15]), "\x00")
	_, ok := c.partitions[name]
	return name, ok && c.id(name) == id
}

func (c *testCluster) TopicNames() iter.Seq[string]         { return maps.Keys(c.partitions) }
func (c *testCluster) GroupConfig(group string) GroupConfig { return c.config[group] }

// with is the cluster with other topics; one that comes back has a new id.
func (c *testCluster) with(partitions map[string]int32) *testCluster {
	next := &testCluster{partitions, maps.Clone(c.made), c.config}
	if next.made == nil {
		next.made = map[string]int{}
	}
	for name := range c.partitions {
		if _, ok := partitions[name]; !ok {
			next.made[name]++
		}
	}
	return next
}

// changed are the topics that have come, gone or changed since an earlier cluster.
func (c *testCluster) changed(since *testCluster) []string {
	var list []string
	for _, name := range sortedSet(slices.AppendSeq(slices.Collect(c.TopicNames()), since.TopicNames())) {
		id, n, ok := c.Topic(name)
		if wasID, was, existed := since.Topic(name); id != wasID || n != was || ok != existed {
			list = append(list, name)
		}
	}
	return list
}

// place is a partition as scripts write it.
func (c *testCluster) place(topic assignor.TopicID, partition int32) string {
	name := strings.TrimRight(string(topic[:15]), "\x00")
	if topic[15] > 0 {
		name += strings.Repeat("'", int(topic[15]))
	}
	return fmt.Sprintf("%s/%d", name, partition)
}

func (c *testCluster) parse(place string) (assignor.TopicID, int32) {
	topic, partition := cutPlace(place)
	var id assignor.TopicID
	copy(id[:15], strings.TrimRight(topic, "'"))
	id[15] = byte(strings.Count(topic, "'"))
	return id, int32(atoi(partition))
}

func (s *stage) consumerCommands() map[string]func(script.Args) {
	return map[string]func(script.Args){
		"topics": s.setTopics, "group-config": s.groupConfig, "consumer-config": s.consumerConfig,
		"beat": s.beat, "go": s.goes, "group": s.describeConsumers, "owners": s.owners, "fetch-as": s.fetchAs,
		"resolve": s.resolve,
	}
}

// resolve: what expressions stand for after a restart is found out
func (s *stage) resolve(script.Args) {
	for _, x := range s.core.Unresolved() {
		s.printf("unresolved %s", x)
		s.core.Resolve(s.now, x, Match(x, s.topics.TopicNames()))
	}
}

// alterTopics has these topics exist, of which the core is not told yet.
func (s *stage) alterTopics(a script.Args) (was *testCluster) {
	list := map[string]int32{}
	for _, w := range a.Words {
		topic, n := cutPlace(w)
		list[topic] = int32(atoi(n))
	}
	was = s.topics
	s.topics = was.with(list)
	return was
}

// topics a/3 b/2 …: these exist
func (s *stage) setTopics(a script.Args) {
	was := s.alterTopics(a)
	s.core.SetCluster(s.now, s.topics, s.topics.changed(was))
}

// group-config g [session=] [heartbeat=] [interval=]
func (s *stage) groupConfig(a script.Args) {
	ms := func(key string) time.Duration { return time.Duration(ms(a, key, "0s")) * time.Millisecond }
	next := s.topics.with(s.topics.partitions)
	next.config = map[string]GroupConfig{a.Words[0]: {ms("session"), ms("heartbeat"), ms("interval")}}
	s.topics = next
	s.core.SetCluster(s.now, s.topics, nil)
}

// consumer-config [max-size=] [migration=] [classic-max-size=] [interval=]
func (s *stage) consumerConfig(a script.Args) {
	s.cfg.Consumer.MaxSize = a.Num("max-size", 0)
	s.cfg.MaxSize = a.Num("classic-max-size", 0)
	s.cfg.Consumer.AssignmentInterval = time.Duration(ms(a, "interval", "0s")) * time.Millisecond
	s.cfg.Consumer.Migration = map[string]MigrationPolicy{"bidirectional": MigrationBidirectional, "upgrade": MigrationUpgrade,
		"downgrade": MigrationDowngrade, "disabled": MigrationDisabled}[a.Str("migration", "bidirectional")]
	s.start()
}

// beat A [group] [topics=a+b] [regex=] [assignor=] [epoch=] [owned=a/0+a/1|none|null]
// [rebalance=] [instance=] [rack=] [id=] [v=] [lost]: a heartbeat; without epoch the
// one that the client knows, without owned what it has. The answer to a lost one does
// not arrive.
func (s *stage) beat(a script.Args) {
	cl := s.client(a.Words[0])
	for _, w := range a.Words[1:] {
		if w != "lost" {
			cl.group, cl.generation = strings.Trim(w, `"`), 0
		}
	}
	req := s.beatRequest(cl, a)
	if a.Has("instance") {
		cl.instance = nil
		if a.Options["instance"] != "" {
			cl.instance = kmsg.StringPtr(a.Options["instance"])
		}
		req.InstanceID = kmsg.StringPtr(a.Options["instance"])
	}
	resp := s.core.ConsumerHeartbeat(s.now, Client{cl.name, "/127.0.0.1"}, req, nil)
	if slices.Contains(a.Words, "lost") {
		s.printf("%s: lost", cl.name)
		return
	}
	s.beaten(cl, resp)
}

func (s *stage) beatRequest(cl *client, a script.Args) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version = int16(a.Num("v", 1))
	if cl.id == "" && req.Version >= 1 {
		cl.id = cl.name // the client makes its id
	}
	req.Group, req.MemberID, req.InstanceID = cl.group, a.Str("id", cl.id), cl.instance
	req.MemberEpoch = int32(a.Num("epoch", int(cl.generation)))
	if a.Has("topics") {
		req.SubscribedTopicNames = []string{}
		for _, t := range strings.Split(a.Options["topics"], "+") {
			if t != "" {
				req.SubscribedTopicNames = append(req.SubscribedTopicNames, t)
			}
		}
	}
	optional := func(key string) *string {
		if v, ok := a.Options[key]; ok {
			return &v
		}
		return nil
	}
	req.SubscribedTopicRegex, req.ServerAssignor, req.RackID = optional("regex"), optional("assignor"), optional("rack")
	req.RebalanceTimeoutMillis = -1
	if req.MemberEpoch == 0 || a.Has("rebalance") {
		req.RebalanceTimeoutMillis = ms(a, "rebalance", "60s")
	}
	owned := slices.Sorted(maps.Keys(cl.has))
	switch v := a.Str("owned", "as it is"); v {
	case "as it is":
		if req.MemberEpoch == 0 {
			owned = nil
		}
	case "none":
		owned = nil
	case "null":
		return req
	default:
		owned = strings.Split(v, "+")
	}
	req.Topics = s.ownedTopics(owned)
	return req
}

func (s *stage) ownedTopics(places []string) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	list := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, w := range places {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		var partition int32
		t.TopicID, partition = s.topics.parse(w)
		t.Partitions = []int32{partition}
		list = append(list, t)
	}
	return list
}

// beaten is what a client does with an answer: it has at once what it is given.
func (s *stage) beaten(cl *client, resp *kmsg.ConsumerGroupHeartbeatResponse) {
	if resp.ErrorCode != 0 {
		s.printf("%s: %s: %s", cl.name, code(resp.ErrorCode), *resp.ErrorMessage)
		if resp.ErrorCode == fencedMemberEpoch || resp.ErrorCode == unknownMemberID {
			cl.generation, cl.has = 0, nil
		}
		return
	}
	cl.id, cl.generation = *resp.MemberID, resp.MemberEpoch
	line := fmt.Sprintf("%s: ok epoch=%d every=%v", cl.name, resp.MemberEpoch, time.Duration(resp.HeartbeatIntervalMillis)*time.Millisecond)
	if resp.Assignment != nil {
		cl.has = map[string]bool{}
		for _, t := range resp.Assignment.Topics {
			for _, p := range t.Partitions {
				cl.has[s.topics.place(t.TopicID, p)] = true
			}
		}
		line += fmt.Sprintf(" has=%v", slices.Sorted(maps.Keys(cl.has)))
	}
	s.printf("%s", line)
}

// go A [back] [id=] [instance=null]: it leaves, or, a static one, leaves to come back
func (s *stage) goes(a script.Args) {
	cl := s.client(a.Words[0])
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version = 1
	req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = a.Str("group", cl.group), a.Str("id", cl.id), cl.instance, epochLeave
	if len(a.Words) > 1 {
		req.MemberEpoch = epochStaticLeave
	}
	if a.Str("instance", "") == "null" {
		req.InstanceID = nil
	}
	resp := s.core.ConsumerHeartbeat(s.now, Client{cl.name, "/127.0.0.1"}, req, nil)
	if resp.ErrorCode != 0 {
		s.printf("%s: %s: %s", cl.name, code(resp.ErrorCode), *resp.ErrorMessage)
		return
	}
	s.printf("%s: ok epoch=%d", cl.name, resp.MemberEpoch)
	cl.generation, cl.has = 0, nil
}

// group g: ConsumerGroupDescribe
func (s *stage) describeConsumers(a script.Args) {
	g := s.core.ConsumerDescribe(a.Words[0])
	if g.ErrorCode != 0 {
		s.printf("%s: %s: %s", g.Group, code(g.ErrorCode), *g.ErrorMessage)
		return
	}
	s.printf("%s: %s epoch=%d assigned=%d by %s", g.Group, g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName)
	for _, m := range g.Members {
		kind := ""
		if m.MemberType == 0 {
			kind = " classic"
		}
		s.printf("  %s%s%s epoch=%d topics=%v regex=%q has=%s target=%s", m.MemberID, instance(m.InstanceID), kind, m.MemberEpoch,
			m.SubscribedTopics, *m.SubscribedTopicRegex, described(m.Assignment), described(m.TargetAssignment))
	}
}

func described(a kmsg.Assignment) string {
	list := []string{}
	for _, t := range a.TopicPartitions {
		for _, p := range t.Partitions {
			list = append(list, fmt.Sprintf("%s/%d", t.Topic, p))
		}
	}
	return fmt.Sprint(list)
}

// owners: what the clients believe to have
func (s *stage) owners(script.Args) {
	for _, name := range slices.Sorted(maps.Keys(s.clients)) {
		s.printf("%s has %v", name, slices.Sorted(maps.Keys(s.clients[name].has)))
	}
}

// fetch-as A [epoch=] [id=]: an OffsetFetch that names a member
func (s *stage) fetchAs(a script.Args) {
	cl := s.client(a.Words[0])
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group, req.MemberID, req.MemberEpoch = cl.group, kmsg.StringPtr(a.Str("id", cl.id)), int32(a.Num("epoch", int(cl.generation)))
	s.printf("%s fetch: %s", cl.name, code(s.core.Fetch(&req, false).ErrorCode))
}

func describeConsumerRecord(group string, x *consumerEntry) string {
	what := map[int16]string{keyConsumerGroup: "epoch", keyConsumerPartitions: "partitions", keyConsumerMember: "member", keyConsumerTargetEpoch: "target epoch",
		keyConsumerTarget: "target", keyConsumerCurrent: "current", keyConsumerRegex: "regex"}[x.kind]
	head := fmt.Sprintf("consumer group %s: %s %s", group, what, x.name)
	if x.name == "" {
		head = fmt.Sprintf("consumer group %s: %s", group, what)
	}
	if x.tombstone {
		return head + " tombstone"
	}
	var c testCluster
	switch x.kind {
	case keyConsumerGroup, keyConsumerTargetEpoch:
		return fmt.Sprintf("%s %d", head, x.epoch)
	case keyConsumerMember:
		m := x.member
		kind := ""
		if m.classic != nil {
			kind = " classic"
		}
		return fmt.Sprintf("%s%s%s topics=%v regex=%q", head, instance(m.instance), kind, m.topics, m.regex)
	case keyConsumerTarget:
		return fmt.Sprintf("%s %v", head, c.places(x.target, nil))
	case keyConsumerCurrent:
		state := map[memberState]string{memberStable: "stable", memberUnrevoked: "unrevoked", memberUnreleased: "unreleased"}[x.member.state]
		line := fmt.Sprintf("%s epoch=%d after=%d %s %v", head, x.member.epoch, x.member.previous, state, c.places(nil, x.member.assigned))
		if len(x.member.revoking) > 0 {
			line += fmt.Sprintf(" revoking %v", c.places(nil, x.member.revoking))
		}
		return line
	case keyConsumerRegex:
		return fmt.Sprintf("%s %v", head, x.topics)
	}
	return head
}

// places are partitions as scripts write them, those of holdings with their epochs.
func (c *testCluster) places(t targets, p holdings) []string {
	list := []string{}
	for topic, partitions := range t {
		for _, partition := range partitions {
			list = append(list, c.place(topic, partition))
		}
	}
	for topic, partitions := range p {
		for partition, epoch := range partitions {
			list = append(list, fmt.Sprintf("%s@%d", c.place(topic, partition), epoch))
		}
	}
	slices.Sort(list)
	return list
}
