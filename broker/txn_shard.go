package broker

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// txnShard owns the transactional ids of one partition. All fields belong to who has the
// loop's turn: most often the connection that asks.
type txnShard struct {
	loop[*txnShard]
	txns *transactions
	log  *txnLog

	core  *txn.Core   // nil while the shard could not be rebuilt
	lsn   storage.LSN // of the newest record
	spare int64       // a producer id that the next step may use; -1: none
	// mine are the producers whose transactions are open in this shard.
	mine map[int64]struct{}
	told bool // openTxns has all of them
}

func newTxnShard(t *transactions, topic *meta.Topic, number int32) *txnShard {
	s := &txnShard{
		txns: t, spare: -1, mine: map[int64]struct{}{},
		log: &txnLog{store: t.cfg.store, partition: t.cfg.store.Partition(topic.ID, number)},
	}
	s.loop = newLoop(loopConfig{
		ctx: t.ctx, now: t.cfg.now, panicked: t.cfg.panicked, failed: t.cfg.failed, direct: true,
		logger: t.cfg.logger.With("topic", meta.TransactionsTopic, "partition", number),
	}, s)
	t.open.unsure.Add(1)
	return s
}

// load implements keeper.
func (s *txnShard) load() error {
	cfg := s.txns.core
	cfg.NewProducerID = s.takeSpare
	core := txn.New(cfg)
	lsn, skipped, err := s.log.replay(s.ctx, core)
	if err != nil {
		s.txns.ids.Add(-int64(core.Len()))
		return err
	}
	if skipped > 0 {
		s.logger.Warn("records of unknown kinds were passed over", "records", skipped)
	}
	s.core, s.lsn = core, lsn
	image := s.txns.cfg.topics.image()
	core.Ready(s.now(), func(name string) [16]byte {
		if t := image.Topic(name); t != nil {
			return t.ID
		}
		return [16]byte{}
	})
	return s.finish()
}

// finish ends what the log has decided and not ended, act by act.
func (s *txnShard) finish() error {
	for more := true; more; {
		more = s.core.Finish(s.now())
		out := s.core.Take()
		lsn, err := s.act(&out)
		if err != nil {
			s.loop.discard()
			return err
		}
		s.lsn = max(s.lsn, lsn)
	}
	return nil
}

// alive implements keeper.
func (s *txnShard) alive() bool { return s.core != nil }

// deadline implements keeper. When storage has failed, nothing can end any more.
func (s *txnShard) deadline() (time.Time, bool) {
	if s.log.store.Err() != nil {
		return time.Time{}, false
	}
	return s.core.Deadline()
}

// tick implements keeper.
func (s *txnShard) tick(now time.Time) { s.core.Tick(now) }

// crowded implements keeper.
func (s *txnShard) crowded() bool { return s.core.Pending() >= s.txns.crowd() }

// flush implements keeper.
func (s *txnShard) flush() (storage.LSN, error) {
	if out := s.core.Take(); len(out.Records)+len(out.Changes) > 0 {
		lsn, err := s.act(&out)
		if err != nil {
			return 0, err
		}
		s.lsn = max(s.lsn, lsn)
	}
	if !s.told {
		s.told = true
		s.txns.open.unsure.Add(-1)
	}
	return s.lsn, nil
}

// hear implements keeper. Nobody tells it anything.
func (s *txnShard) hear(time.Time) {}

// end implements keeper. The core keeps nobody waiting.
func (s *txnShard) end(int16) {}

// discard implements keeper.
func (s *txnShard) discard(int16) {
	if s.told {
		s.told = false
		s.txns.open.unsure.Add(1)
	}
	if s.core != nil {
		for id := range s.mine {
			s.txns.open.forget(id)
		}
		clear(s.mine)
		s.txns.ids.Add(-int64(s.core.Len()))
		s.core = nil
	}
}

// provide makes sure that the next step can have a new producer id.
func (s *txnShard) provide() error {
	if s.spare >= 0 {
		return nil
	}
	id, _, err := s.txns.cfg.producers.next(s.ctx)
	if err != nil {
		return fmt.Errorf("new producer id: %w", err)
	}
	s.spare = id
	return nil
}

func (s *txnShard) takeSpare() int64 {
	id := s.spare
	if id < 0 {
		panic("transaction coordinator: a step without a producer id to spare asks for one")
	}
	s.spare = -1
	return id
}

// answering is an errand with one answer that is known when its step is done.
func answering(c *call, step func(s *txnShard, now time.Time) kmsg.Response, failed func(code int16) kmsg.Response) errand[*txnShard] {
	unpin := c.pin()
	return errand[*txnShard]{
		step: func(s *txnShard, now time.Time) func(storage.LSN) {
			defer unpin()
			resp := step(s, now)
			return func(lsn storage.LSN) { c.reply(resp, lsn) }
		},
		fail: func(code int16) {
			unpin()
			c.reply(failed(code), 0)
		},
	}
}
