package txn

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/script"
)

// TestScripts runs testdata/*.txt (see package script). The commands are the methods of
// stage; a name in capitals is a producer, which
// remembers its transactional id, producer id and epoch.
func TestScripts(t *testing.T) {
	script.Run(t, 12, func(t *testing.T, out *strings.Builder) func(words []string) {
		s := &stage{t: t, out: out, producers: map[string]*producer{}, now: time.UnixMilli(1_000_000), topics: map[string]byte{}}
		s.start()
		return s.do
	})
}

// producer is what a producer of the script knows.
type producer struct {
	id    string
	pid   int64
	epoch int16
}

type stage struct {
	t         *testing.T
	cfg       Config
	core      *Core
	now       time.Time
	log       []Record
	producers map[string]*producer
	pids      int64
	topics    map[string]byte // ids of topics that were made anew
	out       *strings.Builder
}

func (s *stage) printf(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *stage) start() {
	s.cfg.NewProducerID = func() int64 {
		s.pids++
		return 1000 + s.pids
	}
	s.core = New(s.cfg)
}

func (s *stage) topicID(name string) [16]byte { return [16]byte{1, s.topics[name]} }

func (s *stage) do(words []string) {
	a := script.Parse(words[1:])
	commands := map[string]func(script.Args){
		"config": s.config, "init": s.init, "add": s.add, "verify": s.verify, "commit": s.commit, "abort": s.abort,
		"describe": s.describe, "list": s.list, "tick": s.tick, "restart": s.restart, "record": s.record,
		"recreate": s.recreate, "set-epoch": s.setEpoch,
	}
	f := commands[words[0]]
	if f == nil {
		s.t.Fatalf("unknown command %q", words[0])
	}
	f(a)
	s.drain()
}

func (s *stage) config(a script.Args) {
	s.cfg.MaxIDs, s.cfg.MaxPartitions, s.cfg.MaxRecord = a.Num("max-ids", 0), a.Num("max-partitions", 0), a.Num("max-record", 0)
	s.cfg.IDExpiration, s.cfg.MaxTick = a.Duration("expiration", "0s"), a.Num("max-tick", 0)
	s.start()
}

func (s *stage) producer(name string) *producer {
	if s.producers[name] == nil {
		s.producers[name] = &producer{pid: -1, epoch: -1}
	}
	return s.producers[name]
}

