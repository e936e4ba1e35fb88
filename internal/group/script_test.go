package group

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/script"
)

// TestScripts runs testdata/*.txt (see package script). The commands are the methods of
// stage; a name in capitals is a client, which
// remembers its group, member id and generation.
func TestScripts(t *testing.T) {
	script.Run(t, 25, func(t *testing.T, out *strings.Builder) func(words []string) {
		s := &stage{t: t, out: out, clients: map[string]*client{}, parked: map[Token]string{}, now: time.UnixMilli(1_000_000)}
		s.start()
		return s.do
	})
}

// client is what a client of the script knows.
type client struct {
	name, group, id string
	generation      int32
	instance        *string
	asks, said      wish            // in its last join, and in the last one that was not refused
	has             map[string]bool // partitions that a consumer group gave it
}

// wish is what a client joins with; what a join of a script leaves out is as the
// client said it before.
type wish struct{ protocols, kind, session, rebalance string }

type stage struct {
	t       *testing.T
	cfg     Config
	core    *Core
	now     time.Time
	log     []Record
	clients map[string]*client
	parked  map[Token]string // "A join"
	tokens  Token
	ids     int
	noParts map[string]bool // partitions that do not exist
	topics  *testCluster
	out     *strings.Builder
}

func (s *stage) printf(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *stage) start() {
	s.cfg.NewMemberID = func(prefix string) string {
		s.ids++
		return prefix + "-" + strconv.Itoa(s.ids)
	}
	s.core = New(s.cfg)
	if s.topics == nil {
		s.topics = &testCluster{}
	}
	s.core.SetCluster(s.now, s.topics, nil)
}

// reason is what a client gives as its reason (KIP-800).
func reason(a script.Args) *string {
	if !a.Has("reason") {
		return nil
	}
	return kmsg.StringPtr(a.Options["reason"])
}

func ms(a script.Args, key, def string) int32 {
	d, err := time.ParseDuration(a.Str(key, def))
	if err != nil {
		panic(err)
	}
	return int32(d.Milliseconds())
}

func (s *stage) do(words []string) {
	a := script.Parse(words[1:])
	commands := map[string]func(script.Args){
		"config": s.config, "join": s.join, "sync": s.sync, "heartbeat": s.heartbeat, "leave": s.leave,
		"commit": s.commit, "fetch": s.fetch, "describe": s.describe, "list": s.list, "tick": s.tick,
		"restart": s.restart, "drop-topic": s.dropTopic, "full": s.full, "record": s.putRecord, "unknown": s.unknown,
		"delete-group": s.deleteGroup, "delete-offsets": s.deleteOffsets, "timeline": s.timeline,
	}
	maps.Copy(commands, s.consumerCommands())
	maps.Copy(commands, s.pendingCommands())
	f := commands[words[0]]
	if f == nil {
		s.t.Fatalf("unknown command %q", words[0])
	}
	f(a)
	s.drain()
}

func (s *stage) config(a script.Args) {
	s.cfg.InitialRebalanceDelay = time.Duration(ms(a, "delay", "0s")) * time.Millisecond
	s.cfg.MaxSize = a.Num("max-size", 0)
	s.cfg.MaxRecord = a.Num("max-record", 0)
	s.cfg.MaxOffsetMetadata = a.Num("max-metadata", 0)
	s.cfg.OffsetsRetention = time.Duration(ms(a, "retention", "0s")) * time.Millisecond
	s.start()
}

func (s *stage) client(name string) *client {
	if s.clients[name] == nil {
		s.clients[name] = &client{name: name, generation: -1}
	}
	return s.clients[name]
}

