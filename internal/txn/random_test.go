package txn

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var seeds = flag.Int("seeds", 3000, "how many random schedules TestRandomSchedules runs")

// TestRandomSchedules runs producers that begin, end, crash, come back, are late and send
// everything twice, over a coordinator that is restarted at any point, and holds what comes
// out against a model of what must be.
func TestRandomSchedules(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n /= 10
	}
	sum := map[string]int{}
	for seed := range uint64(n) {
		w := newWorld(t, seed)
		for range 60 {
			w.step()
			if t.Failed() {
				t.Fatalf("seed %d: go test -run TestRandomSchedules ./internal/txn -seeds %d\n%s", seed, seed+1, w.trace())
			}
		}
		for k, v := range w.count {
			sum[k] += v
		}
	}
	for _, k := range []string{"opened", "committed", "aborted", "timeout", "fenced", "rotated", "again", "refused", "restarts", "expired", "late refused"} {
		if sum[k] < n/100 {
			t.Errorf("%s: %d in %d schedules: that is not tested", k, sum[k], n)
		}
	}
	t.Log(sum)
}

// openTxn is a transaction as the model knows it.
type openTxn struct {
	id       string
	epoch    int16
	parts    map[place]bool
	deadline time.Time
}

// holder is what a producer has of its id. Who is current was the last one to be answered.
type holder struct {
	pid     int64
	epoch   int16
	version int16 // of the protocol that it speaks
}

type world struct {
	t     *testing.T
	rng   *rand.Rand
	cfg   Config
	core  *Core
	now   time.Time
	log   []Record
	pids  int64
	lines []string
	count map[string]int

	open    map[int64]*openTxn // by producer id
	epochs  map[int64]int16    // the greatest seen
	current map[string]holder
	timeout map[string]time.Duration
	former  map[string][]holder // every one that there was
	// before is who the current holder was before: its last request may come again.
	before map[string]ending
}

// ending is a holder with what it decided, if the next one came by EndTxn.
type ending struct {
	holder
	ended, commit bool
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.UnixMilli(1_000_000), count: map[string]int{},
		open: map[int64]*openTxn{}, epochs: map[int64]int16{}, current: map[string]holder{}, timeout: map[string]time.Duration{},
		former: map[string][]holder{}, before: map[string]ending{},
	}
	w.cfg = Config{IDExpiration: time.Hour, MaxIDs: 3, MaxPartitions: 8, NewProducerID: func() int64 { w.pids++; return 100 + w.pids }}
	w.core = New(w.cfg)
	return w
}

func (w *world) logf(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf("%6d ", w.now.UnixMilli()-1_000_000)+fmt.Sprintf(format, args...))
}

func (w *world) trace() string {
	out := ""
	for _, l := range w.lines {
		out += l + "\n"
	}
	return out
}

func (w *world) errorf(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf(format, args...)
}

func (w *world) step() {
	id := string(rune('a' + w.rng.IntN(4)))
	switch n := w.rng.IntN(100); {
	case n < 12:
		w.init(id)
	case n < 20:
		w.goOn(id)
	case n < 50:
		w.add(id)
	case n < 75:
		w.end(id)
	case n < 82:
		w.late(id)
	case n < 92:
		w.pass(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)
	case n < 93:
		w.pass(time.Hour)
	case n < 95:
		w.nearExhaustion(id)
	default:
		w.restart()
	}
	w.check()
}

// take looks at what came out: it is only what the model allows.
func (w *world) take() {
	w.t.Helper()
	out := w.core.Take()
	w.log = append(w.log, out.Records...)
	for _, ch := range out.Changes {
		w.logf("  %d %s pid=%d epoch=%d %v %s", ch.Kind, ch.TransactionalID, ch.ProducerID, ch.Epoch, ch.Partitions, ch.Reason)
		if ch.Epoch < w.epochs[ch.ProducerID] {
			w.errorf("epoch of producer %d falls from %d to %d", ch.ProducerID, w.epochs[ch.ProducerID], ch.Epoch)
		}
		w.epochs[ch.ProducerID] = ch.Epoch
		if ch.Kind == Opened {
			w.opened(ch)
		} else {
			w.ended(ch)
		}
	}
}

