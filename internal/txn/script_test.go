package txn

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata print into them")

// TestScripts runs testdata/*.txt. A script is made of blocks: comments that begin with '#',
// commands, a line "----", and what the commands print. The commands are the methods of script;
// a name in capitals is a producer, which remembers its transactional id, producer id and epoch.
func TestScripts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) < 12 {
		t.Fatalf("%d scripts in testdata, want at least 12 (%v)", len(names), err)
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
	s := &script{t: t, producers: map[string]*producer{}, now: time.UnixMilli(1_000_000), topics: map[string]byte{}}
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

// producer is what a producer of the script knows.
type producer struct {
	id    string
	pid   int64
	epoch int16
}

type script struct {
	t         *testing.T
	cfg       Config
	core      *Core
	now       time.Time
	log       []Record
	producers map[string]*producer
	pids      int64
	topics    map[string]byte // ids of topics that were made anew
	out       strings.Builder
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *script) start() {
	s.cfg.NewProducerID = func() int64 {
		s.pids++
		return 1000 + s.pids
	}
	s.core = New(s.cfg)
}

func (s *script) topicID(name string) [16]byte { return [16]byte{1, s.topics[name]} }

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

func (a args) num(key string, def int) int {
	n, err := strconv.Atoi(a.str(key, strconv.Itoa(def)))
	if err != nil {
		panic(err)
	}
	return n
}

func (a args) duration(key, def string) time.Duration {
	d, err := time.ParseDuration(a.str(key, def))
	if err != nil {
		panic(err)
	}
	return d
}

func (s *script) do(words []string) {
	a := args{opt: map[string]string{}}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			a.opt[k] = v
		} else {
			a.words = append(a.words, w)
		}
	}
	commands := map[string]func(args){
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

func (s *script) config(a args) {
	s.cfg.MaxIDs, s.cfg.MaxPartitions, s.cfg.MaxRecord = a.num("max-ids", 0), a.num("max-partitions", 0), a.num("max-record", 0)
	s.cfg.IDExpiration, s.cfg.MaxTick = a.duration("expiration", "0s"), a.num("max-tick", 0)
	s.start()
}

func (s *script) producer(name string) *producer {
	if s.producers[name] == nil {
		s.producers[name] = &producer{pid: -1, epoch: -1}
	}
	return s.producers[name]
}

// init A [id] [timeout=] [go-on=true] [pid= epoch=] [v=]
func (s *script) init(a args) {
	p := s.producer(a.words[0])
	if len(a.words) > 1 {
		p.id = strings.Trim(a.words[1], `"`)
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID = int16(a.num("v", 5)), &p.id
	req.TransactionTimeoutMillis = int32(a.duration("timeout", "60s").Milliseconds())
	if a.has("go-on") {
		req.ProducerID, req.ProducerEpoch = p.pid, p.epoch
	}
	req.ProducerID, req.ProducerEpoch = int64(a.num("pid", int(req.ProducerID))), int16(a.num("epoch", int(req.ProducerEpoch)))
	resp := s.core.InitProducerID(s.now, req)
	s.printf("%s init: %s pid=%d epoch=%d", a.words[0], word(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
	if resp.ErrorCode == 0 && !a.has("lost") {
		p.pid, p.epoch = resp.ProducerID, resp.ProducerEpoch
	}
}

func (s *script) sender(a args) Sender {
	p := s.producer(a.words[0])
	return Sender{a.str("id", p.id), int64(a.num("pid", int(p.pid))), int16(a.num("epoch", int(p.epoch)))}
}

func (s *script) partitions(words []string) []Partition {
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
func (s *script) add(a args) {
	code := s.core.AddPartitions(s.now, s.sender(a), s.partitions(a.words[1:]), int16(a.num("tv", 2)))
	s.printf("%s add: %s", a.words[0], word(code))
}

func (s *script) verify(a args) {
	parts := s.partitions(a.words[1:])
	whole, each := s.core.Verify(s.sender(a), parts)
	s.printf("%s verify: %s", a.words[0], word(whole))
	for i, code := range each {
		s.printf("  %s/%d: %s", parts[i].Topic, parts[i].Number, word(code))
	}
}

func (s *script) commit(a args) { s.end(a, true) }
func (s *script) abort(a args)  { s.end(a, false) }

// commit A, abort A [v=5] [epoch=] [pid=] [id=] [lost=true]
func (s *script) end(a args, commit bool) {
	p, from := s.producer(a.words[0]), s.sender(a)
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.Commit = int16(a.num("v", 5)), commit
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = strings.Trim(from.TransactionalID, `"`), from.ProducerID, from.Epoch
	resp := s.core.EndTxn(s.now, req)
	what := map[bool]string{true: "commit", false: "abort"}[commit]
	s.printf("%s %s: %s pid=%d epoch=%d", a.words[0], what, word(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
	if resp.ErrorCode == 0 && req.Version >= 5 && !a.has("lost") {
		p.pid, p.epoch = resp.ProducerID, resp.ProducerEpoch
	}
}

func (s *script) describe(a args) {
	d := s.core.Describe(strings.Trim(a.words[0], `"`))
	s.printf("%s: %s %s pid=%d epoch=%d timeout=%dms start=%d", a.words[0], word(d.ErrorCode), d.State, d.ProducerID, d.ProducerEpoch, d.TimeoutMillis, d.StartTimestamp)
	for _, t := range d.Topics {
		s.printf("  %s %v", t.Topic, t.Partitions)
	}
}

// list [states=Ongoing,Empty] [pid=] [longer=] [pattern=]
func (s *script) list(a args) {
	f := Filter{Duration: -1}
	if a.has("states") {
		f.States = map[State]bool{}
		for _, st := range States() {
			f.States[st] = strings.Contains(","+a.opt["states"]+",", ","+st.String()+",")
		}
	}
	if a.has("pid") {
		f.ProducerIDs = map[int64]bool{int64(a.num("pid", 0)): true}
	}
	if a.has("longer") {
		f.Duration = a.duration("longer", "")
	}
	if a.has("pattern") {
		f.Pattern = regexp.MustCompile("^(?:" + a.opt["pattern"] + ")$")
	}
	s.printf("%d ids, %d open", s.core.Len(), s.core.Open())
	for _, x := range s.core.List(s.now, &f) {
		s.printf("  %s pid=%d %s", x.TransactionalID, x.ProducerID, x.TransactionState)
	}
}

// tick 5s: time goes by, deadline by deadline.
func (s *script) tick(a args) {
	d, err := time.ParseDuration(a.words[0])
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
func (s *script) restart(args) {
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
func (s *script) recreate(a args) { s.topics[a.words[0]]++ }

// set-epoch A 32766: as if the producer had raised its epoch so often.
func (s *script) setEpoch(a args) {
	p := s.producer(a.words[0])
	n, err := strconv.Atoi(a.words[1])
	if err != nil {
		s.t.Fatal(err)
	}
	p.epoch = int16(n)
	s.core.ids[p.id].epoch = p.epoch
}

// record id state= pid= epoch= [prev=] [next=] [tv=] [start=] [v=1] [t/0 …]: a record of another
// broker.
func (s *script) record(a args) {
	v := kmsg.NewTxnMetadataValue()
	v.Version = int16(a.num("v", 1))
	for _, st := range States() {
		if st.String() == a.opt["state"] {
			v.State = kmsg.TransactionState(st)
		}
	}
	v.ProducerID, v.ProducerEpoch, v.TimeoutMillis = int64(a.num("pid", 0)), int16(a.num("epoch", 0)), 60_000
	v.PreviousProducerID, v.NextProducerID = int64(a.num("prev", -1)), int64(a.num("next", -1))
	v.ClientTransactionVersion = int16(a.num("tv", 0))
	v.StartTimestamp, v.LastUpdateTimestamp = int64(a.num("start", -1)), s.now.UnixMilli()
	for _, p := range s.partitions(a.words[1:]) {
		t := kmsg.NewTxnMetadataValueTopic()
		t.Topic, t.Partitions = p.Topic, []int32{p.Number}
		v.Topics = append(v.Topics, t)
	}
	s.log = append(s.log, Record{keyOf(a.words[0]), v.AppendTo(nil)})
}

func word(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

func (s *script) drain() {
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
