package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// ender writes small transactions with requests of its own and asks for their ends in
// ways that a client's library never would: twice at once, both to commit and to abort,
// late, when the next transaction is open, and with epochs of long ago.
type ender struct {
	load    *Load
	random  *rand.Rand
	next    bool // version 2 of the protocol of transactions (KIP-890)
	id      string
	self    int32
	seq     int64
	clients [2]*kgo.Client // requests on both overtake one another

	ready bool
	pid   int64
	epoch int16
	sent  map[int32]int32 // next sequence number, by partition
	txn   Txn
	last  txnEnd // the end of the transaction before, to be sent again
}

// txnEnd is a request for the end of a transaction.
type txnEnd struct {
	txn    Txn
	pid    int64
	epoch  int16
	commit bool
}

// newEnder makes an ender; every second one speaks version 1 of the protocol, as
// clients before Kafka 4.0 do.
func newEnder(l *Load, number int) (*ender, error) {
	e := &ender{load: l, random: l.dice(number, 3), next: number%2 == 0, id: fmt.Sprintf("%s-%d", endsTopic, number)}
	versions := kversion.V4_1_0()
	if !e.next {
		versions = kversion.V3_5_0()
		versions.SetMaxKeyVersion(24, 3) // AddPartitionsToTxn of clients; above it is for brokers
	}
	for i := range e.clients {
		var err error
		if e.clients[i], err = l.cfg.Target.client(kgo.MaxVersions(versions)); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// run writes transactions until ctx ends.
func (e *ender) run(ctx context.Context) {
	defer func() {
		for _, cl := range e.clients {
			cl.Close()
		}
	}()
	gap := time.Second * 2 / time.Duration(e.load.cfg.EndRate)
	for pause(ctx, time.Duration(e.random.Int64N(int64(gap)))) {
		if e.ready || e.init(e.load.records) {
			e.one(e.load.records)
		}
	}
}

// ask sends a request once. What is not answered may be carried out.
func (e *ender) ask(ctx context.Context, client int, req kmsg.Request) kmsg.Response {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := e.clients[client].SeedBrokers()[0].Request(limited, req)
	if err != nil {
		return nil
	}
	return resp
}

// init takes the transactional id, which ends what it has open.
func (e *ender) init(ctx context.Context) bool {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &e.id, int32(txnTimeout.Milliseconds())
	resp, ok := e.ask(ctx, 0, req).(*kmsg.InitProducerIDResponse)
	if !ok || resp.ErrorCode != 0 {
		e.find(ctx)
		return false
	}
	e.ready, e.pid, e.epoch, e.sent, e.last = true, resp.ProducerID, resp.ProducerEpoch, map[int32]int32{}, txnEnd{}
	e.self, e.seq = e.load.newWriter(), 0
	e.txn.Producer = fmt.Sprintf("%s/%d", e.id, e.self)
	return true
}

// find asks for the coordinator, which makes its topic when it is asked first.
func (e *ender) find(ctx context.Context) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = 1, e.id, []string{e.id}
	e.ask(ctx, 0, req)
}

// one is a transaction. When the outcome is not known, or the producer was fenced by a
// timeout, the next one begins with init.
func (e *ender) one(ctx context.Context) {
	e.txn.Number++
	partitions := e.random.Perm(e.load.cfg.Partitions)[:1+e.random.IntN(e.load.cfg.Partitions)]
	if !e.next && !e.add(ctx, partitions) || !e.produce(ctx, partitions) {
		e.ready = false
		return
	}
	end := txnEnd{e.txn, e.pid, e.epoch, e.random.IntN(3) > 0}
	other := end
	other.commit = !end.commit
	switch e.random.IntN(6) {
	case 0: // twice at once
		e.settle(end, e.both(ctx, end, end))
	case 1: // to commit and to abort at once: the answers tell which
		e.settle(end, e.both(ctx, end, other))
	case 2: // that of the transaction before, late or once more
		if late := e.last; late.pid == e.pid && e.next {
			late.commit = late.commit != (e.random.IntN(4) == 0)
			e.end(ctx, 1, late)
		}
		e.settle(end, []*kmsg.EndTxnResponse{e.end(ctx, 0, end)})
	case 3:
		e.stale(ctx)
		e.settle(end, []*kmsg.EndTxnResponse{e.end(ctx, 0, end)})
	case 4: // again when it has ended, and sometimes in another way
		e.settle(end, []*kmsg.EndTxnResponse{e.end(ctx, 0, end)})
		if e.random.IntN(3) == 0 {
			end = other
		}
		if e.ready {
			e.ready = e.end(ctx, 1, end) != nil || e.next
		}
	default:
		e.settle(end, []*kmsg.EndTxnResponse{e.end(ctx, 0, end)})
	}
}

// end asks for an end once; nil if it is not answered.
func (e *ender) end(ctx context.Context, client int, end txnEnd) *kmsg.EndTxnResponse {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = e.id, end.pid, end.epoch, end.commit
	e.load.cfg.Ledger.Add(EndAsked{end.txn, end.commit})
	resp, ok := e.ask(ctx, client, req).(*kmsg.EndTxnResponse)
	if !ok {
		return nil
	}
	if resp.ErrorCode == 0 {
		e.load.cfg.Ledger.Add(EndAnswered{end.txn, end.commit})
	}
	return resp
}

// both asks for two ends at once.
func (e *ender) both(ctx context.Context, one, two txnEnd) []*kmsg.EndTxnResponse {
	out := make([]*kmsg.EndTxnResponse, 2)
	var wait sync.WaitGroup
	wait.Go(func() { out[0] = e.end(ctx, 0, one) })
	wait.Go(func() { out[1] = e.end(ctx, 1, two) })
	wait.Wait()
	return out
}

// stale asks for an end with an epoch of before the last one.
func (e *ender) stale(ctx context.Context) {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = e.id, e.pid, e.epoch-2, e.random.IntN(2) == 0
	if req.ProducerEpoch < 0 {
		return
	}
	resp, ok := e.ask(ctx, 1, req).(*kmsg.EndTxnResponse)
	e.load.cfg.Ledger.Add(StaleEnd{e.txn, ok && resp.ErrorCode == 0})
}

// settle goes on with the epoch that the answers told. In version 1 of the protocol a
// request without an answer could end the next transaction, if that had the same epoch.
func (e *ender) settle(end txnEnd, answers []*kmsg.EndTxnResponse) {
	e.ready = false
	for _, resp := range answers {
		if resp == nil && !e.next {
			e.ready = false
			return
		}
		if resp == nil || resp.ErrorCode != 0 {
			continue
		}
		e.ready, e.last = true, end
		if e.next {
			e.pid, e.epoch = resp.ProducerID, resp.ProducerEpoch
			clear(e.sent)
		}
	}
}
