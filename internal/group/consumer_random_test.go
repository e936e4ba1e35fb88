package group

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// schedules is how many random stories TestConsumerRandom tells.
const schedules = 10_000

// TestConsumerRandom lets clients of both protocols loose on groups: they join,
// beat, are slow to let go, lose answers, leave, crash, come back static or not and
// with the other protocol, while topics come, grow and go, time passes and the broker
// is killed. At no time do two members have the same partition, or does one get a
// partition in an epoch in which another one got it; a replay of the log, also of a
// compacted one, gives the same state; and when the storm is over, every group becomes
// stable, with each partition at one member.
func TestConsumerRandom(t *testing.T) {
	n := int64(schedules)
	if testing.Short() {
		n /= 10
	}
	pended := 0
	for s := int64(1); s <= n; s++ {
		if *seed != 0 && s != *seed {
			continue
		}
		w := newStorm(t, s)
		for range 10 + w.r.Intn(50) {
			w.step()
			w.check()
			if t.Failed() {
				break
			}
		}
		if !t.Failed() {
			w.calm()
			w.replays()
			pended += w.pended
		}
		if t.Failed() {
			t.Fatalf("replay with: go test ./internal/group -run TestConsumerRandom -seed %d", s)
		}
	}
	if *seed == 0 && pended < int(n)/10 {
		t.Errorf("in %d storms only %d offsets were committed in transactions", n, pended)
	}
}

// sailor is one client process.
type sailor struct {
	name     string
	id       string
	classic  bool
	instance *string
	epoch    int32           // of a consumer; generation of a classic one, -1: must join
	has      map[string]bool // what it works on
	told     map[string]bool // what it shall have; nil: as it has
	full     bool            // it says all with its next heartbeat, since an answer was lost
	wishes   int             // which topics it wants
	said     int             // the wishes of its last join
	saw      *testCluster    // the topics as they were then
	synced   bool
	leads    []kmsg.JoinGroupResponseMember
	dead     bool
}

type storm struct {
	t       *testing.T
	r       *rand.Rand
	cfg     Config
	core    *Core
	cluster *testCluster
	now     time.Time
	log     []Record
	asked   map[Token]*sailor
	tokens  Token
	ids     int
	eager   bool // what classic members are, else cooperative
	crew    []*sailor
	given   map[string]string // partition and epoch → who got it
	pended  int               // commits in transactions
}

func newStorm(t *testing.T, seed int64) *storm {
	w := &storm{t: t, r: rand.New(rand.NewSource(seed)), now: time.UnixMilli(5_000_000), asked: map[Token]*sailor{}, given: map[string]string{}}
	w.cfg = Config{NewMemberID: func(prefix string) string { w.ids++; return prefix + "-" + strconv.Itoa(w.ids) }}
	w.cfg.Consumer = ConsumerConfig{SessionTimeout: 10 * time.Second, AssignmentInterval: time.Duration(w.r.Intn(3)) * time.Second}
	w.cluster = (&testCluster{}).with(map[string]int32{"t": 3, "u": 2})
	w.eager = w.r.Intn(2) == 0
	w.core = New(w.cfg)
	w.core.SetCluster(w.now, w.cluster, nil)
	classics := w.r.Intn(3)
	for i := range 3 + w.r.Intn(3) {
		a := &sailor{name: fmt.Sprintf("c%d", i), classic: i < classics, epoch: -1}
		if w.r.Intn(3) == 0 {
			a.instance = kmsg.StringPtr(fmt.Sprintf("i%d", i))
		}
		a.wishes = w.r.Intn(4)
		w.crew = append(w.crew, a)
		w.reborn(a)
	}
	return w
}

// reborn is a new process: it knows nothing.
func (w *storm) reborn(a *sailor) {
	w.ids++
	a.id, a.epoch, a.has, a.told, a.full, a.dead, a.synced, a.leads = fmt.Sprintf("%s-%d", a.name, w.ids), 0, nil, nil, false, false, false, nil
	if a.instance == nil {
		// The classic protocol does not notice when a static one wants other topics.
		a.wishes = w.r.Intn(4)
	}
	if a.classic {
		a.id, a.epoch = "", -1
	}
}

