package group

import (
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var pendingSeed = flag.Int64("pendingseed", 0, "run TestRandomPending with this seed only")

// TestRandomPending lets producers commit to groups in transactions and beside them,
// while groups, offsets and topics are deleted, offsets expire, and the broker is killed
// now and then; when it starts again its log may have been compacted. At any point the
// groups must have the offsets of a model that knows nothing but the order of things,
// and so must a Core that reads the log, or the compacted log.
func TestRandomPending(t *testing.T) {
	schedules, seen := 10_000, map[string]int{}
	if testing.Short() {
		schedules = 1000
	}
	for s := int64(1); s <= int64(schedules); s++ {
		if *pendingSeed != 0 && s != *pendingSeed {
			continue
		}
		w := newLedger(t, s, seen)
		for range 40 {
			w.step()
			if w.r.Intn(3) == 0 {
				w.check()
			}
			if t.Failed() {
				t.Fatalf("replay with: go test ./internal/group -run TestRandomPending -pendingseed %d", s)
			}
		}
		w.finish()
		if t.Failed() {
			t.Fatalf("replay with: go test ./internal/group -run TestRandomPending -pendingseed %d", s)
		}
	}
	if *pendingSeed != 0 {
		return
	}
	t.Logf("%d schedules: %v", schedules, seen)
	for _, what := range []string{"committed", "aborted", "overtaken", "deleted while pending", "expired", "kept from expiry", "compacted", "killed while pending", "fenced"} {
		if seen[what] < schedules/100 {
			t.Errorf("%q was seen only %d times", what, seen[what])
		}
	}
}

// spot is a partition of a group.
type spot struct {
	group string
	place
}

// told is an offset as the model knows it.
type told struct {
	at    int64
	order int       // when it was sent
	time  time.Time // by the clock
}

type ledger struct {
	t       *testing.T
	r       *rand.Rand
	cfg     Config
	core    *Core
	now     time.Time
	log     []Record
	sent    int
	seen    map[string]int
	offsets map[spot]told
	pending map[int64]map[spot]told
	epochs  map[int64]int16
}

func newLedger(t *testing.T, seed int64, seen map[string]int) *ledger {
	w := &ledger{
		t: t, r: rand.New(rand.NewSource(seed)), now: time.UnixMilli(5_000_000), seen: seen,
		offsets: map[spot]told{}, pending: map[int64]map[spot]told{}, epochs: map[int64]int16{},
	}
	w.cfg = Config{OffsetsRetention: time.Duration(1+w.r.Intn(30)) * time.Minute}
	w.core = New(w.cfg)
	return w
}

func (w *ledger) spot() spot {
	return spot{fmt.Sprintf("g%d", w.r.Intn(2)), place{[]string{"t", "u"}[w.r.Intn(2)], int32(w.r.Intn(2))}}
}

func (w *ledger) next() told {
	w.sent++
	return told{w.r.Int63n(1000), w.sent, w.now}
}

func (w *ledger) step() {
	switch n := w.r.Intn(100); {
	case n < 40:
		w.pend()
	case n < 55:
		w.end(w.r.Int63n(3), w.r.Intn(3) > 0)
	case n < 70:
		w.commit()
	case n < 74:
		w.deleteGroup()
	case n < 80:
		w.deleteOffsets()
	case n < 83:
		w.dropTopic()
	case n < 93:
		w.pass(time.Duration(w.r.Intn(12)) * time.Minute)
	default:
		w.restart()
	}
}

func (w *ledger) pend() {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.ProducerID, req.Generation = w.r.Int63n(3), -1
	req.ProducerEpoch = max(0, w.epochs[req.ProducerID]+int16(w.r.Intn(3))-1)
	fenced := w.pending[req.ProducerID] != nil && req.ProducerEpoch < w.epochs[req.ProducerID]
	first := w.spot()
	req.Group = first.group
	sent := map[spot]told{}
	for range 1 + w.r.Intn(2) {
		at, o := w.spot(), w.next()
		at.group = first.group
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = at.topic
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata = at.partition, o.at, kmsg.StringPtr(strings.Repeat("m", w.r.Intn(4)))
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		sent[at] = o
	}
	resp := w.core.CommitTxn(w.now, req, topicID, func(string, int32) int16 { return 0 })
	want := none
	if fenced {
		w.seen["fenced"]++
		want = invalidProducerEpoch
	}
	if got := resp.Topics[0].Partitions[0].ErrorCode; got != want {
		w.t.Errorf("producer %d with epoch %d is told %s, its transaction has epoch %d", req.ProducerID, req.ProducerEpoch, code(got), w.epochs[req.ProducerID])
	}
	if fenced {
		return
	}
	w.epochs[req.ProducerID] = req.ProducerEpoch
	if w.pending[req.ProducerID] == nil {
		w.pending[req.ProducerID] = map[spot]told{}
	}
	for at, o := range sent {
		w.pending[req.ProducerID][at] = o
	}
}

func (w *ledger) end(producer int64, committed bool) {
	for at, o := range w.pending[producer] {
		switch old, ok := w.offsets[at]; {
		case !committed:
			w.seen["aborted"]++
		case ok && old.order > o.order:
			w.seen["overtaken"]++
		default:
			w.seen["committed"]++
			w.offsets[at] = o
		}
	}
	delete(w.pending, producer)
	w.drain()
	w.log = append(w.log, marker(producer, committed))
	w.core.EndTxn(w.now, producer, committed)
}

func (w *ledger) commit() {
	at, o := w.spot(), w.next()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, at.group, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = at.partition, o.at, kmsg.StringPtr(strings.Repeat("m", w.r.Intn(3)))
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = at.topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	w.core.Commit(w.now, req, func(*kmsg.OffsetCommitRequestTopic, int32) int16 { return 0 })
	w.offsets[at] = o
}

// gone: a tombstone takes all that there is of a partition.
func (w *ledger) gone(which func(at spot) bool) {
	for at := range w.offsets {
		if which(at) {
			delete(w.offsets, at)
		}
	}
	for _, pending := range w.pending {
		for at := range pending {
			if which(at) {
				w.seen["deleted while pending"]++
				delete(pending, at)
			}
		}
	}
}

func (w *ledger) deleteGroup() {
	id := w.spot().group
	w.core.DeleteGroup(w.now, id)
	w.gone(func(at spot) bool { return at.group == id })
}

func (w *ledger) deleteOffsets() {
	which := w.spot()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = which.group
	p := kmsg.NewOffsetDeleteRequestTopicPartition()
	p.Partition = which.partition
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic, t.Partitions = which.topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	w.core.DeleteOffsets(w.now, req, func(string, int32) bool { return true })
	w.gone(func(at spot) bool { return at == which })
	w.expire()
}

func (w *ledger) dropTopic() {
	topic := w.spot().topic
	w.core.DropTopic(w.now, topic)
	w.gone(func(at spot) bool { return at.topic == topic })
	w.expire()
}

func (w *ledger) pass(d time.Duration) {
	pass(w.t, &w.now, d, w.core, w.drain)
	w.expire()
}

// expire has both look at what is due now.
func (w *ledger) expire() {
	pass(w.t, &w.now, 0, w.core, w.drain)
	for at, o := range w.offsets {
		if o.time.Add(w.cfg.OffsetsRetention).After(w.now) {
			continue
		}
		if w.unstable(at) {
			w.seen["kept from expiry"]++
			continue
		}
		w.seen["expired"]++
		delete(w.offsets, at)
	}
}

func (w *ledger) unstable(at spot) bool {
	for _, pending := range w.pending {
		if _, ok := pending[at]; ok {
			return true
		}
	}
	return false
}

func (w *ledger) drain() { w.log = append(w.log, w.core.Take().Records...) }

func (w *ledger) restart() {
	w.drain()
	if w.r.Intn(2) == 0 {
		w.seen["compacted"]++
		w.log = compacted(w.log)
	}
	if len(w.pending) > 0 {
		w.seen["killed while pending"]++
	}
	w.core = w.read(w.log)
	w.core.Ready(w.now)
	// A transaction of which tombstones have taken all may be out of the log.
	for producer, pending := range w.pending {
		if len(pending) == 0 && !w.core.Pends(producer) {
			delete(w.pending, producer)
		}
	}
	w.expire()
}

func (w *ledger) read(log []Record) *Core {
	c := New(w.cfg)
	for _, r := range log {
		if err := replayed(c, r); err != nil {
			w.t.Fatal(err)
		}
	}
	return c
}

// held is where an offset is held: of the group, or pending.
type held struct {
	spot
	producer int64 // -1: committed
}

// state is what is compared.
func state(c *Core) map[held]int64 {
	all := map[held]int64{}
	for _, g := range c.groups {
		for topic, partitions := range g.offsets {
			for p, o := range partitions {
				all[held{spot{g.id, place{topic, p}}, -1}] = o.at
			}
		}
		for topic, partitions := range g.unstable {
			for p, producers := range partitions {
				for producer, o := range producers {
					all[held{spot{g.id, place{topic, p}}, producer}] = o.at
				}
			}
		}
	}
	return all
}

func (w *ledger) check() {
	w.drain()
	w.expire()
	want, bytes := map[held]int64{}, int64(0)
	for at, o := range w.offsets {
		want[held{at, -1}] = o.at
	}
	for producer, pending := range w.pending {
		for at, o := range pending {
			want[held{at, producer}] = o.at
		}
	}
	w.same(want, w.core, "the groups")
	for _, g := range w.core.groups {
		if len(g.offsets) == 0 && len(g.unstable) == 0 {
			w.t.Errorf("group %s holds nothing, and is still there", g.id)
		}
		bytes += g.held
	}
	if bytes += int64(len(w.core.txns)) * transactionBytes; bytes != w.core.Held() {
		w.t.Errorf("%d bytes are counted, %d are held", w.core.Held(), bytes)
	}
	if w.r.Intn(4) == 0 {
		w.same(want, w.read(w.log), "who reads the log")
		w.same(want, w.read(compacted(w.log)), "who reads the compacted log")
	}
}

func (w *ledger) same(want map[held]int64, c *Core, who string) {
	w.t.Helper()
	if got := state(c); !maps.Equal(want, got) {
		w.t.Errorf("%s should hold %v, and holds %v", who, want, got)
	}
}

// finish ends and deletes everything, after which nothing is held.
func (w *ledger) finish() {
	for producer := range int64(3) {
		w.end(producer, producer > 0)
		w.check()
	}
	for _, id := range []string{"g0", "g1"} {
		w.core.DeleteGroup(w.now, id)
	}
	if n := w.core.Held(); n != 0 || w.core.Len() != 0 {
		w.t.Errorf("%d groups and %d bytes are left of nothing", w.core.Len(), n)
	}
	w.drain()
	if left := compacted(w.log); len(left) != 0 {
		w.t.Errorf("%d records are left of nothing", len(left))
	}
}
