package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnWriter writes transactions, one after another, as a program with franz-go does: it
// commits, aborts, is taken over by another one of its transactional id, or goes away
// without a word.
type txnWriter struct {
	load   *Load
	number int
	random *rand.Rand
	lives  int // of transactional ids

	*producer // nil: none is open
}

// producer is a client from its begin to its end.
type producer struct {
	load *Load
	cl   *kgo.Client
	id   string // transactional
	self int32  // as a writer of the ledger
	seq  int64
	txn  Txn // the current one
}

func (l *Load) openProducer(id string, options ...kgo.Opt) (*producer, error) {
	p := &producer{load: l, id: id, self: l.newWriter()}
	p.txn.Producer = fmt.Sprintf("%s/%d", id, p.self)
	var err error
	p.cl, err = l.cfg.Target.client(append(options, kgo.TransactionalID(id), kgo.TransactionTimeout(txnTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	return p, err
}

// send gives a record to the client; failed counts those that are not acknowledged.
func (p *producer) send(ctx context.Context, to Partition, from *Record, bytes int, failed *atomic.Int32) {
	id := Record{p.self, p.seq}
	p.seq++
	ledger := p.load.cfg.Ledger
	ledger.Add(SentIn{Sent{id, to}, p.txn})
	if from != nil {
		ledger.Add(Made{id, *from})
	}
	p.cl.Produce(ctx, &kgo.Record{Topic: to.Topic, Partition: to.Number, Value: value(id, bytes)}, func(r *kgo.Record, err error) {
		if err != nil {
			failed.Add(1)
			ledger.Add(Unknown{id})
			return
		}
		ledger.Add(Acked{id, r.Offset})
	})
}

// end asks for the end of the transaction; false if it is not known how it ended.
func (p *producer) end(ctx context.Context, commit bool) bool {
	p.load.cfg.Ledger.Add(EndAsked{p.txn, commit})
	if err := p.cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		return false
	}
	p.load.cfg.Ledger.Add(EndAnswered{p.txn, commit})
	return true
}

// run writes transactions until ctx ends.
func (w *txnWriter) run(ctx context.Context) {
	for pause(ctx, time.Duration(20+w.random.IntN(80))*time.Millisecond) {
		if w.producer == nil && !w.open(fmt.Sprintf("%s-%d.%d", txnTopic, w.number, w.lives)) {
			return
		}
		w.one(w.load.records)
	}
	if w.producer != nil {
		w.cl.Close()
	}
}

func (w *txnWriter) open(id string) bool {
	var err error
	if w.producer, err = w.load.openProducer(id); err != nil {
		w.load.cfg.Ledger.Add(Broken{Anomaly{ProducerStuck, err.Error()}})
		return false
	}
	return true
}

// one writes a transaction and ends it in some way. After anything that did not go as it
// should the client is thrown away.
func (w *txnWriter) one(ctx context.Context) {
	w.txn.Number++
	if w.cl.BeginTransaction() != nil || !w.write(ctx, 1+w.random.IntN(8)) {
		w.abort(ctx)
		return
	}
	switch n := w.random.IntN(100); {
	case n < 2: // nobody ends it
		w.close()
		w.lives++
	case n < 6:
		w.takeOver(ctx)
	default:
		if !w.end(ctx, n < 80) {
			w.close()
		}
	}
}

// write sends records to several partitions; false if not all were acknowledged.
func (p *producer) write(ctx context.Context, n int) bool {
	var failed atomic.Int32
	for range n {
		p.send(ctx, Partition{txnTopic, int32(p.seq) % int32(p.load.cfg.Partitions)}, nil, p.load.cfg.RecordBytes, &failed)
	}
	return p.cl.Flush(ctx) == nil && failed.Load() == 0
}

func (w *txnWriter) abort(ctx context.Context) {
	if w.cl.AbortBufferedRecords(ctx) != nil || !w.end(ctx, false) {
		w.close()
	}
}

func (w *txnWriter) close() {
	w.cl.Close()
	w.producer = nil
}

// takeOver opens another client with the same transactional id. The first one, which
// has not noticed, writes more and would commit.
func (w *txnWriter) takeOver(ctx context.Context) {
	zombie := w.producer
	defer zombie.cl.Close()
	pid, epoch, err := zombie.cl.ProducerID(ctx)
	if !w.open(zombie.id) || err != nil {
		return
	}
	if _, _, err := w.cl.ProducerID(ctx); err != nil {
		w.close()
		return
	}
	w.load.cfg.Ledger.Add(Fenced{zombie.txn})
	zombie.haunt(ctx, Partition{txnTopic, int32(w.random.IntN(w.load.cfg.Partitions))})
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = zombie.id, pid, epoch, true
	w.load.cfg.Ledger.Add(EndAsked{zombie.txn, true})
	if resp, err := end.RequestWith(ctx, zombie.cl); err == nil && resp.ErrorCode == 0 {
		w.load.cfg.Ledger.Add(EndAnswered{zombie.txn, true})
	}
}

// haunt writes a record after the producer was fenced.
func (p *producer) haunt(ctx context.Context, to Partition) {
	id := Record{p.self, p.seq}
	p.seq++
	p.load.cfg.Ledger.Add(SentIn{Sent{id, to}, p.txn})
	r, err := p.cl.ProduceSync(ctx, &kgo.Record{Topic: to.Topic, Partition: to.Number, Value: value(id, 100)}).First()
	if err != nil {
		p.load.cfg.Ledger.Add(Refused{id})
		return
	}
	p.load.cfg.Ledger.Add(Acked{id, r.Offset})
}