func (w *storm) step() {
	a := w.crew[w.r.Intn(len(w.crew))]
	n := w.r.Intn(100)
	if *seed != 0 {
		w.t.Logf("%v: %s does %d", w.now.Sub(time.UnixMilli(5_000_000)), a.id, n)
	}
	switch {
	case n < 49:
		w.turn(a, w.r.Intn(8) == 0)
	case n < 53:
		w.pend(a)
	case n < 55:
		w.end(w.r.Intn(len(w.crew)), w.r.Intn(3) > 0)
	case n < 62:
		a.apply()
	case n < 66:
		w.leave(a)
	case n < 69:
		a.dead = true
	case n < 74:
		if w.r.Intn(4) == 0 {
			a.classic = !a.classic
		}
		w.reborn(a)
	case n < 78:
		if a.instance == nil {
			a.wishes, a.full = w.r.Intn(4), true
		}
	case n < 83:
		w.topics()
	case n < 86:
		w.restart()
	default:
		w.pass(time.Duration(w.r.Intn(4000)) * time.Millisecond)
	}
	w.drain()
	w.show()
}

// show logs where all stand, when one seed is looked at.
func (w *storm) show() {
	if *seed == 0 {
		return
	}
	for _, a := range w.crew {
		w.t.Logf("  %s classic=%v epoch=%d synced=%v dead=%v has=%v told=%v full=%v wishes=%d",
			a.id, a.classic, a.epoch, a.synced, a.dead, slices.Sorted(maps.Keys(a.has)), a.told, a.full, a.wishes)
	}
	for _, line := range w.flat(w.core) {
		w.t.Log("  ", line)
	}
}

// pend commits an offset in the transaction of the client's producer. Only a member of
// its epoch may, or one who has had the partition since before (KIP-1251).
func (w *storm) pend(a *sailor) {
	name := []string{"t", "u"}[w.r.Intn(2)]
	if w.cluster.partitions[name] == 0 || a.epoch < 0 || a.id == "" {
		return
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.ProducerID, req.Group, req.MemberID, req.Generation = int64(slices.Index(w.crew, a)), "g", a.id, a.epoch-int32(w.r.Intn(2))
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = int32(w.r.Intn(int(w.cluster.partitions[name]))), w.r.Int63n(1000)
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.Partitions = name, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := w.core.CommitTxn(w.now, req, w.cluster.id, func(string, int32) int16 { return 0 })
	g := w.core.groups["g"]
	if resp.Topics[0].Partitions[0].ErrorCode != none || g == nil || g.consumer == nil {
		return
	}
	w.pended++
	m := g.consumer.members[a.id]
	if m == nil {
		if req.Generation >= 0 {
			w.t.Errorf("%s is no member, and commits as one of epoch %d", a.id, req.Generation)
		}
		return
	}
	since, has := m.assigned[w.cluster.id(name)][p.Partition]
	if !has {
		since, has = m.revoking[w.cluster.id(name)][p.Partition]
	}
	if req.Generation != m.epoch && (m.classic != nil || req.Generation > m.epoch || !has || req.Generation < since) {
		w.t.Errorf("%s of epoch %d commits to %s/%d with epoch %d", a.id, m.epoch, name, p.Partition, req.Generation)
	}
}

func (w *storm) end(producer int, commit bool) {
	w.drain()
	w.log = append(w.log, marker(int64(producer), commit))
	w.core.EndTxn(w.now, int64(producer), commit)
}

// topics come, grow and go, and come back as others.
func (w *storm) topics() {
	was := w.alter()
	w.core.SetCluster(w.now, w.cluster, w.cluster.changed(was))
}

// alter changes a topic, of which the core is not told yet.
func (w *storm) alter() (was *testCluster) {
	next := maps.Clone(w.cluster.partitions)
	name := []string{"t", "u", "ux"}[w.r.Intn(3)]
	switch n, ok := next[name]; {
	case !ok:
		next[name] = int32(1 + w.r.Intn(3))
	case w.r.Intn(2) == 0 && n < 5:
		next[name] = n + 1
	default:
		delete(next, name)
	}
	was = w.cluster
	w.cluster = was.with(next)
	return was
}

// apply makes a client work on what it shall have, no more and no less.
func (a *sailor) apply() {
	if a.told != nil && !a.dead {
		a.has, a.told = a.told, nil
	}
}

// turn is what a client does next; the answer may be lost.
func (w *storm) turn(a *sailor, lost bool) {
	switch {
	case a.dead:
	case !a.classic:
		w.beat(a, lost)
	case a.epoch < 0:
		w.join(a)
	case !a.synced:
		w.sync(a)
	default:
		w.heartbeat(a)
	}
	w.drain()
}

// wants are the topics of a sailor, and its regular expression.
func (a *sailor) wants() ([]string, string) {
	if a.classic {
		return [][]string{{"t"}, {"u"}, {"t", "u"}, {}}[a.wishes], ""
	}
	return [][]string{{"t"}, {"t", "u"}, {"t"}, {}}[a.wishes], []string{"", "", "u.*", "[tu]"}[a.wishes]
}

func (w *storm) beat(a *sailor, lost bool) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = 1, "g", a.id, a.instance, a.epoch
	req.RebalanceTimeoutMillis = -1
	if a.epoch == 0 {
		a.has, a.told = nil, nil
	}
	if a.epoch == 0 || a.full {
		topics, regex := a.wants()
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.SubscribedTopicRegex = 5000, append([]string{}, topics...), &regex
	}
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for place := range a.has {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		var p int32
		t.TopicID, p = w.cluster.parse(place)
		t.Partitions = []int32{p}
		req.Topics = append(req.Topics, t)
	}
	if a.epoch != 0 && !a.full && w.r.Intn(3) == 0 {
		req.Topics = nil
	}
	resp := w.core.ConsumerHeartbeat(w.now, Client{a.name, "/h"}, req, nil)
	if lost {
		a.full, a.told = true, nil // it does not begin with what it may not have any more
		return
	}
	switch resp.ErrorCode {
	case none:
		a.full, a.epoch = false, resp.MemberEpoch
		if resp.Assignment != nil {
			a.told = map[string]bool{}
			for _, t := range resp.Assignment.Topics {
				for _, p := range t.Partitions {
					a.told[w.cluster.place(t.TopicID, p)] = true
				}
			}
		}
	case fencedMemberEpoch, unknownMemberID, groupIDNotFound:
		a.epoch, a.has, a.told = 0, nil, nil
	case unreleasedInstanceID:
	case fencedInstanceID:
		a.dead = true
	default:
		w.t.Errorf("heartbeat of %s: %d %s", a.id, resp.ErrorCode, *resp.ErrorMessage)
	}
}

