package broker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// transactions is the coordinator of transactions. The logic is in internal/txn; here is
// its shell: a shard per partition of __transaction_state owns one txn.Core, and works for
// one at a time: for its goroutine, or for the connection that asks while it is idle.
//
//	handler ──errand──▶ turn or mailbox of shard hash(transactional id) ──▶ core
//	                                                   │ records, ends
//	          ┌────────────────────────────────────────┴─────────────────────┐
//	          │ one commit: records · markers in all partitions · offsets of  │
//	          │ the groups, whose shards stand still meanwhile                │
//	          └───────────────────────────────────────────────────────────────┘
//
// The end of a transaction is one frame of the journal. When it is answered, it is
// complete: what was committed can be read, and the next transaction can begin.
//
// Lock order: a shard of transactions, then shards of groups standing still in the order of
// their numbers, then partitions. A shard of transactions takes the metadata store's token,
// for new producer ids, only while it has no group's shard.
type transactions struct {
	shardSet[*txnShard]
	cfg  txnConfig
	core txn.Config // what each shard's core is made with
	open *openTxns
	ids  atomic.Int64 // transactional ids of all shards
}

// txnConfig is what the coordinator of transactions needs of the broker. All is required
// unless it says otherwise.
type txnConfig struct {
	store     *storage.Store
	topics    topicSource
	groups    *coordinator
	producers *producerIDs
	settings  *meta.Settings
	now       func() time.Time
	logger    *slog.Logger
	panicked  func(p any, stack []byte)              // optional: counts a panic of a shard, which is logged
	ended     func(kind txn.Kind, reason txn.Reason) // optional: counts ends
	frame     int64                                  // the journal's file size, which bounds an append; 0: the default, 64 MiB
	failed    <-chan struct{}                        // optional; closed when only what is durable shall be told from then on
}

func newTransactions(cfg txnConfig) *transactions {
	if cfg.frame == 0 {
		cfg.frame = 64 << 20
	}
	s := cfg.settings
	t := &transactions{cfg: cfg, open: newOpenTxns()}
	t.shardSet = shardSet[*txnShard]{
		topics: cfg.topics, topic: meta.TransactionsTopic, partitions: s.TxnTopicPartitions,
		open: func(topic *meta.Topic, number int32) *txnShard { return newTxnShard(t, topic, number) },
	}
	t.prepare()
	t.core = txn.Config{
		MaxTimeout: s.TxnMaxTimeout, IDExpiration: s.TxnIDExpiration, MaxIDs: s.MaxTxnIDs,
		// What a step may put out fits into a frame several times.
		MaxPartitions: int(min(int64(s.MaxTxnPartitions), cfg.frame/(8*txnMarkerBytes))),
		MaxRecord:     int(min(1<<20, cfg.frame/8)),
		MaxTick:       t.crowd(),
		Count:         func(n int) int { return int(t.ids.Add(int64(n))) },
	}
	return t
}

// txnMarkerBytes is what a marker takes in the journal, at most.
const txnMarkerBytes = 256

// crowd is how many bytes of records and markers a shard gathers before it commits them.
func (t *transactions) crowd() int { return int(min(1<<20, t.cfg.frame/8)) }

// begin has the shard of a producer take partitions into its transaction, from a goroutine
// that can wait: until the record is in the journal, not until it is durable. The LSN is
// what an answer that tells of it must wait for.
func (t *transactions) begin(ctx context.Context, from txn.Sender, parts []txn.Partition, version int16) (code int16, lsn storage.LSN) {
	done := make(chan struct{})
	t.ask(ctx, from.TransactionalID, errand[*txnShard]{
		step: func(s *txnShard, now time.Time) func(storage.LSN) {
			code = s.core.AddPartitions(now, from, parts, version)
			return func(at storage.LSN) {
				lsn = at
				close(done)
			}
		},
		fail: func(c int16) {
			code = c
			close(done)
		},
	})
	<-done
	return code, lsn
}

// verify asks the shard of a producer whether its open transaction has the partitions.
func (t *transactions) verify(ctx context.Context, from txn.Sender, parts []txn.Partition) (whole int16, each []int16, lsn storage.LSN) {
	done := make(chan struct{})
	t.ask(ctx, from.TransactionalID, errand[*txnShard]{
		step: func(s *txnShard, _ time.Time) func(storage.LSN) {
			whole, each = s.core.Verify(from, parts)
			return func(at storage.LSN) {
				lsn = at
				close(done)
			}
		},
		fail: func(c int16) {
			whole = c
			close(done)
		},
	})
	<-done
	return whole, each, lsn
}

// fenced gives the code that a version of a request knows for a producer that was fenced.
func fenced(code, version, since int16) int16 {
	if code == kerr.ProducerFenced.Code && version < since {
		return kerr.InvalidProducerEpoch.Code
	}
	return code
}