func (w *world) opened(ch Change) {
	x := w.open[ch.ProducerID]
	if x == nil {
		x = &openTxn{id: ch.TransactionalID, epoch: ch.Epoch, parts: map[place]bool{}, deadline: w.now.Add(w.timeout[ch.TransactionalID])}
		w.open[ch.ProducerID] = x
		w.count["opened"]++
	}
	if x.epoch != ch.Epoch {
		w.errorf("the transaction of epoch %d takes partitions of epoch %d", x.epoch, ch.Epoch)
	}
	for _, p := range ch.Partitions {
		x.parts[place{p.Topic, p.Number}] = true
	}
}

func (w *world) ended(ch Change) {
	x := w.open[ch.ProducerID]
	delete(w.open, ch.ProducerID)
	w.count[map[Kind]string{Committed: "committed", Aborted: "aborted"}[ch.Kind]]++
	w.count[string(ch.Reason)]++
	if x == nil {
		if len(ch.Partitions) > 0 || ch.Kind == Committed {
			w.errorf("an end of nothing: %+v", ch)
		}
		return
	}
	want := slices.SortedFunc(maps.Keys(x.parts), place.compare)
	var got []place
	for _, p := range ch.Partitions {
		got = append(got, place{p.Topic, p.Number})
	}
	if !slices.Equal(got, want) {
		w.errorf("the transaction of %s ends in %v, it had %v", ch.TransactionalID, got, want)
	}
	if ch.Version < 2 && ch.Reason != ByProducer || ch.Version >= 2 && ch.Epoch <= x.epoch || ch.Epoch < x.epoch {
		w.errorf("markers of epoch %d for a transaction of epoch %d, version %d", ch.Epoch, x.epoch, ch.Version)
	}
	if ch.Reason == ByTimeout && w.now.Before(x.deadline) {
		w.errorf("%s timed out before its time", ch.TransactionalID)
	}
}

// check holds what is true after each step.
func (w *world) check() {
	w.t.Helper()
	for pid, x := range w.open {
		if w.now.After(x.deadline) {
			w.errorf("producer %d has a transaction open past its deadline", pid)
		}
	}
	if len(w.open) != w.core.Open() || len(w.core.open)+w.core.idle.Len() != w.core.Len() || w.core.Len() > w.cfg.MaxIDs {
		w.errorf("%d transactions open, want %d; %d idle of %d ids", w.core.Open(), len(w.open), w.core.idle.Len(), w.core.Len())
	}
	if w.core.Pending() != 0 {
		w.errorf("%d bytes pending after Take", w.core.Pending())
	}
}

// answered makes a holder the current one of an id.
func (w *world) answered(id string, h holder) {
	if h.epoch > lastEpoch || h.epoch < w.epochs[h.pid] {
		w.errorf("%s is given epoch %d of producer %d, after %d", id, h.epoch, h.pid, w.epochs[h.pid])
	}
	w.epochs[h.pid] = h.epoch
	for _, f := range append(w.former[id], w.current[id]) {
		if f.version > 0 && f.pid == h.pid && f.epoch == h.epoch {
			w.errorf("%s is given epoch %d of producer %d again", id, h.epoch, h.pid)
		}
	}
	if old, ok := w.current[id]; ok {
		w.former[id] = append(w.former[id], old)
		if old.pid != h.pid {
			w.count["rotated"]++
		}
	}
	w.current[id] = h
}