// metadata is the subscription of a classic member, with what it has if it is a
// cooperative one. What it shall not have it has let go by then.
func (w *storm) metadata(a *sailor) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = 1
	m.Topics, _ = a.wants()
	for place := range a.has {
		topic, p := w.cluster.parse(place)
		if name, ok := w.cluster.TopicName(topic); ok {
			m.OwnedPartitions = append(m.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: name, Partitions: []int32{p}})
		}
	}
	return m.AppendTo(nil)
}

// waits tells whether a client has asked for something that is not answered.
func (w *storm) waits(a *sailor) bool {
	return slices.Contains(slices.Collect(maps.Values(w.asked)), a)
}

func (w *storm) join(a *sailor) {
	if w.waits(a) {
		return
	}
	a.apply()
	if w.eager {
		a.has = nil
	}
	a.said, a.saw = a.wishes, w.cluster
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = 9, "g", a.id, a.instance, consumerProtocol
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 5000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "p", Metadata: w.metadata(a)}}
	w.tokens++
	w.asked[w.tokens] = a
	w.core.Join(w.now, w.tokens, Client{a.name, "/h"}, req)
}

func (w *storm) sync(a *sailor) {
	if w.waits(a) {
		return
	}
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", a.id, a.instance, a.epoch
	if len(a.leads) > 0 {
		req.GroupAssignment = w.lead(a.leads)
	}
	w.tokens++
	w.asked[w.tokens] = a
	w.core.Sync(w.now, w.tokens, req)
}

