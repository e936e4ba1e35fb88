package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// LoadConfig says what clients do to a broker. The zero value of each optional
// field works.
type LoadConfig struct {
	Target      Target // required
	Ledger      *Ledger
	Incarnation func() int // how often the broker was started; optional

	Seed       uint64     // of what members of groups do
	Topics     int        // optional: 2
	Partitions int        // of each topic; optional: 3
	Writers    int        // idempotent, acks=all, of each topic; optional: 2
	Weak       bool       // one writer with acks=1 and one with acks=0 besides
	Members    int        // of each consumer group on the first topic
	Protocols  []Protocol // optional: a group of each of them; without it of all
	// Transactional is how many writers with transactions there are; with them come those
	// who ask for ends in odd ways, and copiers.
	Transactional int
	EndRate       int // transactions a second of each of these; optional: 20
	// Copiers is the protocol of their group; optional: one that the seed chooses. On
	// virtual time only Consumer works: with others franz-go waits for a lock while a
	// member joins, and virtual time stands still.
	Copiers Protocol

	Churn        bool // a topic that is created and deleted again and again
	Rate         int  // records a second of each writer; optional: 300
	RecordBytes  int  // optional: 700
	SegmentBytes int  // optional: 1 MiB, the least that topics may have
}

func (c *LoadConfig) complete() {
	for _, d := range []struct {
		field    *int
		standard int
	}{{&c.Topics, 2}, {&c.Partitions, 3}, {&c.Writers, 2}, {&c.Rate, 300}, {&c.RecordBytes, 700}, {&c.SegmentBytes, 1 << 20}, {&c.EndRate, 20}} {
		if *d.field == 0 {
			*d.field = d.standard
		}
	}
	if c.Protocols == nil {
		c.Protocols = Protocols()
	}
	if c.Copiers == "" {
		c.Copiers = []Protocol{Cooperative, Consumer}[c.Seed%2]
	}
	if c.Incarnation == nil {
		c.Incarnation = func() int { return 0 }
	}
}

// Load is clients at work, and what they know.
type Load struct {
	cfg       LoadConfig
	topics    []string
	grouped   [16]byte // id of the first topic
	endsID    [16]byte // id of the topic of enders
	writers   []*writer
	producers atomic.Int32 // with transactions, so far
	lives     int32        // of the churned topic; they are its writers, too

	draining context.Context // ends when groups are to come to the end
	drain    context.CancelFunc

	records context.Context // of what was given to producers: outlives the writing
	giveUp  context.CancelFunc

	copyRecords context.Context // what copiers write: they go on when others have ended

	stopWriting, stopReading, stopGroup, stopCopying context.CancelFunc
	writing, reading, grouping, copying              sync.WaitGroup
}

// NewLoad creates the topics and starts the clients. Finish ends them.
func NewLoad(ctx context.Context, cfg LoadConfig) (*Load, error) {
	cfg.complete()
	l := &Load{cfg: cfg}
	admin, err := cfg.Target.client()
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	size := fmt.Sprint(cfg.SegmentBytes)
	for i := range cfg.Topics {
		l.topics = append(l.topics, fmt.Sprintf("sim-%d", i))
	}
	for _, name := range append(l.txnTopics(), l.topics...) {
		made, err := kadm.NewClient(admin).CreateTopic(ctx, int32(cfg.Partitions), -1, map[string]*string{"segment.bytes": &size}, name)
		if err != nil {
			return nil, fmt.Errorf("create %s: %w", name, err)
		}
		switch name {
		case l.topics[0]:
			l.grouped = made.ID
		case endsTopic:
			l.endsID = made.ID
		}
	}
	if err := l.beginGroups(ctx, kadm.NewClient(admin)); err != nil {
		return nil, err
	}
	return l, l.start(ctx)
}