func (w *world) initRequest(id string, pid int64, epoch int16) *kmsg.InitProducerIDResponse {
	req := kmsg.NewPtrInitProducerIDRequest()
	timeout := time.Duration(1+w.rng.IntN(30)) * time.Second
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 5, &id, int32(timeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = pid, epoch
	resp := w.core.InitProducerID(w.now, req)
	w.logf("init %s from %d/%d: %s %d/%d", id, pid, epoch, word(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
	if x := w.core.ids[id]; resp.ErrorCode == 0 {
		w.timeout[id] = x.timeout
	}
	w.take()
	return resp
}

// init is a new producer.
func (w *world) init(id string) {
	known := w.core.ids[id] != nil
	resp := w.initRequest(id, -1, -1)
	if resp.ErrorCode != 0 {
		if known || resp.ErrorCode != kerr.PolicyViolation.Code {
			w.errorf("a new producer of %s: %s", id, word(resp.ErrorCode))
		}
		return
	}
	if open := w.core.ids[id].state; open != Empty {
		w.errorf("after InitProducerId %s is %v", id, open)
	}
	w.answered(id, holder{resp.ProducerID, resp.ProducerEpoch, int16(1 + w.rng.IntN(2))})
	delete(w.before, id)
}

// goOn is a producer that has a producer id; perhaps one that is not current any more.
func (w *world) goOn(id string) {
	h, ok := w.current[id]
	if !ok {
		return
	}
	if f := w.former[id]; len(f) > 0 && w.rng.IntN(3) == 0 {
		old := f[w.rng.IntN(len(f))]
		before := len(w.log)
		resp := w.initRequest(id, old.pid, old.epoch)
		if resp.ErrorCode == 0 && w.core.Len() > 0 && len(w.log) == before {
			w.count["again"]++
			if x := w.core.ids[id]; w.before[id].holder != old || x.state == Ongoing {
				w.errorf("a producer that was fenced is let in again")
			}
			return
		}
		if resp.ErrorCode == 0 {
			w.answered(id, holder{resp.ProducerID, resp.ProducerEpoch, h.version})
			w.before[id] = ending{holder: old}
		} else if len(w.log) != before {
			w.errorf("a producer that was fenced changes something")
		}
		return
	}
	if resp := w.initRequest(id, h.pid, h.epoch); resp.ErrorCode == 0 {
		w.answered(id, holder{resp.ProducerID, resp.ProducerEpoch, h.version})
		w.before[id] = ending{holder: h}
	}
}

// knows tells whether the coordinator would take h for the current producer.
func (w *world) knows(id string, h holder) bool {
	x := w.core.ids[id]
	return x != nil && x.producerID == h.pid && x.epoch == h.epoch
}

func (w *world) add(id string) {
	h, ok := w.current[id]
	if !ok {
		return
	}
	var parts []Partition
	for range 1 + w.rng.IntN(3) {
		parts = append(parts, Partition{Topic: string(rune('t' + w.rng.IntN(2))), ID: [16]byte{1}, Number: int32(w.rng.IntN(4))})
	}
	known := w.knows(id, h)
	code := w.core.AddPartitions(w.now, Sender{id, h.pid, h.epoch}, parts, h.version)
	w.logf("add %s %d/%d %v: %s", id, h.pid, h.epoch, parts, word(code))
	w.take()
	if known != (code == none) {
		w.errorf("add to %s of the current producer (%t): %s", id, known, word(code))
	}
	if x := w.open[h.pid]; code == none {
		for _, p := range parts {
			if x == nil || !x.parts[place{p.Topic, p.Number}] {
				w.errorf("partition %v was added and is not in", p)
			}
		}
	}
	if !known {
		w.count["refused"]++
	}
}

func (w *world) endRequest(id string, h holder, commit bool) *kmsg.EndTxnResponse {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = id, h.pid, h.epoch, commit
	req.Version = 3
	if h.version == 2 {
		req.Version = 5
	}
	resp := w.core.EndTxn(w.now, req)
	w.logf("end %s %d/%d v%d commit=%t: %s %d/%d", id, h.pid, h.epoch, req.Version, commit, word(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
	return resp
}

func (w *world) end(id string) {
	h, ok := w.current[id]
	if !ok {
		return
	}
	commit := w.rng.IntN(2) == 0
	x, known := w.open[h.pid], w.knows(id, h)
	resp := w.endRequest(id, h, commit)
	w.take()
	if x != nil && known && resp.ErrorCode != 0 {
		w.errorf("the end of an open transaction: %s", word(resp.ErrorCode))
	}
	if x != nil && known && w.open[h.pid] != nil {
		w.errorf("the transaction of %s is open after its end", id)
	}
	if resp.ErrorCode != 0 {
		w.count["refused"]++
		return
	}
	// The same again, because the answer was lost: the same answer, and nothing happens.
	if again := w.endRequest(id, h, commit); x != nil && known && !sameAnswer(again, resp) {
		w.errorf("the same again: %+v, was %+v", again, resp)
	} else if x != nil && known {
		w.count["again"]++
		if out := w.core.Take(); len(out.Records)+len(out.Changes) > 0 {
			w.errorf("the same again does something: %+v", out)
		}
		if other := w.endRequest(id, h, !commit); other.ErrorCode != invalidTxnState {
			w.errorf("the other decision: %s", word(other.ErrorCode))
		}
	} else {
		if again.ErrorCode == 0 {
			resp = again
		}
		w.take()
	}
	if h.version == 2 {
		w.answered(id, holder{resp.ProducerID, resp.ProducerEpoch, 2})
		w.before[id] = ending{h, true, commit}
	}
}

func sameAnswer(a, b *kmsg.EndTxnResponse) bool {
	return a.ErrorCode == b.ErrorCode && a.ProducerID == b.ProducerID && a.ProducerEpoch == b.ProducerEpoch
}

// late is a request of a producer that is not current any more: nothing open changes.
func (w *world) late(id string) {
	f := w.former[id]
	if len(f) == 0 {
		return
	}
	h := f[w.rng.IntN(len(f))]
	if w.knows(id, h) {
		return // of version 1, whose epoch stays
	}
	open := len(w.open)
	if w.rng.IntN(2) == 0 {
		if w.rng.IntN(2) == 0 {
			h = w.current[id]
			h.epoch++ // one that nobody has been given
			if w.knows(id, h) {
				return
			}
		}
		code := w.core.AddPartitions(w.now, Sender{id, h.pid, h.epoch}, []Partition{{Topic: "t", Number: 0}}, h.version)
		w.logf("late add %s %d/%d: %s", id, h.pid, h.epoch, word(code))
		if code == none {
			w.errorf("a producer that was fenced adds a partition")
		}
	} else {
		commit := w.rng.IntN(2) == 0
		// Who found out by InitProducerId that its time was up may hear of the abort again.
		if resp := w.endRequest(id, h, commit); resp.ErrorCode == 0 && w.before[id] != (ending{h, true, commit}) && (commit || w.before[id] != ending{holder: h}) {
			w.errorf("a late end succeeds")
		}
	}
	if out := w.core.Take(); len(out.Records)+len(out.Changes) > 0 || len(w.open) != open {
		w.errorf("a late request does something: %+v", out)
	}
	w.count["late refused"]++
}

// pass lets time go by, deadline by deadline.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for at, ok := w.core.Deadline(); ok && !at.After(end); at, ok = w.core.Deadline() {
		w.now = at
		n := w.core.Len()
		w.core.Tick(w.now)
		w.count["expired"] += n - w.core.Len()
		w.take()
		w.check()
	}
	w.now = end
}

// nearExhaustion is as if a producer had raised its epoch often.
func (w *world) nearExhaustion(id string) {
	h, ok := w.current[id]
	x := w.core.ids[id]
	if !ok || x == nil || x.state == Ongoing || !w.knows(id, h) {
		return
	}
	h.epoch = int16(lastEpoch - w.rng.IntN(3))
	if h.epoch <= x.epoch {
		return
	}
	x.epoch, x.lastEpoch, x.state = h.epoch, -1, Empty
	w.epochs[h.pid] = h.epoch
	w.log = append(w.log, Record{keyOf(id), x.value()})
	w.current[id] = h
	w.logf("%s now has epoch %d", id, h.epoch)
}

// restart reads everything anew; what was there is there again.
func (w *world) restart() {
	w.count["restarts"]++
	w.logf("restart")
	again := New(w.cfg)
	for _, r := range w.log {
		if err := again.Replay(r.Key, r.Value); err != nil {
			w.t.Fatal(err)
		}
	}
	again.Ready(w.now, func(string) [16]byte { return [16]byte{1} })
	if again.Finish(w.now) {
		w.errorf("there is something to finish after a restart")
	}
	for _, ch := range again.Take().Changes {
		x := w.open[ch.ProducerID]
		if ch.Kind != Opened || x == nil || x.epoch != ch.Epoch || len(ch.Partitions) != len(x.parts) {
			w.errorf("after a restart: %+v, was %+v", ch, x)
		}
	}
	if again.Len() != w.core.Len() {
		w.errorf("%d ids after a restart, want %d", again.Len(), w.core.Len())
	}
	for id, x := range w.core.ids {
		y := again.ids[id]
		if y == nil || y.producerID != x.producerID || y.previousID != x.previousID || y.epoch != x.epoch || y.timeout != x.timeout ||
			y.state != x.state || y.started != x.started || y.updated != x.updated || y.version != x.version || !maps.Equal(y.partitions, x.partitions) {
			w.errorf("%s is another one after a restart", id)
		}
	}
	w.core = again
}
