package group

import (
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var seed = flag.Int64("seed", 0, "run TestRandom with this seed only")

// TestRandom lets clients that follow the protocol, and some that do not, loose
// on a Core: they join, sync, beat, commit, leave, die and come back, static or
// not, while time passes and the broker is killed now and then. What must hold is
// in world.check and in the answers: no partition has two owners in a generation.
// In the end all follow the protocol, and every group must become stable. One
// schedule in a hundred is long.
func TestRandom(t *testing.T) {
	schedules, events := 10_000, map[EventKind]int{}
	if testing.Short() {
		schedules = 1000
	}
	for s := int64(1); s <= int64(schedules); s++ {
		if *seed != 0 && s != *seed {
			continue
		}
		w := newWorld(t, s)
		steps := 40
		if s%100 == 0 {
			steps = 400
		}
		for range steps {
			w.step()
			if t.Failed() {
				t.Fatalf("replay with: go test ./internal/group -run TestRandom -seed %d", s)
			}
		}
		w.converge()
		w.finish()
		for _, id := range []string{"g0", "g1"} {
			list, _ := w.core.Timeline(id)
			for _, e := range list {
				events[e.Kind]++
			}
		}
		if t.Failed() {
			t.Fatalf("replay with: go test ./internal/group -run TestRandom -seed %d", s)
		}
	}
	if *seed == 0 {
		t.Logf("%d schedules; what the timelines tell of them: %v", schedules, events)
		seldom(t, events)
	}
}

// TestEqualInputs: the same schedule gives the same records, answers and events.
func TestEqualInputs(t *testing.T) {
	run := func(seed int64) ([]Record, []Event) {
		w := newWorld(t, seed)
		for range 300 {
			w.step()
		}
		events, _ := w.core.Timeline("g0")
		return w.log, events
	}
	for seed := int64(1); seed <= 20; seed++ {
		log, events := run(seed)
		log2, events2 := run(seed)
		if d := cmp.Diff(log, log2) + cmp.Diff(events, events2); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}

// seldom fails if the schedules did not come upon something that they should.
func seldom(t *testing.T, events map[EventKind]int) {
	for _, kind := range []EventKind{EventJoined, EventRejoined, EventReplaced, EventLeft, EventTimedOut, EventFenced,
		EventSubscriptionChanged, EventRebalanceBegan, EventLeaderElected, EventAssignmentComputed, EventStable,
		EventEmpty, EventRestarted, EventOffsetsDeleted, EventOffsetsExpired, EventGroupDeleted} {
		if events[kind] < 10 {
			t.Errorf("of all schedules only %d came upon %q", events[kind], kind)
		}
	}
}

// actor is one client process.
type actor struct {
	name     string
	group    string
	instance *string
	id       string
	gen      int32
	leads    []string // members to assign to, if it leads
	stable   bool     // has its assignment
	orderly  bool     // supports all protocols
	refused  bool     // there is no room for it
}

type asked struct {
	a    *actor
	join bool
	gen  int32
}

type world struct {
	t       *testing.T
	r       *rand.Rand
	cfg     Config
	core    *Core
	now     time.Time
	log     []Record
	ids     int
	tokens  Token
	asked   map[Token]asked
	actors  []*actor
	gens    map[string]int32            // the highest generation seen of a group, since its record was erased
	owners  map[string]string           // group/generation/partition → member
	offsets map[string]map[string]int64 // group → partition → offset, as acknowledged
	pending map[int64]map[spot]told     // by producer: what it has committed in its open transaction
	order   map[spot]int                // when the offset of a partition was sent
	sent    int
}

func newWorld(t *testing.T, seed int64) *world {
	w := &world{
		t: t, r: rand.New(rand.NewSource(seed)), now: time.UnixMilli(5_000_000),
		asked: map[Token]asked{}, gens: map[string]int32{}, owners: map[string]string{},
		offsets: map[string]map[string]int64{}, pending: map[int64]map[spot]told{}, order: map[spot]int{},
	}
	w.cfg = Config{
		InitialRebalanceDelay: time.Duration(w.r.Intn(2)) * 3 * time.Second,
		MaxSize:               2 + w.r.Intn(6),
		OffsetsRetention:      time.Duration(1+w.r.Intn(60)) * time.Minute,
		NewMemberID:           func(prefix string) string { w.ids++; return prefix + "-" + strconv.Itoa(w.ids) },
	}
	w.core = New(w.cfg)
	for i := range 8 {
		a := &actor{name: fmt.Sprintf("c%d", i), group: fmt.Sprintf("g%d", i%2), gen: -1}
		if i%3 == 0 {
			a.instance = kmsg.StringPtr(fmt.Sprintf("i%d", i%6/3))
		}
		w.actors = append(w.actors, a)
	}
	return w
}

func (w *world) step() {
	a := w.actors[w.r.Intn(len(w.actors))]
	switch n := w.r.Intn(100); {
	case n < 30:
		w.join(a)
	case n < 50:
		w.sync(a)
	case n < 65:
		w.heartbeat(a)
	case n < 70:
		w.commit(a)
	case n < 75:
		w.pend(a)
	case n < 80:
		w.leave(a)
	case n < 84:
		a.id, a.gen, a.stable, a.leads = "", -1, false, nil // the process starts again
	case n < 86:
		w.core.DropTopic(w.now, "t")
		w.drain()
		w.offsets, w.pending = map[string]map[string]int64{}, map[int64]map[spot]told{}
	case n < 88:
		w.restart()
	case n < 91:
		w.end(w.r.Int63n(int64(len(w.actors))), w.r.Intn(3) > 0)
	default:
		w.pass(time.Duration(w.r.Intn(12_000)) * time.Millisecond)
	}
	w.drain()
	w.checkGroups()
	if w.r.Intn(8) == 0 {
		w.check()
	}
}

func (w *world) ask(a *actor, join bool) Token {
	w.tokens++
	w.asked[w.tokens] = asked{a, join, a.gen}
	return w.tokens
}

func (w *world) join(a *actor) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version = int16(w.r.Intn(10))
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = a.group, a.id, a.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, int32(w.r.Intn(30_000))
	names := [][]string{{"range"}, {"range", "rr"}, {"rr", "range"}, {"rr"}}[w.r.Intn(4)]
	metadata := subscription([]string{"[t]", "[t+u]", "[t]", "none"}[w.r.Intn(4)])
	if a.orderly {
		names, metadata = []string{"range", "rr"}, subscription("[t]")
	}
	for _, name := range names {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, metadata
		req.Protocols = append(req.Protocols, p)
	}
	w.core.Join(w.now, w.ask(a, true), Client{a.name, "/h"}, req)
}

func (w *world) sync(a *actor) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = a.group, a.id, a.instance, a.gen
	for i, id := range a.leads {
		ra := kmsg.NewSyncGroupRequestGroupAssignment()
		ra.MemberID, ra.MemberAssignment = id, w.share(a.gen, i, len(a.leads))
		req.GroupAssignment = append(req.GroupAssignment, ra)
	}
	w.core.Sync(w.now, w.ask(a, false), req)
}

