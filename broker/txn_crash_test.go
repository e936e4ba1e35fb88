package broker_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// TestEndsAreWholeAfterCrashes: producers write to three partitions and commit an offset in
// each transaction; the power is cut, or the broker killed, at random, often between the
// request of an end and its answer. Afterwards a transaction is in all partitions, with its
// offset, or in none; what was answered is as it was answered; and in the end nothing hangs.
func TestEndsAreWholeAfterCrashes(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for _, durability := range []string{"sync", "os"} {
		t.Run(durability, func(t *testing.T) {
			w := &wholeWorld{t: t, rng: rand.New(rand.NewPCG(1, 2)), durable: durability == "sync", outcome: map[int]string{}}
			w.b = brokertest.Start(t, brokertest.WithDurability(durability))
			createTopic(t, w.b, "out", 3)
			dial(t, w.b).findCoordinator(0)
			for range rounds {
				w.round()
				if t.Failed() {
					return
				}
			}
			w.finish()
			if w.unknown == 0 || len(w.outcome) < rounds {
				t.Errorf("%d transactions, %d ends without an answer: too few", len(w.outcome), w.unknown)
			}
		})
	}
}

type wholeWorld struct {
	t       *testing.T
	rng     *rand.Rand
	b       *brokertest.Broker
	durable bool
	next    int            // number of the next transaction
	outcome map[int]string // commit, abort or unknown
	unknown int
	pending []byte // the request that is to be interrupted
}

// stopInside sends the request of an end, and returns when the broker has made a few
// operations on its files for it, while it is about to make the next.
func (w *wholeWorld) stopInside(x *rawTxn) {
	reached, answered := make(chan struct{}), make(chan struct{})
	left := w.rng.IntN(8)
	w.b.Files().Add(vfs.Rule{Op: vfs.OpAny, Err: vfs.ErrLocked, Match: func(string) bool {
		left--
		if left == 0 {
			close(reached)
			for range 200 {
				runtime.Gosched() // the power is cut meanwhile
			}
		}
		return false
	}})
	x.write(w.pending)
	go func() {
		x.readFrame()
		close(answered)
	}()
	select {
	case <-reached:
	case <-answered:
	}
}

// round runs a few transactions, cuts the power in the last of them, and looks.
func (w *wholeWorld) round() {
	x := beginner(w.t, w.b, "id")
	for range w.rng.IntN(3) {
		w.transaction(x, true)
	}
	w.transaction(x, false)
	if w.outcome[w.next-1] == "sent" {
		w.outcome[w.next-1] = "unknown"
		w.stopInside(x)
	}
	x.net.Close() // else the broker would wait for it to take its answer
	if w.durable && w.rng.IntN(2) == 0 {
		w.b.Crash(w.rng.Uint64())
	} else {
		w.b.Kill()
	}
	w.judge()
}

// transaction writes its number to each partition and commits it as an offset. When it is
// cut off, it is anywhere.
func (w *wholeWorld) transaction(x *rawTxn, whole bool) {
	n := w.next
	w.next++
	w.outcome[n] = "unknown"
	stop := 5
	if !whole {
		stop = min(w.rng.IntN(8), 4) // at 4, the end itself is interrupted
	}
	for partition := range int32(3) {
		if int(partition) >= stop {
			return
		}
		b := batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: x.pid, Epoch: x.epoch}},
			batch.Record{Value: fmt.Append(nil, n)})
		req := produceRequest(produceV2, -1, "out", partition, b)
		req.TransactionID = &x.id
		wantCode(w.t, "produce", produced(ask[*kmsg.ProduceResponse](x.rawConn, req)).ErrorCode, nil)
	}
	if stop == 3 {
		return
	}
	wantCode(w.t, "offset", x.pend(5, "g", "out", int64(n)), nil)
	commit := w.rng.IntN(3) > 0
	if !whole {
		w.pending = x.frame(x.endRequest(endV2, commit))
		w.outcome[n] = "sent"
		w.unknown++
		return
	}
	wantCode(w.t, "end", x.end(endV2, commit), nil)
	w.outcome[n] = map[bool]string{true: "commit", false: "abort"}[commit]
}