// join A [group] [session=] [rebalance=] [protocols=range:meta,…] [type=]
// [instance=] [id=] [v=]
func (s *stage) join(a script.Args) {
	cl := s.client(a.Words[0])
	if len(a.Words) > 1 {
		cl.group = strings.Trim(a.Words[1], `"`)
	}
	if a.Has("instance") {
		cl.instance = kmsg.StringPtr(a.Options["instance"])
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version = int16(a.Num("v", 9))
	req.Group, req.MemberID, req.InstanceID = cl.group, a.Str("id", cl.id), cl.instance
	req.Reason = reason(a)
	cl.asks = wish{
		a.Str("protocols", cmp.Or(cl.said.protocols, "range:"+cl.name)), a.Str("type", cmp.Or(cl.said.kind, "consumer")),
		a.Str("session", cmp.Or(cl.said.session, "10s")), a.Str("rebalance", cmp.Or(cl.said.rebalance, "60s")),
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = ms(a, "session", cl.asks.session), ms(a, "rebalance", cl.asks.rebalance)
	req.ProtocolType = cl.asks.kind
	for _, p := range strings.Split(cl.asks.protocols, ",") {
		if p == "" {
			continue
		}
		rp := kmsg.NewJoinGroupRequestProtocol()
		name, meta, _ := strings.Cut(p, ":")
		rp.Name, rp.Metadata = name, subscription(meta)
		req.Protocols = append(req.Protocols, rp)
	}
	s.tokens++
	s.parked[s.tokens] = cl.name + " join"
	s.core.Join(s.now, s.tokens, Client{cl.name, "/127.0.0.1"}, req)
}

// sync A [assign=A:x,B:y] [gen=] [id=] [type=] [protocol=] [v=]
func (s *stage) sync(a script.Args) {
	cl := s.client(a.Words[0])
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version = int16(a.Num("v", 5))
	req.Group, req.MemberID, req.InstanceID = cl.group, a.Str("id", cl.id), cl.instance
	req.Generation = int32(a.Num("gen", int(cl.generation)))
	if a.Has("type") {
		req.ProtocolType = kmsg.StringPtr(a.Options["type"])
	}
	if a.Has("protocol") {
		req.Protocol = kmsg.StringPtr(a.Options["protocol"])
	}
	for _, p := range strings.Split(a.Str("assign", ""), ",") {
		if name, what, ok := strings.Cut(p, ":"); ok {
			ra := kmsg.NewSyncGroupRequestGroupAssignment()
			ra.MemberID, ra.MemberAssignment = s.client(name).id, assignment(what)
			req.GroupAssignment = append(req.GroupAssignment, ra)
		}
	}
	s.tokens++
	s.parked[s.tokens] = cl.name + " sync"
	s.core.Sync(s.now, s.tokens, req)
}

func (s *stage) heartbeat(a script.Args) {
	cl := s.client(a.Words[0])
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID = a.Str("group", cl.group), a.Str("id", cl.id), cl.instance
	req.Generation = int32(a.Num("gen", int(cl.generation)))
	resp := s.core.Heartbeat(s.now, req)
	s.printf("%s heartbeat: %s", cl.name, code(resp.ErrorCode))
}

// leave A B … [v=] [group=]; instance:x is a static member by its instance
func (s *stage) leave(a script.Args) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version = int16(a.Num("v", 5))
	for _, name := range a.Words {
		rm := kmsg.NewLeaveGroupRequestMember()
		rm.Reason = reason(a)
		if instance, ok := strings.CutPrefix(name, "instance:"); ok {
			rm.InstanceID = &instance
		} else {
			cl := s.client(name)
			rm.MemberID, rm.InstanceID, req.Group, req.MemberID = cl.id, cl.instance, cl.group, cl.id
		}
		req.Members = append(req.Members, rm)
	}
	req.Group = strings.Trim(a.Str("group", req.Group), `"`)
	resp := s.core.Leave(s.now, req)
	s.printf("leave: %s", code(resp.ErrorCode))
	for i, m := range resp.Members {
		s.printf("  %s: %s", a.Words[i], code(m.ErrorCode))
	}
}

// commit A|- topic/0=5 … [group=] [gen=] [id=] [meta=|meta-len=] [keep=] [v=]
func (s *stage) commit(a script.Args) {
	cl := s.client(a.Words[0])
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version = int16(a.Num("v", 9))
	req.Group, req.MemberID, req.InstanceID = a.Str("group", cl.group), a.Str("id", cl.id), cl.instance
	req.Generation = int32(a.Num("gen", int(cl.generation)))
	req.RetentionTimeMillis = -1
	if a.Has("keep") {
		req.RetentionTimeMillis = int64(ms(a, "keep", "0s"))
	}
	for _, w := range a.Words[1:] {
		tp, at, _ := strings.Cut(w, "=")
		topic, partition := cutPlace(tp)
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(atoi(partition)), int64(atoi(at))
		if a.Has("meta") {
			p.Metadata = kmsg.StringPtr(a.Options["meta"])
		}
		if n := a.Num("meta-len", 0); n > 0 {
			p.Metadata = kmsg.StringPtr(strings.Repeat("m", n))
		}
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID, t.Partitions = topic, topicID(topic), append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	resp := s.core.Commit(s.now, req, func(t *kmsg.OffsetCommitRequestTopic, partition int32) int16 {
		if s.noParts[fmt.Sprintf("%s/%d", t.Topic, partition)] {
			return kerr.UnknownTopicOrPartition.Code
		}
		return 0
	})
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			s.printf("%s commit %s/%d: %s", cl.name, t.Topic, p.Partition, code(p.ErrorCode))
		}
	}
}

