package broker_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// manyWorld are producers of both versions of the protocol at once, some of which share a
// transactional id and fence one another at any moment.
type manyWorld struct {
	t  *testing.T
	b  *brokertest.Broker
	mu struct {
		sync.Mutex
		next    int
		outcome map[int]string // commit, abort, or unknown: fenced in between
		counted map[string]int
	}
}

// TestManyProducersAtOnce: whatever they do to one another, what was answered is so, a
// transaction is in all its partitions or in none, and in the end nothing hangs.
func TestManyProducersAtOnce(t *testing.T) {
	w := &manyWorld{t: t, b: brokertest.Start(t)}
	w.mu.outcome, w.mu.counted = map[int]string{}, map[string]int{}
	createTopic(t, w.b, "out", 3)
	dial(t, w.b).findCoordinator(0)
	transactions := 40
	if testing.Short() {
		transactions = 10
	}
	var running sync.WaitGroup
	for i := range 8 {
		rng := rand.New(rand.NewPCG(uint64(i), 7))
		version := 1 + i%2
		id := fmt.Sprint("id-", i%5) // three pairs share one
		running.Go(func() {
			x := beginner(t, w.b, id)
			for range transactions {
				if !w.transaction(x, version, rng) {
					wantCode(t, "InitProducerId", x.init(30*time.Second), nil)
				}
			}
		})
	}
	running.Wait()
	for i := range 5 {
		beginner(t, w.b, fmt.Sprint("id-", i)) // ends what its id has open
	}
	w.judge()
	for _, what := range []string{"commit", "abort", "unknown"} {
		if w.mu.counted[what] == 0 {
			t.Errorf("no transaction ended as %s", what)
		}
	}
}

// note is how a transaction ended.
func (w *manyWorld) note(n int, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.outcome[n] = what
	w.mu.counted[what]++
}

func (w *manyWorld) begin() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.next++
	return w.mu.next - 1
}

// fencedCodes are what a producer is told when another one has come with its id.
func fencedCode(code int16) bool {
	switch code {
	case kerr.InvalidProducerEpoch.Code, kerr.ProducerFenced.Code, kerr.InvalidTxnState.Code, kerr.TransactionAbortable.Code,
		kerr.InvalidProducerIDMapping.Code, kerr.OutOfOrderSequenceNumber.Code:
		return true
	}
	return false
}

// transaction writes its number to some partitions. It returns false if it was fenced.
func (w *manyWorld) transaction(x *rawTxn, version int, rng *rand.Rand) bool {
	n := w.begin()
	refused := func(what string, code int16) bool {
		if code != 0 && !fencedCode(code) {
			w.t.Errorf("%s: %v", what, kerr.ErrorForCode(code))
		}
		if code != 0 {
			w.note(n, "unknown")
		}
		return code != 0
	}
	produce := int16(produceV2)
	if version == 1 {
		produce = produceV1
	}
	for partition := range int32(3) {
		if version == 1 {
			if refused("add", x.add("out", partition)) {
				return false
			}
		}
		key := fmt.Sprint("out-", partition)
		b := batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: x.pid, Epoch: x.epoch, Sequence: x.next[key]}},
			batch.Record{Value: fmt.Append(nil, n)})
		req := produceRequest(produce, -1, "out", partition, b)
		req.TransactionID = &x.id
		if refused("produce", produced(ask[*kmsg.ProduceResponse](x.rawConn, req)).ErrorCode) {
			return false
		}
		x.next[key]++
	}
	if version == 2 && rng.IntN(2) == 0 {
		if refused("offset", x.pend(5, x.id, "out", int64(n))) {
			return false
		}
	}
	commit := rng.IntN(3) > 0
	end := int16(endV1)
	if version == 2 {
		end = endV2
	}
	if refused("end", x.end(end, commit)) {
		return false
	}
	w.note(n, map[bool]string{true: "commit", false: "abort"}[commit])
	return true
}

// judge compares all partitions with one another and with what was answered.
func (w *manyWorld) judge() {
	w.t.Helper()
	look := wholeWorld{t: w.t, b: w.b}
	parts := []map[int]bool{look.seen(0), look.seen(1), look.seen(2)}
	for n, what := range w.mu.outcome {
		in := 0
		for _, p := range parts {
			if p[n] {
				in++
			}
		}
		if in != 0 && in != 3 || what == "commit" && in != 3 || what == "abort" && in != 0 {
			w.t.Errorf("transaction %d (%s) is in %d of 3 partitions", n, what, in)
		}
	}
	look.nothingHangs()
}