// lead deals partitions out as a leader does, but none that another member has.
func (w *storm) lead(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	owner, list := map[string]string{}, []kmsg.SyncGroupRequestGroupAssignment{}
	wants := map[string]kmsg.ConsumerMemberMetadata{}
	for _, m := range members {
		var meta kmsg.ConsumerMemberMetadata
		if meta.ReadFrom(m.ProtocolMetadata) != nil {
			w.t.Fatalf("metadata of %s: % x", m.MemberID, m.ProtocolMetadata)
		}
		wants[m.MemberID] = meta
		for _, o := range meta.OwnedPartitions {
			for _, p := range o.Partitions {
				owner[fmt.Sprintf("%s/%d", o.Topic, p)] = m.MemberID
			}
		}
	}
	given := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(w.cluster.partitions)) {
		var takers []string
		for _, m := range members {
			if slices.Contains(wants[m.MemberID].Topics, name) {
				takers = append(takers, m.MemberID)
			}
		}
		for p := range w.cluster.partitions[name] {
			if len(takers) == 0 {
				continue
			}
			place := fmt.Sprintf("%s/%d", name, p)
			to := takers[int(p)%len(takers)]
			if owner[place] == "" || owner[place] == to {
				given[to] = append(given[to], place)
			}
		}
	}
	for _, m := range members {
		as := kmsg.NewConsumerMemberAssignment()
		for _, place := range given[m.MemberID] {
			topic, p := cutPlace(place)
			as.Topics = append(as.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topic, Partitions: []int32{int32(atoi(p))}})
		}
		list = append(list, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: as.AppendTo(nil)})
	}
	return list
}

func (w *storm) heartbeat(a *sailor) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", a.id, a.instance, a.epoch
	w.classicError(a, w.core.Heartbeat(w.now, req).ErrorCode)
	if a.said != a.wishes || len(a.leads) > 0 && a.saw != w.cluster {
		a.epoch, a.synced = -1, false // it wants other topics, or leads and sees others, and joins again
	}
}

func (w *storm) classicError(a *sailor, code int16) {
	switch code {
	case none:
	case rebalanceInProgress:
		a.epoch, a.synced = -1, false
	case unknownMemberID, illegalGeneration:
		a.epoch, a.synced, a.has, a.told, a.id = -1, false, nil, nil, ""
	case memberIDRequired:
	case fencedInstanceID:
		a.dead = true
	default:
		w.t.Errorf("classic member %s: %d", a.id, code)
	}
}

func (w *storm) leave(a *sailor) {
	if a.dead || a.epoch <= 0 {
		return
	}
	if a.classic {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group = 5, "g"
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = a.id, a.instance
		req.Members = append(req.Members, m)
		w.core.Leave(w.now, req)
	} else {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = 1, "g", a.id, a.instance, epochLeave
		if a.instance != nil && w.r.Intn(2) == 0 {
			req.MemberEpoch = epochStaticLeave
		}
		w.core.ConsumerHeartbeat(w.now, Client{a.name, "/h"}, req, nil)
	}
	a.dead, a.has, a.told = true, nil, nil
}

func (w *storm) pass(d time.Duration) { pass(w.t, &w.now, d, w.core, w.drain) }

func (w *storm) restart() {
	w.drain()
	for _, a := range w.asked {
		a.epoch = -1
	}
	clear(w.asked)
	if w.r.Intn(3) == 0 {
		w.alter() // the broker was killed before it told the core
	}
	w.core = w.replay(w.log)
	if w.r.Intn(2) == 0 {
		w.resolve()
	}
	w.drain()
}

// resolve does what the broker does beside the Core, some time after a restart.
func (w *storm) resolve() {
	for _, s := range w.core.Unresolved() {
		w.core.Resolve(w.now, s, Match(s, w.cluster.TopicNames()))
	}
	w.drain()
}

func (w *storm) replay(log []Record) *Core {
	c := New(w.cfg)
	c.SetCluster(w.now, w.cluster, nil)
	for _, r := range log {
		if err := replayed(c, r); err != nil {
			w.t.Fatal(err)
		}
	}
	c.Ready(w.now)
	return c
}

func (w *storm) drain() {
	for range 10 {
		out := w.core.Take()
		w.log = append(w.log, out.Records...)
		for _, r := range out.Records {
			w.gave(r)
		}
		for _, r := range out.Replies {
			a := w.asked[r.Token]
			delete(w.asked, r.Token)
			switch resp := r.Response.(type) {
			case *kmsg.JoinGroupResponse:
				w.joined(a, resp)
			case *kmsg.SyncGroupResponse:
				w.synced(a, resp)
			}
		}
		if len(out.Replies) == 0 {
			return
		}
	}
}