// cutPlace reads topic/0.
func cutPlace(w string) (topic, partition string) {
	i := strings.LastIndexByte(w, '/')
	return w[:i], w[i+1:]
}

func topicID(name string) (id [16]byte) { copy(id[:], name); return id }

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// unknown topic/0 …: these partitions do not exist
func (s *stage) unknown(a script.Args) {
	s.noParts = map[string]bool{}
	for _, w := range a.Words {
		s.noParts[w] = true
	}
}

// fetch group topic/0 … | fetch group *
func (s *stage) fetch(a script.Args) {
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = a.Words[0]
	for _, w := range a.Words[1:] {
		if w == "*" {
			continue
		}
		topic, partition := cutPlace(w)
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = topic, []int32{int32(atoi(partition))}
		req.Topics = append(req.Topics, t)
	}
	resp := s.core.Fetch(&req, a.Has("stable"))
	s.printf("fetch %s: %s", resp.Group, code(resp.ErrorCode))
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			s.printf("  %s/%d = %d epoch=%d meta=%q %s", t.Topic, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata, code(p.ErrorCode))
		}
	}
}

func (s *stage) describe(a script.Args) {
	g := s.core.Describe(int16(a.Num("v", 6)), a.Words[0])
	s.printf("%s: %s %s type=%q protocol=%q", g.Group, code(g.ErrorCode), g.State, g.ProtocolType, g.Protocol)
	for _, m := range g.Members {
		s.printf("  %s%s client=%s host=%s metadata=%q assignment=%q",
			m.MemberID, instance(m.InstanceID), m.ClientID, m.ClientHost, words(m.ProtocolMetadata), words(m.MemberAssignment))
	}
}

func instance(id *string) string {
	if id == nil {
		return ""
	}
	return "(" + *id + ")"
}

// list [states=Empty,Stable] [types=classic]: '_' stands for a blank, '-' for a word
// without letters
func (s *stage) list(a script.Args) {
	words := func(key string) []string {
		var list []string
		for w := range strings.SplitSeq(a.Str(key, ""), ",") {
			if w != "" {
				list = append(list, strings.NewReplacer("_", " ", "-", "").Replace(w))
			}
		}
		return list
	}
	s.printf("%d groups", s.core.Len())
	for _, g := range s.core.List(StateFilter(words("states")), TypeFilter(words("types"))) {
		s.printf("  %s %s %s %q", g.Group, g.GroupState, g.GroupType, g.ProtocolType)
	}
}

// tick 10s: time passes, and what becomes due on the way is done when it is
func (s *stage) tick(a script.Args) {
	d, err := time.ParseDuration(a.Words[0])
	if err != nil {
		panic(err)
	}
	end := s.now.Add(d)
	start := s.now
	for {
		at, ok := s.core.Deadline()
		if !ok || at.After(end) {
			break
		}
		s.now = at
		s.printf("+%v", at.Sub(start))
		s.core.Tick(at)
		s.drain()
	}
	s.now = end
}

// restart [a/3 b/2 …]: the broker was killed; what it had said is in the log. It had not
// told its core yet that these are the topics.
func (s *stage) restart(a script.Args) {
	if len(a.Words) > 0 {
		s.alterTopics(a)
	}
	for _, tok := range slices.Sorted(func(yield func(Token) bool) {
		for tok := range s.parked {
			if !yield(tok) {
				return
			}
		}
	}) {
		s.printf("%s: connection lost", s.parked[tok])
	}
	clear(s.parked)
	s.core = New(s.cfg)
	s.core.SetCluster(s.now, s.topics, nil)
	for _, r := range s.log {
		if err := replayed(s.core, r); err != nil {
			s.printf("replay: %v", err)
		}
	}
	s.core.Ready(s.now)
}