// init A [id] [timeout=] [go-on=true] [pid= epoch=] [v=]
func (s *stage) init(a script.Args) {
	p := s.producer(a.Words[0])
	if len(a.Words) > 1 {
		p.id = strings.Trim(a.Words[1], `"`)
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID = int16(a.Num("v", 5)), &p.id
	req.TransactionTimeoutMillis = int32(a.Duration("timeout", "60s").Milliseconds())
	if a.Has("go-on") {
		req.ProducerID, req.ProducerEpoch = p.pid, p.epoch
	}
	req.ProducerID, req.ProducerEpoch = int64(a.Num("pid", int(req.ProducerID))), int16(a.Num("epoch", int(req.ProducerEpoch)))
	resp := s.core.InitProducerID(s.now, req)
	s.printf("%s init: %s pid=%d epoch=%d", a.Words[0], word(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
	if resp.ErrorCode == 0 && !a.Has("lost") {
		p.pid, p.epoch = resp.ProducerID, resp.ProducerEpoch
	}
}

func (s *stage) sender(a script.Args) Sender {
	p := s.producer(a.Words[0])
	return Sender{a.Str("id", p.id), int64(a.Num("pid", int(p.pid))), int16(a.Num("epoch", int(p.epoch)))}
}

func (s *stage) partitions(words []string) []Partition {
	var all []Partition
	for _, w := range words {
		topic, number, _ := strings.Cut(w, "/")
		n, err := strconv.Atoi(number)
		if err != nil {
			s.t.Fatalf("partition %q", w)
		}
		all = append(all, Partition{topic, s.topicID(topic), int32(n)})
	}
	return all
}

// add A t/0 t/1 [epoch=] [pid=] [id=] [tv=2]
func (s *stage) add(a script.Args) {
	code := s.core.AddPartitions(s.now, s.sender(a), s.partitions(a.Words[1:]), int16(a.Num("tv", 2)))
	s.printf("%s add: %s", a.Words[0], word(code))
}

func (s *stage) verify(a script.Args) {
	parts := s.partitions(a.Words[1:])
	whole, each := s.core.Verify(s.sender(a), parts)
	s.printf("%s verify: %s", a.Words[0], word(whole))
	for i, code := range each {
		s.printf("  %s/%d: %s", parts[i].Topic, parts[i].Number, word(code))
	}
}

func (s *stage) commit(a script.Args) { s.end(a, true) }
func (s *stage) abort(a script.Args)  { s.end(a, false) }

// commit A, abort A [v=5] [epoch=] [pid=] [id=] [lost=true]
func (s *stage) end(a script.Args, commit bool) {
	p, from := s.producer(a.Words[0]), s.sender(a)
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.Commit = int16(a.Num("v", 5)), commit
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = strings.Trim(from.TransactionalID, `"`), from.ProducerID, from.Epoch
	resp := s.core.EndTxn(s.now, req)
	what := map[bool]string{true: "commit", false: "abort"}[commit]
	s.printf("%s %s: %s pid=%d epoch=%d", a.Words[0], what, word(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
	if resp.ErrorCode == 0 && req.Version >= 5 && !a.Has("lost") {
		p.pid, p.epoch = resp.ProducerID, resp.ProducerEpoch
	}
}

func (s *stage) describe(a script.Args) {
	d := s.core.Describe(strings.Trim(a.Words[0], `"`))
	s.printf("%s: %s %s pid=%d epoch=%d timeout=%dms start=%d", a.Words[0], word(d.ErrorCode), d.State, d.ProducerID, d.ProducerEpoch, d.TimeoutMillis, d.StartTimestamp)
	for _, t := range d.Topics {
		s.printf("  %s %v", t.Topic, t.Partitions)
	}
}

// list [states=Ongoing,Empty] [pid=] [longer=] [pattern=]
func (s *stage) list(a script.Args) {
	f := Filter{Duration: -1}
	if a.Has("states") {
		f.States = map[State]bool{}
		for _, st := range States() {
			f.States[st] = strings.Contains(","+a.Options["states"]+",", ","+st.String()+",")
		}
	}
	if a.Has("pid") {
		f.ProducerIDs = map[int64]bool{int64(a.Num("pid", 0)): true}
	}
	if a.Has("longer") {
		f.Duration = a.Duration("longer", "")
	}
	if a.Has("pattern") {
		f.Pattern = regexp.MustCompile("^(?:" + a.Options["pattern"] + ")$")
	}
	s.printf("%d ids, %d open", s.core.Len(), s.core.Open())
	for _, x := range s.core.List(s.now, &f) {
		s.printf("  %s pid=%d %s", x.TransactionalID, x.ProducerID, x.TransactionState)
	}
}

// tick 5s: time goes by, deadline by deadline.
func (s *stage) tick(a script.Args) {
	d, err := time.ParseDuration(a.Words[0])
	if err != nil {
		s.t.Fatal(err)
	}
	end := s.now.Add(d)
	for at, ok := s.core.Deadline(); ok && !at.After(end); at, ok = s.core.Deadline() {
		s.now = at
		s.printf("at %ds", (at.UnixMilli()-1_000_000)/1000)
		s.core.Tick(s.now)
		s.drain()
	}
	s.now = end
}

// restart: the core is made anew from the log.
func (s *stage) restart(script.Args) {
	s.core = New(s.cfg)
	for _, r := range s.log {
		if err := s.core.Replay(r.Key, r.Value); err != nil {
			s.printf("replay: %v", err)
		}
	}
	s.core.Ready(s.now, s.topicID)
	for s.drain(); s.core.Finish(s.now); {
		s.printf("more")
		s.drain()
	}
}

// recreate t: the topic is deleted and made again.
func (s *stage) recreate(a script.Args) { s.topics[a.Words[0]]++ }

// set-epoch A 32766: as if the producer had raised its epoch so often.
func (s *stage) setEpoch(a script.Args) {
	p := s.producer(a.Words[0])
	n, err := strconv.Atoi(a.Words[1])
	if err != nil {
		s.t.Fatal(err)
	}
	p.epoch = int16(n)
	s.core.ids[p.id].epoch = p.epoch
}

// record id state= pid= epoch= [prev=] [next=] [tv=] [start=] [v=1] [t/0 …]: a record of another
// broker.
func (s *stage) record(a script.Args) {
	v := kmsg.NewTxnMetadataValue()
	v.Version = int16(a.Num("v", 1))
	for _, st := range States() {
		if st.String() == a.Options["state"] {
			v.State = kmsg.TransactionState(st)
		}
	}
	v.ProducerID, v.ProducerEpoch, v.TimeoutMillis = int64(a.Num("pid", 0)), int16(a.Num("epoch", 0)), 60_000
	v.PreviousProducerID, v.NextProducerID = int64(a.Num("prev", -1)), int64(a.Num("next", -1))
	v.ClientTransactionVersion = int16(a.Num("tv", 0))
	v.StartTimestamp, v.LastUpdateTimestamp = int64(a.Num("start", -1)), s.now.UnixMilli()
	for _, p := range s.partitions(a.Words[1:]) {
		t := kmsg.NewTxnMetadataValueTopic()
		t.Topic, t.Partitions = p.Topic, []int32{p.Number}
		v.Topics = append(v.Topics, t)
	}
	s.log = append(s.log, Record{keyOf(a.Words[0]), v.AppendTo(nil)})
}

func word(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

func (s *stage) drain() {
	out := s.core.Take()
	for _, r := range out.Records {
		s.log = append(s.log, r)
		s.printf("  log %s", describeRecord(s.t, r))
	}
	for _, ch := range out.Changes {
		what := map[Kind]string{Opened: "open", Committed: "commit", Aborted: "abort"}[ch.Kind]
		var parts []string
		for _, p := range ch.Partitions {
			name := fmt.Sprintf("%s/%d", p.Topic, p.Number)
			if p.ID[1] != 0 {
				name += fmt.Sprintf("#%d", p.ID[1])
			}
			parts = append(parts, name)
		}
		line := fmt.Sprintf("  %s pid=%d epoch=%d tv=%d [%s]", what, ch.ProducerID, ch.Epoch, ch.Version, strings.Join(parts, " "))
		if ch.Reason != "" {
			line += " by " + string(ch.Reason)
		}
		s.printf("%s", line)
	}
}

func describeRecord(t *testing.T, r Record) string {
	id, x, err := decode(r.Key, r.Value)
	if err != nil {
		t.Fatal(err)
	}
	if x == nil {
		return id + ": tombstone"
	}
	line := fmt.Sprintf("%s: %s pid=%d epoch=%d", id, x.state, x.producerID, x.epoch)
	if x.previousID >= 0 {
		line += fmt.Sprintf(" prev=%d", x.previousID)
	}
	for _, p := range x.list() {
		line += fmt.Sprintf(" %s/%d", p.Topic, p.Number)
	}
	return line
}