// gave checks that in no epoch two members get the same partition.
func (w *storm) gave(r Record) {
	e, err := decode(r.Key, r.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	if e.consumer == nil || e.consumer.kind != keyConsumerCurrent || r.Value == nil {
		if e.consumer != nil && e.consumer.kind == keyConsumerGroup && r.Value == nil {
			clear(w.given) // epochs begin anew
		}
		return
	}
	m := w.core.groups["g"].consumer
	if m == nil || m.members[e.consumer.name] == nil {
		return // it is gone, or is of the classic protocol by now
	}
	owner := e.consumer.name
	if i := m.members[owner].instance; i != nil {
		owner = *i // its next process inherits
	}
	for topic, partitions := range e.consumer.member.assigned {
		for p, epoch := range partitions {
			key := fmt.Sprintf("%s@%d", w.cluster.place(topic, p), epoch)
			if was := w.given[key]; was != "" && was != owner && was != e.consumer.name {
				w.t.Errorf("%s was given to %s and to %s", key, was, owner)
			}
			w.given[key] = owner
		}
	}
}

func (w *storm) joined(a *sailor, resp *kmsg.JoinGroupResponse) {
	if a == nil || !a.classic || a.dead {
		return // its process is another one by now
	}
	if resp.ErrorCode != none {
		w.classicError(a, resp.ErrorCode)
		if resp.ErrorCode == memberIDRequired {
			a.id = resp.MemberID
		}
		return
	}
	a.id, a.epoch, a.leads, a.synced = resp.MemberID, resp.Generation, nil, false
	if resp.LeaderID == resp.MemberID {
		a.leads = resp.Members
		if resp.SkipAssignment {
			a.saw = nil // it does not know for which topics the group was assigned, and asks for a new round
		}
	}
}

func (w *storm) synced(a *sailor, resp *kmsg.SyncGroupResponse) {
	if a == nil || !a.classic || a.dead || a.epoch < 0 {
		return
	}
	if resp.ErrorCode != none {
		w.classicError(a, resp.ErrorCode)
		return
	}
	a.synced, a.told = true, map[string]bool{}
	lost := false
	r := readTopics(resp.MemberAssignment)
	for name, ok := r.topic(); ok; name, ok = r.topic() {
		id := w.cluster.id(string(name))
		for p := r.partitions(); len(p) >= 4; p = p[4:] {
			a.told[w.cluster.place(id, int32(binary.BigEndian.Uint32(p)))] = true
		}
	}
	for place := range a.has {
		lost = lost || !a.told[place]
	}
	if lost && !w.eager {
		a.epoch, a.synced = -1, false // KIP-429: it lets go and joins again
	}
}

// check is the heart of it: who is a member, has nothing that another member has.
func (w *storm) check() {
	g := w.core.groups["g"]
	if g == nil || g.consumer == nil {
		return
	}
	cg := g.consumer
	owners := map[string]string{}
	n := 0
	for _, a := range w.crew {
		if cg.members[a.id] == nil || cg.members[a.id].classic != nil != a.classic {
			continue // it does not know yet that it is no member any more
		}
		for place := range a.has {
			if was := owners[place]; was != "" {
				w.t.Errorf("%s and %s both have %s", was, a.id, place)
			}
			owners[place] = a.id
		}
	}
	held := int64(0)
	for id, m := range cg.members {
		if m.id != id || m.instance != nil && cg.static[*m.instance] != m {
			w.t.Errorf("member %s is known as %s", m.id, id)
		}
		if !m.session.armed() {
			w.t.Errorf("nobody watches member %s", id)
		}
		held += m.size()
		for _, p := range []holdings{m.assigned, m.revoking} {
			for topic, partitions := range p {
				for partition := range partitions {
					n++
					if cg.owners[topic][partition] != m {
						w.t.Errorf("member %s is not the owner of %s", id, w.cluster.place(topic, partition))
					}
				}
			}
		}
	}
	for _, owners := range cg.owners {
		n -= len(owners)
	}
	if n != 0 {
		w.t.Errorf("members have %d partitions more than have owners", n)
	}
	for _, r := range cg.regexes {
		held += r.size()
	}
	for topic, partitions := range g.unstable {
		for _, producers := range partitions {
			for _, o := range producers {
				held += heldPending(topic, o)
			}
		}
	}
	if held != g.held || held+int64(len(w.core.txns))*transactionBytes != w.core.Held() || w.core.consumers != len(cg.members) {
		w.t.Errorf("%d bytes are counted (%d in all), the members hold %d; %d members of %d", g.held, w.core.Held(), held, w.core.consumers, len(cg.members))
	}
	if g.state != cg.standsAt() {
		w.t.Errorf("the group is %s, and stands at %s", g.state, cg.standsAt())
	}
	w.checkDerived(cg)
}

// checkDerived finds out anew what the group keeps.
func (w *storm) checkDerived(cg *consumerGroup) {
	if got, want := cg.standing(), cg.stand(); got != want {
		w.t.Errorf("the group believes that it stands at %+v, and stands at %+v", got, want)
	}
	if got, want := cg.subscriptions(), cg.findSubscriptions(); !maps.Equal(got, want) {
		w.t.Errorf("the group believes that it subscribes to %v, and does to %v", got, want)
	}
	for s, r := range cg.regexes {
		if w.core.unresolved[s] != nil {
			continue
		}
		if want := r.match(w.cluster.TopicNames()); !slices.Equal(r.topics, want) {
			w.t.Errorf("%s stands for %q, and matches %q", s, r.topics, want)
		}
	}
	if got := cg.hashTopics(w.cluster); got != cg.hash {
		w.t.Errorf("the topics have changed, and the group has not")
	}
}

// calm lets all clients that live do what they should, for a minute.
func (w *storm) calm() {
	w.resolve()
	for range 24 {
		for _, a := range w.crew {
			w.turn(a, false)
			a.apply()
			w.turn(a, false)
			a.apply()
			w.check()
		}
		w.pass(2500 * time.Millisecond)
	}
	live, has, wanted := 0, map[string]string{}, map[string]bool{}
	for _, a := range w.crew {
		if a.dead {
			continue
		}
		live++
		for place := range a.has {
			if has[place] != "" {
				w.t.Errorf("in the end %s and %s both have %s", has[place], a.id, place)
			}
			has[place] = a.id
		}
		topics, regex := a.wants()
		for name, n := range w.cluster.partitions {
			r, _ := compileRegex(regex)
			if slices.Contains(topics, name) || regex != "" && r.pattern.MatchString(name) {
				for p := range n {
					wanted[w.cluster.place(w.cluster.id(name), p)] = true
				}
			}
		}
	}
	g := w.core.groups["g"]
	if live == 0 {
		return
	}
	if g == nil || g.state != Stable {
		w.t.Errorf("in the end the group is not stable: %+v", w.core.List(nil, nil))
		return
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(wanted)), slices.Sorted(maps.Keys(has))); d != "" {
		w.show()
		w.t.Errorf("in the end not all partitions have an owner: %s", d)
	}
}

