package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics of the transactions: that of the writers, that of the enders, and that which
// the copiers write to.
const (
	txnTopic  = "sim-txn"
	endsTopic = "sim-ends"
	copyTopic = "sim-copy"
	copyGroup = "sim-copiers"
)

// txnTimeout is how long a transaction may be open, of a producer that says nothing
// more; hangsAfter is when it has to be over whatever happens.
const (
	txnTimeout = 3 * time.Second
	hangsAfter = txnTimeout + 5*time.Second
)

// txnTopics are all topics with transactions of this load.
func (l *Load) txnTopics() []string {
	if l.cfg.Transactional == 0 {
		return nil
	}
	return []string{txnTopic, endsTopic, copyTopic}
}

// startTxns starts all clients with transactions.
func (l *Load) startTxns(writing, reading, copying context.Context) error {
	if l.cfg.Transactional == 0 {
		return nil
	}
	l.cfg.Ledger.Add(Copies{txnTopic, copyTopic})
	reader, err := l.cfg.Target.client(kgo.ConsumeTopics(l.txnTopics()...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return err
	}
	l.reading.Go(func() {
		defer reader.Close()
		for reading.Err() == nil {
			reader.PollRecords(reading, 1000).EachRecord(func(r *kgo.Record) { l.show("committed", r) })
		}
	})
	for i := range l.cfg.Transactional {
		w := &txnWriter{load: l, number: i, random: l.dice(i, 1)}
		l.writing.Go(func() { w.run(writing) })
	}
	for i := range 2 {
		e, err := newEnder(l, i)
		if err != nil {
			return err
		}
		l.writing.Go(func() { e.run(writing) })
	}
	for i := range 2 {
		c := &copier{load: l, number: i, random: l.dice(i, 2)}
		l.copying.Go(func() { c.run(copying) })
	}
	return nil
}

func (l *Load) dice(number int, kind uint64) *rand.Rand {
	return rand.New(rand.NewPCG(l.cfg.Seed+uint64(number), 100+kind))
}

// newWriter gives out the number of a writer with transactions: each producer is one,
// since others do not wait for what it has sent.
func (l *Load) newWriter() int32 { return txnWriters + l.producers.Add(1) }

// txnWriters is below the numbers of all writers with transactions.
const txnWriters = 1 << 20

// show adds what a reader of what is committed was given.
func (l *Load) show(reader string, r *kgo.Record) {
	p := Partition{r.Topic, r.Partition}
	if id, ok := identifyRecord(r); ok {
		l.cfg.Ledger.Add(Shown{reader, p, r.Offset, id})
	} else {
		l.cfg.Ledger.Add(Garbled{p, r.Offset, string(r.Value)})
	}
}

// identifyRecord is identify for records that may be markers.
func identifyRecord(r *kgo.Record) (Record, bool) {
	if !r.Attrs.IsControl() {
		return identify(r.Value)
	}
	if len(r.Key) < 4 || r.Key[2] != 0 || r.Key[3] > 1 {
		return Record{}, false
	}
	return marker(r.ProducerID, r.Key[3] == 1), true
}

// finishTxns waits until no transaction is open and the copiers have copied all, and
// ends them. Nothing is written any more but by them.
func (l *Load) finishTxns(ctx context.Context, patience time.Duration) {
	if l.cfg.Transactional == 0 {
		l.stopCopying()
		return
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l.settle(limited)
	l.awaitCopies(limited)
	l.stopCopying()
	l.copying.Wait()
	limited, cancel = context.WithTimeout(ctx, patience)
	defer cancel()
	l.settle(limited) // what copiers left open
}

// settle waits until all logs with transactions are stable up to their end. They have
// to be after the time that a transaction may be open.
func (l *Load) settle(ctx context.Context) {
	cl, err := l.cfg.Target.client(kgo.RetryTimeout(2 * time.Second))
	if err != nil {
		return // the same options worked for other clients
	}
	defer cl.Close()
	w := &watch{load: l}
	for begin := time.Now(); !w.look(ctx, kadm.NewClient(cl)) && time.Since(begin) < hangsAfter+10*time.Second; {
		if !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// watch asks again and again where logs with transactions end.
type watch struct {
	load *Load
	last time.Time // of the last answer
}

// look adds what the broker tells, and says whether all is stable up to its end.
func (w *watch) look(ctx context.Context, admin *kadm.Client) bool {
	// What is not answered does not count, so that the broker has all the time that it
	// may take.
	const longest = 500 * time.Millisecond
	stable, err := admin.ListCommittedOffsets(ctx, w.load.txnTopics()...)
	if err == nil {
		err = stable.Error()
	}
	high, err2 := admin.ListEndOffsets(ctx, w.load.txnTopics()...)
	if err2 == nil {
		err2 = high.Error()
	}
	if errors.Join(err, err2) != nil {
		return false
	}
	since := min(longest, time.Since(w.last))
	w.last = time.Now()
	all := true
	high.Each(func(o kadm.ListedOffset) {
		s, _ := stable.Lookup(o.Topic, o.Partition)
		p := Partition{o.Topic, o.Partition}
		w.load.cfg.Ledger.Add(Bounds{p, o.Offset, s.Offset})
		w.load.cfg.Ledger.Add(Watched{p, s.Offset, o.Offset, since, hangsAfter})
		all = all && s.Offset == o.Offset
	})
	return all
}

// awaitCopies waits until the copiers have committed all of their topic.
func (l *Load) awaitCopies(ctx context.Context) {
	cl, err := l.cfg.Target.client()
	if err != nil {
		return
	}
	defer cl.Close()
	var last []CopiedAll
	for behind := true; behind; {
		if now, err := l.copied(ctx, kadm.NewClient(cl)); err == nil {
			last = now
		}
		behind = len(last) == 0
		for _, c := range last {
			behind = behind || c.Committed < c.High
		}
		if behind && !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	for _, c := range last {
		l.cfg.Ledger.Add(c)
	}
	if len(last) == 0 {
		l.cfg.Ledger.Add(Broken{Anomaly{GroupStuck, "the offsets of copiers cannot be asked for"}})
	}
}

func (l *Load) copied(ctx context.Context, admin *kadm.Client) ([]CopiedAll, error) {
	_, high, _, err := bounds(ctx, admin, txnTopic)
	if err != nil {
		return nil, err
	}
	offsets, err := admin.FetchOffsets(ctx, copyGroup)
	if err != nil {
		return nil, err
	}
	var out []CopiedAll
	high.Each(func(o kadm.ListedOffset) {
		c := CopiedAll{Partition{txnTopic, o.Partition}, 0, o.Offset}
		if at, ok := offsets.Lookup(txnTopic, o.Partition); ok {
			c.Committed = at.At
		}
		out = append(out, c)
	})
	return out, nil
}

// readCommitted reads all that is committed from start to end.
func (l *Load) readCommitted(ctx context.Context, topic string) error {
	cl, err := l.cfg.Target.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	var stable kadm.ListedOffsets
	err = stubborn(ctx, func(ctx context.Context) (err error) {
		_, _, stable, err = bounds(ctx, kadm.NewClient(cl), topic)
		return err
	})
	if err != nil {
		return err
	}
	left := map[int32]int64{}
	stable.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 && ctx.Err() == nil {
		cl.PollRecords(ctx, 2000).EachRecord(func(r *kgo.Record) {
			end, _ := stable.Lookup(topic, r.Partition)
			if r.Offset < end.Offset {
				l.show("back", r)
			}
			if r.Offset+1 >= end.Offset {
				delete(left, r.Partition)
			}
		})
	}
	stable.Each(func(o kadm.ListedOffset) { l.cfg.Ledger.Add(ShownTo{"back", Partition{topic, o.Partition}, o.Offset}) })
	if len(left) > 0 {
		return fmt.Errorf("what is committed cannot be read to its end, which is %v: %w", left, ctx.Err())
	}
	return nil
}
