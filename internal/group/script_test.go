package group

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata print into them")

// TestScripts runs testdata/*.txt. A script is made of blocks: comments that
// begin with '#', commands, a line "----", and what the commands print. The
// commands are the methods of script; a name in capitals is a client, which
// remembers its group, member id and generation.
func TestScripts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) < 25 {
		t.Fatalf("%d scripts in testdata, want at least 25 (%v)", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(src))
			if *rewrite {
				if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(src) {
				t.Errorf("%s prints something else (see with -rewrite):\n%s", name, diff(string(src), got))
			}
		})
	}
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

func runScript(t *testing.T, src string) string {
	s := &script{t: t, clients: map[string]*client{}, parked: map[Token]string{}, now: time.UnixMilli(1_000_000)}
	s.start()
	var out strings.Builder
	inOutput := false
	for in := bufio.NewScanner(strings.NewReader(src)); in.Scan(); {
		line := in.Text()
		switch {
		case line == "":
			inOutput = false
			out.WriteString("\n")
		case inOutput:
		case line == "----":
			inOutput = true
			out.WriteString(line + "\n" + s.out.String())
			s.out.Reset()
		default:
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				s.do(strings.Fields(line))
			}
		}
	}
	return out.String()
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

type script struct {
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
	out     strings.Builder
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *script) start() {
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

// args are the words of a command, key=value apart.
type args struct {
	words []string
	opt   map[string]string
}

func (a args) has(key string) bool { _, ok := a.opt[key]; return ok }

func (a args) str(key, def string) string {
	if v, ok := a.opt[key]; ok {
		return v
	}
	return def
}

// reason is what a client gives as its reason (KIP-800).
func (a args) reason() *string {
	if !a.has("reason") {
		return nil
	}
	return kmsg.StringPtr(a.opt["reason"])
}

func (a args) num(key string, def int) int {
	n, err := strconv.Atoi(a.str(key, strconv.Itoa(def)))
	if err != nil {
		panic(err)
	}
	return n
}

func (a args) ms(key, def string) int32 {
	d, err := time.ParseDuration(a.str(key, def))
	if err != nil {
		panic(err)
	}
	return int32(d.Milliseconds())
}

func (s *script) do(words []string) {
	a := args{opt: map[string]string{}}
	for _, w := range words[1:] {
		// A word such as topic/0=5 is no option.
		if k, v, ok := strings.Cut(w, "="); ok && !strings.Contains(k, "/") {
			a.opt[k] = v
		} else {
			a.words = append(a.words, w)
		}
	}
	commands := map[string]func(args){
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

func (s *script) config(a args) {
	s.cfg.InitialRebalanceDelay = time.Duration(a.ms("delay", "0s")) * time.Millisecond
	s.cfg.MaxSize = a.num("max-size", 0)
	s.cfg.MaxRecord = a.num("max-record", 0)
	s.cfg.MaxOffsetMetadata = a.num("max-metadata", 0)
	s.cfg.OffsetsRetention = time.Duration(a.ms("retention", "0s")) * time.Millisecond
	s.start()
}

func (s *script) client(name string) *client {
	if s.clients[name] == nil {
		s.clients[name] = &client{name: name, generation: -1}
	}
	return s.clients[name]
}

// join A [group] [session=] [rebalance=] [protocols=range:meta,…] [type=]
// [instance=] [id=] [v=]
func (s *script) join(a args) {
	cl := s.client(a.words[0])
	if len(a.words) > 1 {
		cl.group = strings.Trim(a.words[1], `"`)
	}
	if a.has("instance") {
		cl.instance = kmsg.StringPtr(a.opt["instance"])
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version = int16(a.num("v", 9))
	req.Group, req.MemberID, req.InstanceID = cl.group, a.str("id", cl.id), cl.instance
	req.Reason = a.reason()
	cl.asks = wish{
		a.str("protocols", cmp.Or(cl.said.protocols, "range:"+cl.name)), a.str("type", cmp.Or(cl.said.kind, "consumer")),
		a.str("session", cmp.Or(cl.said.session, "10s")), a.str("rebalance", cmp.Or(cl.said.rebalance, "60s")),
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = a.ms("session", cl.asks.session), a.ms("rebalance", cl.asks.rebalance)
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
func (s *script) sync(a args) {
	cl := s.client(a.words[0])
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version = int16(a.num("v", 5))
	req.Group, req.MemberID, req.InstanceID = cl.group, a.str("id", cl.id), cl.instance
	req.Generation = int32(a.num("gen", int(cl.generation)))
	if a.has("type") {
		req.ProtocolType = kmsg.StringPtr(a.opt["type"])
	}
	if a.has("protocol") {
		req.Protocol = kmsg.StringPtr(a.opt["protocol"])
	}
	for _, p := range strings.Split(a.str("assign", ""), ",") {
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

func (s *script) heartbeat(a args) {
	cl := s.client(a.words[0])
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID = a.str("group", cl.group), a.str("id", cl.id), cl.instance
	req.Generation = int32(a.num("gen", int(cl.generation)))
	resp := s.core.Heartbeat(s.now, req)
	s.printf("%s heartbeat: %s", cl.name, code(resp.ErrorCode))
}

// leave A B … [v=] [group=]; instance:x is a static member by its instance
func (s *script) leave(a args) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version = int16(a.num("v", 5))
	for _, name := range a.words {
		rm := kmsg.NewLeaveGroupRequestMember()
		rm.Reason = a.reason()
		if instance, ok := strings.CutPrefix(name, "instance:"); ok {
			rm.InstanceID = &instance
		} else {
			cl := s.client(name)
			rm.MemberID, rm.InstanceID, req.Group, req.MemberID = cl.id, cl.instance, cl.group, cl.id
		}
		req.Members = append(req.Members, rm)
	}
	req.Group = strings.Trim(a.str("group", req.Group), `"`)
	resp := s.core.Leave(s.now, req)
	s.printf("leave: %s", code(resp.ErrorCode))
	for i, m := range resp.Members {
		s.printf("  %s: %s", a.words[i], code(m.ErrorCode))
	}
}

// commit A|- topic/0=5 … [group=] [gen=] [id=] [meta=|meta-len=] [keep=] [v=]
func (s *script) commit(a args) {
	cl := s.client(a.words[0])
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version = int16(a.num("v", 9))
	req.Group, req.MemberID, req.InstanceID = a.str("group", cl.group), a.str("id", cl.id), cl.instance
	req.Generation = int32(a.num("gen", int(cl.generation)))
	req.RetentionTimeMillis = -1
	if a.has("keep") {
		req.RetentionTimeMillis = int64(a.ms("keep", "0s"))
	}
	for _, w := range a.words[1:] {
		tp, at, _ := strings.Cut(w, "=")
		topic, partition := cutPlace(tp)
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(atoi(partition)), int64(atoi(at))
		if a.has("meta") {
			p.Metadata = kmsg.StringPtr(a.opt["meta"])
		}
		if n := a.num("meta-len", 0); n > 0 {
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
func (s *script) unknown(a args) {
	s.noParts = map[string]bool{}
	for _, w := range a.words {
		s.noParts[w] = true
	}
}

// fetch group topic/0 … | fetch group *
func (s *script) fetch(a args) {
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = a.words[0]
	for _, w := range a.words[1:] {
		if w == "*" {
			continue
		}
		topic, partition := cutPlace(w)
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = topic, []int32{int32(atoi(partition))}
		req.Topics = append(req.Topics, t)
	}
	resp := s.core.Fetch(&req, a.has("stable"))
	s.printf("fetch %s: %s", resp.Group, code(resp.ErrorCode))
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			s.printf("  %s/%d = %d epoch=%d meta=%q %s", t.Topic, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata, code(p.ErrorCode))
		}
	}
}

func (s *script) describe(a args) {
	g := s.core.Describe(int16(a.num("v", 6)), a.words[0])
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
func (s *script) list(a args) {
	words := func(key string) []string {
		var list []string
		for w := range strings.SplitSeq(a.str(key, ""), ",") {
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
func (s *script) tick(a args) {
	d, err := time.ParseDuration(a.words[0])
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
func (s *script) restart(a args) {
	if len(a.words) > 0 {
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

func (s *script) dropTopic(a args) { s.core.DropTopic(s.now, a.words[0]) }

func (s *script) full(a args) { s.core.SetFull(a.words[0] == "yes") }

// record key value: bytes in Go's notation that the log holds from elsewhere
func (s *script) putRecord(a args) {
	unquote := func(w string) []byte {
		v, err := strconv.Unquote(`"` + w + `"`)
		if err != nil {
			panic(err)
		}
		return []byte(v)
	}
	r := Record{Key: unquote(a.words[0])}
	if len(a.words) > 1 {
		r.Value = unquote(a.words[1])
	}
	s.log = append(s.log, r)
}

// drain prints what a step has put out.
func (s *script) drain() {
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

func (s *script) joined(cl *client, resp *kmsg.JoinGroupResponse) {
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