// replays compares the state with that of a replay, also of the log without what
// later records replaced, and without tombstones.
func (w *storm) replays() {
	w.drain()
	if g := w.core.groups["g"]; g != nil && g.consumer == nil && g.state != Stable && g.state != Empty {
		return // a rebalance of a classic group is not in the log
	}
	for name, log := range map[string][]Record{"log": w.log, "compacted log": compacted(w.log)} {
		c := w.replay(log)
		if d := cmp.Diff(w.flat(w.core), w.flat(c)); d != "" {
			w.t.Errorf("the state differs from that of the %s: %s", name, d)
		}
		if was, is := state(w.core), state(c); !maps.Equal(was, is) {
			w.t.Errorf("the offsets differ from those of the %s: %v, %v", name, was, is)
		}
		if n := len(c.Take().Records); n != 0 {
			w.t.Errorf("after a replay of the %s, %d records are made", name, n)
		}
	}
}

func (w *storm) flat(c *Core) []string {
	g := c.groups["g"]
	switch {
	case g == nil || !g.persisted:
		return nil
	case g.consumer == nil:
		return flatMembers(g)
	}
	cg := g.consumer
	list := []string{fmt.Sprintf("%s epoch=%d assigned=%d at %v hash=%d held=%d", g.state, cg.epoch, cg.assignmentEpoch, cg.assignedAt, cg.hash, g.held)}
	for s, r := range cg.regexes {
		list = append(list, fmt.Sprintf("regex %s %v %d", s, r.topics, r.since))
	}
	for _, m := range cg.members {
		list = append(list, fmt.Sprintf("%s%s %v %v %v %q %q %v epoch=%d %d %d has=%v lets=%v target=%v", m.id, instance(m.instance), m.client, m.rebalanceTimeout, m.topics,
			m.regex, m.assignor, m.classic != nil, m.epoch, m.previous, m.state, w.cluster.places(nil, m.assigned), w.cluster.places(nil, m.revoking), w.cluster.places(m.target, nil)))
	}
	slices.Sort(list)
	return list
}