// share is what one of n members gets of topic t. The generation is in it as user
// data, so that one that is given out in another generation is seen.
func (w *world) share(gen int32, i, n int) []byte {
	as := kmsg.NewConsumerMemberAssignment()
	t := kmsg.NewConsumerMemberAssignmentTopic()
	t.Topic = "t"
	for p := int32(i); p < parts; p += int32(n) {
		t.Partitions = append(t.Partitions, p)
	}
	as.Topics, as.UserData = append(as.Topics, t), []byte(strconv.Itoa(int(gen)))
	return as.AppendTo(nil)
}

// parts is how many partitions topic t has.
const parts = 6

func (w *world) heartbeat(a *actor) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = a.group, a.id, a.instance, a.gen
	w.failed(a, w.core.Heartbeat(w.now, req).ErrorCode)
}

// failed is what a client does about an error.
func (w *world) failed(a *actor, code int16) {
	a.refused = a.refused || code == groupMaxSizeReached
	switch code {
	case unknownMemberID, fencedInstanceID, groupMaxSizeReached:
		a.id, a.gen, a.stable, a.leads = "", -1, false, nil
	case illegalGeneration, rebalanceInProgress:
		a.stable = false
	}
}

func (w *world) commit(a *actor) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 9, a.group, a.id, a.instance, a.gen
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = int32(w.r.Intn(3)), w.r.Int63n(1000)
	p.Metadata = kmsg.StringPtr(strings.Repeat("m", w.r.Intn(3)))
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = "t", append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := w.core.Commit(w.now, req, func(*kmsg.OffsetCommitRequestTopic, int32) int16 { return 0 })
	code := resp.Topics[0].Partitions[0].ErrorCode
	w.failed(a, code)
	if code == none {
		w.sent++
		w.committed(spot{a.group, place{"t", p.Partition}}, told{at: p.Offset, order: w.sent})
	}
}