// TestManyTransactionalIDs: a client that makes up ids fences idle ones, and takes no more
// room than there is.
func TestManyTransactionalIDs(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"weir.max.transactional.ids": "60"}))
	createTopic(t, b, "out", 1)
	kept := beginner(t, b, "kept")
	wantCode(t, "produce", kept.produce(produceV2, "out"), nil)
	idle := beginner(t, b, "idle")
	made, refused := 0, 0
	x := beginner(t, b, "x")
	for i := range 1000 {
		x.id = fmt.Sprint("made-up-", i)
		switch code := x.init(time.Minute); code {
		case 0:
			made++
		case kerr.PolicyViolation.Code: // its shard has nothing that is idle
			refused++
		default:
			t.Fatalf("id %d: %v", i, kerr.ErrorForCode(code))
		}
	}
	list := kmsg.NewPtrListTransactionsRequest()
	states := ask[*kmsg.ListTransactionsResponse](dial(t, b), list).TransactionStates
	if len(states) > 60 || made < 500 {
		t.Errorf("%d ids are kept, %d were made, %d refused", len(states), made, refused)
	}
	wantCode(t, "commit of the one that has a transaction open", kept.end(endV2, true), nil)
	code := idle.produce(produceV2, "out")
	if known := fencedCode(code); code != 0 && !known {
		t.Errorf("the idle one: %v", kerr.ErrorForCode(code))
	}
	b.Restart()
	again := ask[*kmsg.ListTransactionsResponse](dial(t, b), list).TransactionStates
	if len(again) > 60 {
		t.Errorf("%d ids are kept after a restart", len(again))
	}
}

// TestTransactionBadInput: what no producer sends.
func TestTransactionBadInput(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	x := beginner(t, b, "id")
	dial(t, b).findCoordinator(0)
	nobody := &rawTxn{rawConn: x.rawConn, id: "nobody", pid: 7, next: map[string]int32{}}
	wantCode(t, "H111 EndTxn of a producer that never began", nobody.end(endV2, true), kerr.InvalidProducerIDMapping)
	wantCode(t, "so in v1", nobody.end(1, true), kerr.InvalidProducerIDMapping)
	wantCode(t, "its partition", nobody.add("out", 0), kerr.InvalidProducerIDMapping)
	wantCode(t, "its offsets", nobody.addOffsets("g"), kerr.InvalidProducerIDMapping)
	wantCode(t, "its batch", nobody.produce(produceV2, "out"), kerr.InvalidProducerIDMapping)
	wantCode(t, "so in v1", nobody.produce(produceV1, "out"), kerr.InvalidProducerIDMapping)
	empty := &rawTxn{rawConn: x.rawConn, pid: x.pid, next: map[string]int32{}}
	wantCode(t, "no id: its end", empty.end(endV2, true), kerr.InvalidRequest)
	wantCode(t, "its partition", empty.add("out", 0), kerr.InvalidRequest)
	wantCode(t, "its batch", empty.produce(produceV2, "out"), kerr.InvalidRequest)
	old := *x
	old.epoch, old.next = -1, map[string]int32{}
	wantCode(t, "an epoch below 0", old.end(endV2, true), kerr.ProducerFenced)
	wantCode(t, "its partition", old.add("out", 0), kerr.ProducerFenced)
	wantCode(t, "its offsets", old.addOffsets("g"), kerr.ProducerFenced)
	wantCode(t, "commit of nothing", x.end(endV2, true), kerr.InvalidTxnState)
	wantCode(t, "a partition that does not exist", produced(ask[*kmsg.ProduceResponse](x.rawConn, func() *kmsg.ProduceRequest {
		req := produceRequest(produceV2, -1, "out", 9, x.batch("out"))
		req.TransactionID = &x.id
		return req
	}())).ErrorCode, kerr.UnknownTopicOrPartition)
	for version, want := range map[int16]*kerr.Error{0: kerr.InvalidProducerEpoch, 1: kerr.InvalidProducerEpoch, 2: kerr.ProducerFenced, 4: kerr.ProducerFenced} {
		req := old.endRequest(version, true)
		wantCode(t, fmt.Sprint("EndTxn v", version), ask[*kmsg.EndTxnResponse](x.rawConn, req).ErrorCode, want)
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = version, x.id, x.pid, -1, "g"
		wantCode(t, fmt.Sprint("AddOffsetsToTxn v", version), ask[*kmsg.AddOffsetsToTxnResponse](x.rawConn, add).ErrorCode, want)
	}
	for version, want := range map[int16]*kerr.Error{3: kerr.InvalidProducerEpoch, 4: kerr.ProducerFenced} {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = version, &x.id, 1000, x.pid, 5
		wantCode(t, fmt.Sprint("InitProducerId v", version), ask[*kmsg.InitProducerIDResponse](x.rawConn, req).ErrorCode, want)
	}
	wantCode(t, "and all is well", x.produce(produceV2, "out"), nil)
	wantCode(t, "to the end", x.end(endV2, true), nil)
	wantStable(t, b, "at the end", "out", 2, 2)
}
