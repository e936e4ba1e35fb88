package sim

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// liveReader reads all topics without a group, through all faults.
type liveReader struct {
	load *Load
	cl   *kgo.Client
}

func newLiveReader(l *Load) (*liveReader, error) {
	cl, err := l.cfg.Target.client(kgo.ConsumeTopics(append(l.txnTopics(), l.topics...)...), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	return &liveReader{l, cl}, err
}

func (r *liveReader) run(ctx context.Context) {
	defer r.cl.Close()
	for ctx.Err() == nil {
		r.cl.PollRecords(ctx, 1000).EachRecord(func(rec *kgo.Record) {
			note(r.load.cfg.Ledger, rec, "live")
		})
	}
}

// note adds a record that a reader was given.
func note(l *Ledger, r *kgo.Record, reader string) {
	p := Partition{r.Topic, r.Partition}
	if id, ok := identifyRecord(r); ok {
		l.Add(Read{reader, p, r.Offset, id})
	} else {
		l.Add(Garbled{p, r.Offset, string(r.Value)})
	}
}

// sample asks again and again where logs end and what the groups have committed.
func (l *Load) sample(ctx context.Context) {
	cl, err := l.cfg.Target.client(kgo.RetryTimeout(2 * time.Second))
	if err != nil {
		return // the same options worked for other clients
	}
	defer cl.Close()
	admin, txns := kadm.NewClient(cl), &watch{load: l}
	for pause(ctx, 200*time.Millisecond) {
		for _, topic := range l.topics {
			_, high, stable, err := bounds(ctx, admin, topic)
			if err != nil {
				continue // it is dead, perhaps
			}
			high.Each(func(o kadm.ListedOffset) {
				s, _ := stable.Lookup(topic, o.Partition)
				l.cfg.Ledger.Add(Bounds{Partition{topic, o.Partition}, o.Offset, s.Offset})
			})
		}
		if l.cfg.Transactional > 0 {
			txns.look(ctx, admin)
		}
		if l.cfg.Members > 0 {
			_ = l.sampleCommits(ctx, admin)
		}
	}
}