func (w *world) committed(at spot, o told) {
	if w.offsets[at.group] == nil {
		w.offsets[at.group] = map[string]int64{}
	}
	w.offsets[at.group][strconv.Itoa(int(at.partition))] = o.at
	w.order[at] = o.order
}

// pend commits in the transaction of the actor's producer. Who names a generation must be
// a member of it.
func (w *world) pend(a *actor) {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.ProducerID = int64(slices.Index(w.actors, a))
	req.Group, req.MemberID, req.InstanceID, req.Generation = a.group, a.id, a.instance, a.gen
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = int32(w.r.Intn(3)), w.r.Int63n(1000)
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.Partitions = "t", append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := w.core.CommitTxn(w.now, req, topicID, func(string, int32) int16 { return 0 })
	code := resp.Topics[0].Partitions[0].ErrorCode
	w.failed(a, code)
	if code != none {
		return
	}
	if g := w.core.groups[a.group]; a.gen >= 0 && (g.generation != a.gen || g.byID[a.id] == nil) {
		w.t.Errorf("group %s: %s of generation %d commits in a transaction, the group is at %d", a.group, a.id, a.gen, g.generation)
	}
	w.sent++
	if w.pending[req.ProducerID] == nil {
		w.pending[req.ProducerID] = map[spot]told{}
	}
	w.pending[req.ProducerID][spot{a.group, place{"t", p.Partition}}] = told{at: p.Offset, order: w.sent}
}

func (w *world) end(producer int64, commit bool) {
	w.drain()
	for at, o := range w.pending[producer] {
		if _, has := w.offsets[at.group][strconv.Itoa(int(at.partition))]; commit && (!has || w.order[at] < o.order) {
			w.committed(at, o)
		}
	}
	delete(w.pending, producer)
	w.log = append(w.log, marker(producer, commit))
	w.core.EndTxn(w.now, producer, commit)
}

func (w *world) leave(a *actor) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 3, a.group
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = a.id, a.instance
	req.Members = append(req.Members, m)
	w.core.Leave(w.now, req)
	a.id, a.gen, a.stable, a.leads = "", -1, false, nil
}

func (w *world) pass(d time.Duration) { pass(w.t, &w.now, d, w.core, w.drain) }

// pass lets time go by, with all that falls due meanwhile. The core stays the same.
func pass(t *testing.T, now *time.Time, d time.Duration, core *Core, drain func()) {
	end := now.Add(d)
	for n := 0; ; n++ {
		at, ok := core.Deadline()
		if !ok || at.After(end) {
			break
		}
		if n > 1000 {
			t.Fatal("timers do not come to an end")
		}
		*now = at
		core.Tick(at)
		drain()
	}
	*now = end
}

// restart kills the broker: connections are lost, the log is there.
func (w *world) restart() {
	w.drain()
	clear(w.asked)
	w.core = New(w.cfg)
	for _, r := range w.log {
		if err := replayed(w.core, r); err != nil {
			w.t.Fatal(err)
		}
	}
	w.core.Ready(w.now)
	w.gens = map[string]int32{} // generations that never got an assignment may come again
	w.drain()
}

