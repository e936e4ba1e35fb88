package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// copier reads what is committed in one topic, writes each record to another one, and
// commits where it has come to in the same transaction (KIP-447): a loop that reads,
// processes and writes, with each input processed once. Sometimes it dies in it.
type copier struct {
	load   *Load
	number int
	random *rand.Rand
}

// run is one life after another, all with one transactional id.
func (c *copier) run(ctx context.Context) {
	for life := 0; ctx.Err() == nil; life++ {
		if err := c.live(ctx, life); err != nil {
			c.load.cfg.Ledger.Add(Broken{Anomaly{GroupStuck, err.Error()}})
			return
		}
	}
}

func (c *copier) live(ctx context.Context, life int) error {
	l := c.load
	protocol := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	if l.cfg.Copiers == Consumer {
		protocol = []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}
	}
	p := &producer{load: l, id: fmt.Sprintf("%s-%d", copyTopic, c.number), self: l.newWriter()}
	p.txn.Producer = fmt.Sprintf("%s/%d", p.id, p.self)
	session, err := kgo.NewGroupTransactSession(append(l.cfg.Target.options(), append(protocol,
		kgo.TransactionalID(p.id), kgo.TransactionTimeout(txnTimeout), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ConsumerGroup(copyGroup), kgo.ConsumeTopics(txnTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Markers count as read, too: the group comes to the end of the log.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.SessionTimeout(2*sessionTimeout), kgo.RebalanceTimeout(6*time.Second))...)...)
	if err != nil {
		return fmt.Errorf("make a copier: %w", err)
	}
	defer session.Close()
	p.cl = session.Client()
	// The last of it is not when the load ends, but when its transaction has.
	for rounds := 5 + c.random.IntN(150); ctx.Err() == nil; rounds-- {
		limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		fetches := session.PollRecords(limited, 200)
		cancel()
		if fetches.NumRecords() == 0 {
			continue
		}
		dies := rounds <= 0 && l.draining.Err() == nil
		if !c.copy(session, p, fetches, dies) || dies {
			return nil
		}
	}
	return nil
}

// copy is one transaction; false if it is not known how it ended.
func (c *copier) copy(session *kgo.GroupTransactSession, p *producer, fetches kgo.Fetches, dies bool) bool {
	ctx, cancel := context.WithTimeout(c.load.copyRecords, 20*time.Second)
	defer cancel()
	if err := session.Begin(); err != nil {
		return false
	}
	p.txn.Number++
	var failed atomic.Int32
	fetches.EachRecord(func(r *kgo.Record) {
		switch id, ok := identifyRecord(r); {
		case !ok:
			c.load.cfg.Ledger.Add(Garbled{Partition{r.Topic, r.Partition}, r.Offset, string(r.Value)})
		case !id.isMarker():
			p.send(ctx, Partition{copyTopic, r.Partition}, &id, 100, &failed)
		}
	})
	if err := p.cl.Flush(ctx); err != nil || dies {
		return false
	}
	commit := failed.Load() == 0
	c.load.cfg.Ledger.Add(EndAsked{p.txn, commit})
	done, err := session.End(ctx, kgo.TransactionEndTry(commit))
	if err != nil {
		return false
	}
	c.load.cfg.Ledger.Add(EndAnswered{p.txn, done})
	return true
}