// seen are the transactions that a read_committed consumer finds in a partition.
func (w *wholeWorld) seen(partition int32) map[int]bool {
	w.t.Helper()
	c := dial(w.t, w.b)
	found, skipping := map[int]bool{}, map[int64]bool{}
	for at := int64(0); ; {
		req := fetchRequest(12, "out", partition, at)
		req.IsolationLevel, req.MinBytes = 1, 0
		p := fetched(ask[*kmsg.FetchResponse](c, req))
		wantCode(w.t, "fetch", p.ErrorCode, nil)
		aborted := map[int64]int64{} // first offset by producer id, of what is not over before at
		for _, a := range p.AbortedTransactions {
			aborted[a.FirstOffset] = a.ProducerID
		}
		if len(p.RecordBatches) == 0 {
			return found
		}
		at = w.batches(p.RecordBatches, partition, aborted, skipping, found)
	}
}

// batches looks at those of one answer, and returns the offset behind them.
func (w *wholeWorld) batches(rest []byte, partition int32, aborted map[int64]int64, skipping map[int64]bool, found map[int]bool) (next int64) {
	for len(rest) > 0 {
		b, more, err := batch.Split(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		rest, next = more, b.NextOffset()
		pid := b.ProducerID()
		if b.Control() {
			delete(skipping, pid)
			continue
		}
		if by, ok := aborted[b.BaseOffset()]; ok && by == pid {
			skipping[pid] = true
		}
		if skipping[pid] {
			continue
		}
		for r, err := range b.Records(1 << 20) {
			var n int
			if _, scan := fmt.Sscan(string(r.Value), &n); err != nil || scan != nil {
				w.t.Fatal(err, scan)
			}
			if found[n] {
				w.t.Errorf("transaction %d is twice in partition %d", n, partition)
			}
			found[n] = true
		}
	}
	return next
}

// judge compares the partitions and the offset with one another and with what was answered.
func (w *wholeWorld) judge() {
	w.t.Helper()
	parts := []map[int]bool{w.seen(0), w.seen(1), w.seen(2)}
	last := -1
	for n := range w.next {
		in := 0
		for _, p := range parts {
			if p[n] {
				in++
			}
		}
		switch what := w.outcome[n]; {
		case in != 0 && in != 3:
			w.t.Errorf("transaction %d (%s) is in %d of 3 partitions", n, what, in)
		case what == "commit" && in != 3 || what == "abort" && in != 0:
			w.t.Errorf("transaction %d was answered %s and is in %d of 3 partitions", n, what, in)
		}
		if in == 3 {
			last = n
		}
	}
	adm := kmsg.NewPtrOffsetFetchRequest()
	adm.Version, adm.Group = 7, "g"
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = "out", []int32{0}
	adm.Topics = append(adm.Topics, rt)
	got := ask[*kmsg.OffsetFetchResponse](dial(w.t, w.b), adm).Topics[0].Partitions[0]
	wantCode(w.t, "offset fetch", got.ErrorCode, nil)
	if int(got.Offset) != last {
		w.t.Errorf("the offset is that of transaction %d, the last one in the partitions is %d", got.Offset, last)
	}
}

// finish: the next producer ends what is open, and nothing hangs.
func (w *wholeWorld) finish() {
	beginner(w.t, w.b, "id")
	w.nothingHangs()
	w.judge()
}

func (w *wholeWorld) nothingHangs() {
	w.t.Helper()
	for partition := range int32(3) {
		req := fetchRequest(12, "out", partition, 0)
		req.IsolationLevel = 1
		if p := fetched(ask[*kmsg.FetchResponse](dial(w.t, w.b), req)); p.LastStableOffset != p.HighWatermark {
			w.t.Errorf("partition %d: last stable offset %d, high watermark %d", partition, p.LastStableOffset, p.HighWatermark)
		}
	}
}
