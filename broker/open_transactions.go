package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// OpenTransaction is a transaction that is open: consumers that read committed records
// only wait at its partitions until it ends.
type OpenTransaction struct {
	// TransactionalID is empty if the transaction hangs: no coordinator knows of it. The
	// next start of the broker aborts it.
	TransactionalID string
	ProducerID      int64
	Epoch           int16
	Started         time.Time     // zero if it hangs
	Timeout         time.Duration // after which the broker aborts it; zero if it hangs
	Partitions      []OpenTransactionPartition
}

// OpenTransactionPartition is a partition of an open transaction.
type OpenTransactionPartition struct {
	Topic     string
	Partition int32
	// FirstOffset is that of the first record in the transaction, where consumers wait; -1
	// if nothing is written there yet.
	FirstOffset int64
}

// OpenTransactions tells which transactions are open, those that began first before the
// others, and those that hang at the end.
func (b *Broker) OpenTransactions(ctx context.Context) ([]OpenTransaction, error) {
	list, err := b.txns.ongoing(ctx)
	if err != nil {
		return nil, err
	}
	image := b.metadata.image()
	for i := range list {
		for k := range list[i].Partitions {
			p := &list[i].Partitions[k]
			p.FirstOffset = -1
			t := image.Topic(p.Topic)
			if t == nil || p.Partition >= t.Partitions {
				continue
			}
			if w, ok := b.store.Partition(t.ID, p.Partition).ActiveProducer(list[i].ProducerID); ok {
				p.FirstOffset = w.TxnStart
			}
		}
	}
	return append(list, b.txns.hanging()...), nil
}

// ongoing asks all shards what is open.
func (t *transactions) ongoing(ctx context.Context) ([]OpenTransaction, error) {
	shards := t.all()
	type answer struct {
		list []OpenTransaction
		code int16
	}
	answers := make(chan answer, len(shards))
	for _, s := range shards {
		s.send(ctx, errand[*txnShard]{
			step: func(s *txnShard, now time.Time) func(storage.LSN) {
				list := s.ongoing(now)
				return func(storage.LSN) { answers <- answer{list: list} }
			},
			fail: func(code int16) { answers <- answer{code: code} },
		})
	}
	list := []OpenTransaction{}
	for range shards {
		select {
		case a := <-answers:
			if a.code != 0 {
				return nil, fmt.Errorf("open transactions: %w", kerr.ErrorForCode(a.code))
			}
			list = append(list, a.list...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.SortFunc(list, func(a, b OpenTransaction) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.TransactionalID, b.TransactionalID))
	})
	return list, nil
}

func (s *txnShard) ongoing(now time.Time) (list []OpenTransaction) {
	for _, listed := range s.core.List(now, &txn.Filter{States: map[txn.State]bool{txn.Ongoing: true}, Duration: -1}) {
		d := s.core.Describe(listed.TransactionalID)
		x := OpenTransaction{
			TransactionalID: d.TransactionalID, ProducerID: d.ProducerID, Epoch: d.ProducerEpoch,
			Started: time.UnixMilli(d.StartTimestamp), Timeout: time.Duration(d.TimeoutMillis) * time.Millisecond,
		}
		for _, t := range d.Topics {
			for _, number := range t.Partitions {
				x.Partitions = append(x.Partitions, OpenTransactionPartition{Topic: t.Topic, Partition: number})
			}
		}
		list = append(list, x)
	}
	return list
}

// hanging looks through all partitions for transactions that no coordinator has.
func (t *transactions) hanging() []OpenTransaction {
	var list []OpenTransaction
	at := map[int64]int{}
	for _, topic := range t.cfg.topics.image().Topics() {
		for number := range topic.Partitions {
			for _, w := range t.cfg.store.Partition(topic.ID, number).OpenTxns() {
				if !t.open.hangs(w.ID, txnPartition{topic.ID, number}) {
					continue
				}
				i, again := at[w.ID]
				if !again {
					i = len(list)
					at[w.ID] = i
					list = append(list, OpenTransaction{ProducerID: w.ID, Epoch: w.Epoch})
				}
				list[i].Partitions = append(list[i].Partitions, OpenTransactionPartition{topic.Name, number, w.TxnStart})
			}
		}
	}
	slices.SortFunc(list, func(a, b OpenTransaction) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return list
}

// openTransaction is an OpenTransaction as the admin address tells it.
type openTransaction struct {
	TransactionalID string                     `json:"transactionalId,omitempty"`
	ProducerID      int64                      `json:"producerId"`
	Epoch           int16                      `json:"epoch"`
	Hangs           bool                       `json:"hangs,omitempty"`
	Started         *time.Time                 `json:"started,omitempty"` // RFC 3339, UTC
	AgeMs           int64                      `json:"ageMs,omitempty"`
	TimeoutMs       int64                      `json:"timeoutMs,omitempty"`
	Partitions      []openTransactionPartition `json:"partitions"`
}

type openTransactionPartition struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	FirstOffset int64  `json:"firstOffset"` // -1: nothing is written there yet
}

// serveOpenTransactions answers GET /transactions.
func (b *Broker) serveOpenTransactions(w http.ResponseWriter, r *http.Request) {
	list, err := b.OpenTransactions(r.Context())
	answer := struct {
		Transactions []openTransaction `json:"transactions"`
		Error        string            `json:"error,omitempty"`
	}{Transactions: []openTransaction{}}
	status := http.StatusOK
	if err != nil {
		status, answer.Error = http.StatusServiceUnavailable, err.Error()
	}
	now := b.cfg.Now()
	for i := range list {
		answer.Transactions = append(answer.Transactions, toldTransaction(&list[i], now))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the asker is gone if it fails
}

func toldTransaction(x *OpenTransaction, now time.Time) openTransaction {
	told := openTransaction{
		TransactionalID: x.TransactionalID, ProducerID: x.ProducerID, Epoch: x.Epoch, Hangs: x.TransactionalID == "",
		TimeoutMs: x.Timeout.Milliseconds(), Partitions: []openTransactionPartition{},
	}
	if !x.Started.IsZero() {
		started := x.Started.UTC()
		told.Started, told.AgeMs = &started, max(0, now.Sub(started).Milliseconds())
	}
	for _, p := range x.Partitions {
		told.Partitions = append(told.Partitions, openTransactionPartition(p))
	}
	return told
}