func (l *Load) start(ctx context.Context) error {
	for i, topic := range l.topics {
		for range l.cfg.Writers {
			l.writers = append(l.writers, &writer{load: l, topic: topic})
		}
		if l.cfg.Weak && i == 0 {
			l.writers = append(l.writers, &writer{load: l, topic: topic, acks: AcksLeader}, &writer{load: l, topic: topic, acks: AcksNone})
		}
	}
	var writing, reading, grouping context.Context
	l.records, l.giveUp = context.WithCancel(ctx)
	l.draining, l.drain = context.WithCancel(ctx)
	writing, l.stopWriting = context.WithCancel(ctx)
	reading, l.stopReading = context.WithCancel(ctx)
	grouping, l.stopGroup = context.WithCancel(ctx)
	var copying context.Context
	copying, l.stopCopying = context.WithCancel(ctx)
	l.copyRecords = ctx
	reader, err := newLiveReader(l)
	if err != nil {
		return err
	}
	l.reading.Go(func() { reader.run(reading) })
	l.reading.Go(func() { l.sample(reading) })
	for i, w := range l.writers {
		w.id = int32(i)
		if err := w.open(); err != nil {
			return err
		}
		l.writing.Go(func() { w.run(writing) })
	}
	for _, p := range l.cfg.Protocols {
		for i := range l.cfg.Members {
			l.grouping.Go(func() { l.member(grouping, p, i) })
		}
	}
	if err := l.startTxns(writing, reading, copying); err != nil {
		return err
	}
	if l.cfg.Churn {
		l.writing.Go(func() { l.churn(writing) })
	}
	return nil
}

// Finish ends the load on a broker that is well: writers wait for their
// answers, the group comes to the end, all is read back, and the ledger is
// finished. patience bounds each of these.
func (l *Load) Finish(ctx context.Context, patience time.Duration) error {
	l.drain()
	l.stopWriting()
	late := time.AfterFunc(patience, l.abandon)
	l.writing.Wait()
	for _, w := range l.writers {
		_ = w.cl.Flush(l.records) // what has no answer by then, abandon has told of
		w.cl.Close()
	}
	late.Stop()
	l.giveUp()
	l.finishTxns(ctx, patience)
	if l.cfg.Members > 0 {
		l.catchUp(ctx, patience)
	}
	l.stopGroup()
	l.grouping.Wait()
	l.stopReading()
	l.reading.Wait()
	err := l.readBack(ctx, patience)
	l.cfg.Ledger.Finish()
	return err
}

// abandon gives up the records that have no answer.
func (l *Load) abandon() {
	for _, r := range l.cfg.Ledger.Pending() {
		l.cfg.Ledger.Add(Stuck{r})
	}
	l.giveUp()
}

func (l *Load) readBack(ctx context.Context, patience time.Duration) error {
	var errs []error
	for _, topic := range append(l.txnTopics(), l.topics...) {
		limited, cancel := context.WithTimeout(ctx, patience)
		if err := readBack(limited, l.cfg.Target, l.cfg.Ledger, topic, topic); err != nil {
			errs = append(errs, fmt.Errorf("read %s back: %w", topic, err))
		}
		if slices.Contains(l.txnTopics(), topic) {
			errs = append(errs, l.readCommitted(limited, topic))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// writer produces to the partitions of a topic in turn.
type writer struct {
	load  *Load
	id    int32
	topic string
	acks  Acks
	cl    *kgo.Client
}

func (w *writer) open() error {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(w.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(400), kgo.ProducerBatchMaxBytes(32 << 10), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}
	if w.acks != AcksAll {
		acks := kgo.LeaderAck()
		if w.acks == AcksNone {
			acks = kgo.NoAck()
		}
		opts = append(opts, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
	}
	w.load.cfg.Ledger.Add(Writes{w.id, w.acks, w.acks != AcksAll})
	var err error
	w.cl, err = w.load.cfg.Target.client(opts...)
	return err
}

// run sends bursts at the load's rate until ctx ends. Produce blocks while too
// many records have no answer.
func (w *writer) run(ctx context.Context) {
	const beat = 20 * time.Millisecond
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	burst := max(1, w.load.cfg.Rate*int(beat/time.Millisecond)/1000)
	l := w.load.cfg.Ledger
	for seq := int64(0); ; {
		for range burst {
			id, part := Record{w.id, seq}, int32(seq)%int32(w.load.cfg.Partitions)
			seq++
			l.Add(Sent{id, Partition{w.topic, part}})
			w.cl.Produce(w.load.records, &kgo.Record{Partition: part, Value: value(id, w.load.cfg.RecordBytes)}, func(r *kgo.Record, err error) {
				switch {
				case err != nil:
					l.Add(Unknown{id})
				case w.acks == AcksNone:
					l.Add(Acked{id, -1})
				default:
					l.Add(Acked{id, r.Offset})
				}
			})
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