func (s *stage) dropTopic(a script.Args) { s.core.DropTopic(s.now, a.Words[0]) }

func (s *stage) full(a script.Args) { s.core.SetFull(a.Words[0] == "yes") }

// record key value: bytes in Go's notation that the log holds from elsewhere
func (s *stage) putRecord(a script.Args) {
	unquote := func(w string) []byte {
		v, err := strconv.Unquote(`"` + w + `"`)
		if err != nil {
			panic(err)
		}
		return []byte(v)
	}
	r := Record{Key: unquote(a.Words[0])}
	if len(a.Words) > 1 {
		r.Value = unquote(a.Words[1])
	}
	s.log = append(s.log, r)
}

// drain prints what a step has put out.
func (s *stage) drain() {
	out := s.core.Take()
	s.log = append(s.log, out.Records...)
	for _, r := range out.Records {
		s.printf("  log %s%s", describeRecord(r), describeTxn(r))
	}
	for _, r := range out.Replies {
		name, ok := s.parked[r.Token]
		if !ok {
			s.t.Errorf("token %d answered twice", r.Token)
		}
		delete(s.parked, r.Token)
		cl := s.client(strings.Fields(name)[0])
		switch resp := r.Response.(type) {
		case *kmsg.JoinGroupResponse:
			s.joined(cl, resp)
		case *kmsg.SyncGroupResponse:
			s.printf("%s sync: %s %q", cl.name, code(resp.ErrorCode), words(resp.MemberAssignment))
		}
	}
}

func (s *stage) joined(cl *client, resp *kmsg.JoinGroupResponse) {
	if resp.ErrorCode != 0 {
		if resp.ErrorCode == memberIDRequired {
			cl.id, cl.said = resp.MemberID, cl.asks
		}
		s.printf("%s join: %s id=%s", cl.name, code(resp.ErrorCode), resp.MemberID)
		return
	}
	cl.id, cl.generation, cl.said = resp.MemberID, resp.Generation, cl.asks
	var members []string
	for _, m := range resp.Members {
		members = append(members, fmt.Sprintf("%s%s:%s", m.MemberID, instance(m.InstanceID), words(m.ProtocolMetadata)))
	}
	skip := ""
	if resp.SkipAssignment {
		skip = " skip-assignment"
	}
	s.printf("%s join: ok id=%s gen=%d protocol=%s leader=%s members=%v%s",
		cl.name, resp.MemberID, resp.Generation, *resp.Protocol, resp.LeaderID, members, skip)
}

func code(c int16) string {
	if c == 0 {
		return "ok"
	}
	var e *kerr.Error
	if errors.As(kerr.ErrorForCode(c), &e) {
		return e.Message
	}
	return strconv.Itoa(int(c))
}

func describeTxn(r Record) string {
	if r.Txn == nil {
		return ""
	}
	return fmt.Sprintf(" in the transaction of producer %d, epoch %d", r.Txn.ID, r.Txn.Epoch)
}

func describeRecord(r Record) string {
	e, err := decode(r.Key, r.Value)
	switch {
	case err != nil:
		return err.Error()
	case e.isOffset && e.offset == nil:
		return fmt.Sprintf("offset %s %s/%d: tombstone", e.group, e.topic, e.partition)
	case e.isOffset:
		expires := ""
		if e.offset.expires >= 0 {
			expires = fmt.Sprintf(" expires=+%v", time.Duration(e.offset.expires-e.offset.time)*time.Millisecond)
		}
		return fmt.Sprintf("offset %s %s/%d = %d%s", e.group, e.topic, e.partition, e.offset.at, expires)
	case e.consumer != nil:
		return describeConsumerRecord(e.group, e.consumer)
	case e.value == nil:
		return fmt.Sprintf("group %s: tombstone", e.group)
	}
	var members []string
	for _, m := range e.value.Members {
		members = append(members, fmt.Sprintf("%s%s:%s=%s", m.MemberID, instance(m.InstanceID), words(m.Subscription), words(m.Assignment)))
	}
	return fmt.Sprintf("group %s: gen=%d %v", e.group, e.value.Generation, members)
}