func (w *world) drain() {
	out := w.core.Take()
	w.log = append(w.log, out.Records...)
	for _, r := range out.Records {
		if e, err := decode(r.Key, r.Value); err != nil {
			w.t.Fatal(err)
		} else if !e.isOffset && e.value == nil {
			delete(w.gens, e.group)
			maps.DeleteFunc(w.owners, func(key, _ string) bool { return strings.HasPrefix(key, e.group+"/") })
		} else if e.isOffset && e.offset == nil {
			delete(w.offsets[e.group], strconv.Itoa(int(e.partition)))
			for _, pending := range w.pending {
				delete(pending, spot{e.group, place{e.topic, e.partition}})
			}
		}
	}
	for _, r := range out.Replies {
		q, ok := w.asked[r.Token]
		if !ok {
			w.t.Fatalf("token %d was answered twice", r.Token)
		}
		delete(w.asked, r.Token)
		switch resp := r.Response.(type) {
		case *kmsg.JoinGroupResponse:
			w.joined(q.a, resp)
		case *kmsg.SyncGroupResponse:
			w.synced(q, resp)
		}
	}
}

func (w *world) joined(a *actor, resp *kmsg.JoinGroupResponse) {
	if resp.ErrorCode == memberIDRequired {
		a.id = resp.MemberID
		return
	}
	if resp.ErrorCode != none {
		w.failed(a, resp.ErrorCode)
		return
	}
	if resp.Generation < w.gens[a.group] {
		w.t.Errorf("group %s: generation %d after %d", a.group, resp.Generation, w.gens[a.group])
	}
	w.gens[a.group] = resp.Generation
	a.id, a.gen, a.leads, a.stable = resp.MemberID, resp.Generation, nil, false
	if resp.LeaderID == resp.MemberID && !resp.SkipAssignment {
		for _, m := range resp.Members {
			a.leads = append(a.leads, m.MemberID)
		}
		if !slices.Contains(a.leads, a.id) {
			w.t.Errorf("group %s: the leader %s is not among its members %v", a.group, a.id, a.leads)
		}
	}
}

// synced checks that an assignment is of the generation that was asked for, and
// that no other member was ever given the same part of it.
func (w *world) synced(q asked, resp *kmsg.SyncGroupResponse) {
	if resp.ErrorCode != none {
		w.failed(q.a, resp.ErrorCode)
		return
	}
	if len(resp.MemberAssignment) == 0 {
		return
	}
	var as kmsg.ConsumerMemberAssignment
	if err := as.ReadFrom(resp.MemberAssignment); err != nil || len(as.Topics) != 1 {
		w.t.Fatalf("group %s: assignment %q: %v", q.a.group, resp.MemberAssignment, err)
	}
	gen := string(as.UserData)
	if gen != strconv.Itoa(int(q.gen)) {
		w.t.Errorf("group %s: assignment %q for generation %d", q.a.group, resp.MemberAssignment, q.gen)
	}
	owner := q.a.name
	if q.a.instance != nil {
		owner = *q.a.instance // its process may have been replaced, and inherits
	}
	for _, part := range as.Topics[0].Partitions {
		key := fmt.Sprintf("%s/%s/%d", q.a.group, gen, part)
		if w.owners[key] != "" && w.owners[key] != owner {
			w.t.Errorf("%s is owned by %s and by %s", key, w.owners[key], owner)
		}
		w.owners[key] = owner
	}
	q.a.stable = q.gen == q.a.gen
}

// check compares the Core with what replaying its records gives, with what was
// acknowledged, and with its own rules.
func (w *world) check() {
	w.t.Helper()
	other := New(w.cfg)
	for _, r := range w.log {
		if err := replayed(other, r); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, g := range w.core.sorted() {
		if !g.persisted && len(g.offsets) == 0 {
			continue
		}
		twin := other.groups[g.id]
		if twin == nil {
			w.t.Errorf("group %s is not in the log", g.id)
			continue
		}
		if d := cmp.Diff(flatOffsets(g), flatOffsets(twin)); d != "" {
			w.t.Errorf("group %s: offsets differ from the log's: %s", g.id, d)
		}
		if (g.state == Stable || g.state == Empty) && g.persisted {
			if d := cmp.Diff(flatMembers(g), flatMembers(twin)); d != "" {
				w.t.Errorf("group %s: members differ from the log's: %s", g.id, d)
			}
		}
	}
	for producer, pending := range w.pending {
		for at, o := range pending {
			for _, c := range []*Core{w.core, other} {
				if g := c.groups[at.group]; g == nil || g.pendingOf(producer, at.place) == nil || g.pendingOf(producer, at.place).at != o.at {
					w.t.Errorf("group %s: offset %d of partition %d, pending of producer %d, is gone", at.group, o.at, at.partition, producer)
				}
			}
		}
	}
	for id, offsets := range w.offsets {
		for partition, at := range offsets {
			n, _ := strconv.Atoi(partition)
			g := w.core.groups[id]
			if g == nil || g.offsets["t"][int32(n)] == nil || g.offsets["t"][int32(n)].at != at {
				w.t.Errorf("group %s: offset %d of partition %d is gone", id, at, n)
			}
		}
	}
}

// checkGroups checks every group for itself, and what is counted over all.
func (w *world) checkGroups() {
	held := int64(0)
	for _, g := range w.core.sorted() {
		w.checkGroup(g)
		held += g.held
	}
	held += int64(len(w.core.txns)) * transactionBytes
	if held != w.core.Held() {
		w.t.Errorf("%d bytes are counted, the groups hold %d", w.core.Held(), held)
	}
}

func (w *world) checkGroup(g *group) {
	fail := func(format string, args ...any) {
		w.t.Errorf("group %s: %s", g.id, fmt.Sprintf(format, args...))
	}
	if len(g.byID) != len(g.members) {
		fail("%d members, %d ids", len(g.members), len(g.byID))
	}
	if (len(g.members) == 0) != (g.leader == "") || g.leader != "" && g.byID[g.leader] == nil {
		fail("leader %q of %d members", g.leader, len(g.members))
	}
	if g.state == Empty && len(g.members) > 0 || (g.state == Stable || g.state == CompletingRebalance) && len(g.members) == 0 {
		fail("%s with %d members", g.state, len(g.members))
	}
	support, held := map[string]int{}, int64(0)
	for id := range g.pending {
		held += pendingBytes(id)
	}
	notes := int64(0)
	for _, partitions := range g.offsets {
		for _, o := range partitions {
			notes += int64(len(o.metadata))
		}
	}
	if held += notes; notes != g.notes {
		fail("%d bytes of metadata are counted, the offsets have %d", g.notes, notes)
	}
	if g.owned != nil {
		held += g.owned.bytes
		if g.state == Stable || g.state == Empty {
			fail("%s, and what was owned before is kept", g.state)
		}
	}
	for _, m := range g.members {
		held += m.size()
		for _, p := range m.protocols {
			support[p.name]++
		}
		if m.instance != nil && g.static[*m.instance] != m.id {
			fail("instance %s has id %s, member %s", *m.instance, g.static[*m.instance], m.id)
		}
		if m.join != nil && g.state != PreparingRebalance || m.sync != nil && g.state != CompletingRebalance {
			fail("%s: member %s waits (join %v, sync %v)", g.state, m.id, m.join != nil, m.sync != nil)
		}
		if !m.session.armed() && m.join == nil && m.sync == nil {
			fail("%s: nobody watches member %s", g.state, m.id)
		}
	}
	for topic, partitions := range g.unstable {
		for _, producers := range partitions {
			for _, o := range producers {
				held += heldPending(topic, o)
			}
		}
	}
	if held != g.held {
		fail("%d bytes are counted, it holds %d", g.held, held)
	}
	if !maps.Equal(support, g.support) {
		fail("support %v, counted %v", support, g.support)
	}
	if len(g.members) > 0 && !slices.Contains(slices.Collect(maps.Values(support)), len(g.members)) {
		fail("no protocol that all support: %v", support)
	}
	if g.state == PreparingRebalance != g.joinTimer.armed() || len(g.offsets) > 0 && g.state == Empty && !g.expiry.armed() && !g.kept {
		fail("%s: join timer %v, expiry %v", g.state, g.joinTimer.armed(), g.expiry.armed())
	}
}

func flatOffsets(g *group) map[string]string {
	flat := map[string]string{}
	for topic, partitions := range g.offsets {
		for partition, o := range partitions {
			flat[fmt.Sprintf("%s/%d", topic, partition)] = fmt.Sprintf("%+v", *o)
		}
	}
	return flat
}

func flatMembers(g *group) []string {
	flat := []string{fmt.Sprintf("%s gen=%d type=%s protocol=%s leader=%s since=%d", g.state, g.generation, g.protocolType,
		g.protocol, g.leader, g.since.UnixMilli())}
	for _, m := range g.members {
		flat = append(flat, fmt.Sprintf("%s%s %v %v %v %q %q", m.id, instance(m.instance), m.client,
			m.sessionTimeout, m.rebalanceTimeout, m.metadata(g.protocol), m.assignment))
	}
	return flat
}

// converge has all processes follow the protocol, but for the second one of an
// instance, which dies. Then every group becomes stable, and each partition has one
// owner.
func (w *world) converge() {
	for i, a := range w.actors {
		a.orderly = i != 6
	}
	for range 50 {
		for _, a := range w.actors {
			if a.orderly {
				w.follow(a)
				w.drain()
			}
		}
		w.pass(3 * time.Second)
		w.drain()
	}
	w.check()
	owners := map[string]int{}
	for _, a := range w.actors {
		if a.orderly && !a.refused && !a.stable {
			w.t.Errorf("%s of group %s has no assignment in the end", a.name, a.group)
		}
		if g := w.core.groups[a.group]; a.orderly && a.refused && len(g.members) < w.cfg.MaxSize {
			w.t.Errorf("%s was refused by group %s with %d members", a.name, a.group, len(g.members))
		}
	}
	for _, g := range w.core.sorted() {
		if g.state != Stable {
			w.t.Errorf("group %s is %s in the end, with %d members", g.id, g.state, len(g.members))
		}
		for _, m := range g.members {
			r := readTopics(m.assignment)
			r.topic()
			for b := r.partitions(); len(b) >= 4; b = b[4:] {
				owners[fmt.Sprintf("%s/%d", g.id, b[3])]++
			}
		}
		for p := range parts {
			if n := owners[fmt.Sprintf("%s/%d", g.id, p)]; n != 1 {
				w.t.Errorf("partition %d of group %s has %d owners in the end", p, g.id, n)
			}
		}
	}
}

// follow does what a client does next.
func (w *world) follow(a *actor) {
	for _, q := range w.asked {
		if q.a == a {
			return // it waits
		}
	}
	a.refused = false
	switch {
	case a.stable:
		w.heartbeat(a)
	case a.gen >= 0 && w.core.groups[a.group] != nil && w.core.groups[a.group].state != PreparingRebalance &&
		w.core.groups[a.group].generation == a.gen:
		w.sync(a)
	default:
		w.join(a)
	}
}

// finish lets time run until nothing waits: by then all must have been answered.
func (w *world) finish() {
	w.pass(10 * time.Minute)
	w.drain()
	for producer := range int64(len(w.actors)) {
		w.end(producer, producer%2 == 0)
	}
	w.check()
	for tok, q := range w.asked {
		w.t.Errorf("token %d of %s (join %v) was never answered", tok, q.a.name, q.join)
	}
	w.pass(2 * time.Hour)
	w.drain()
	if n := w.core.Len(); n != 0 {
		w.t.Errorf("%d groups are left in the end: %v", n, w.core.List(nil, nil))
	}
	if _, ok := w.core.Deadline(); ok {
		w.t.Error("a timer is left in the end")
	}
	checkHistory(w.t, w.core)
	// What is not aborted ends with a tombstone.
	for _, r := range compacted(w.log) {
		w.t.Errorf("the log still holds %s", describeRecord(r))
	}
}
