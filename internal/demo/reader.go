package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/internal/demo/shop"
)

// The headers of a dead letter that the list is made of.
const (
	headerApp       = "weir.dlq.app"
	headerMessage   = "__streams.errors.message"   // KIP-1034
	headerPartition = "__streams.errors.partition" // KIP-1034
	headerOffset    = "__streams.errors.offset"    // KIP-1034
)

// letter is a line that an application refused, and why.
type letter struct {
	app, reason string
	partition   int   // of the line in orders
	offset      int64 // of the line in orders
	line        shop.Line
}

// reports is what the applications said, read back from their topics.
type reports struct {
	stock   []stockAlert
	fraud   []fraudAlert
	letters []letter
	latest  []string // the newest alerts as sentences, at most latestAlerts, newest last
}

const latestAlerts = 5

// reader follows the alert and dead-letter topics.
type reader struct {
	client  *kgo.Client
	cancel  context.CancelFunc
	done    chan struct{}
	changed chan struct{} // capacity 1: records have come

	mu struct {
		sync.Mutex
		reports
		read map[string]int64 // records of each topic
		err  error
	}
}

func startReader(cfg Config) (*reader, error) {
	client, err := kgo.NewClient(append(cfg.clientOpts("reader"),
		kgo.ConsumeTopics(stockAlerts.Name, fraudAlerts.Name, deadLetterTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)...)
	if err != nil {
		return nil, err
	}
	r := &reader{client: client, done: make(chan struct{}), changed: make(chan struct{}, 1)}
	r.mu.read = map[string]int64{}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			r.take(r.client.PollFetches(ctx))
		}
	}()
	return r, nil
}

func (r *reader) close() {
	r.cancel()
	<-r.done
	r.client.Close()
}

func (r *reader) take(fetches kgo.Fetches) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fetches.EachRecord(func(rec *kgo.Record) {
		r.mu.read[rec.Topic]++
		if err := r.mu.add(rec); err != nil {
			r.mu.err = errors.Join(r.mu.err, fmt.Errorf("%s offset %d: %w", rec.Topic, rec.Offset, err))
		}
	})
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (p *reports) add(rec *kgo.Record) error {
	switch rec.Topic {
	case stockAlerts.Name:
		a, err := stockAlerts.Value.Decode(rec.Value)
		if err != nil {
			return err
		}
		p.stock = append(p.stock, a)
		p.alert(a.String())
	case fraudAlerts.Name:
		a, err := fraudAlerts.Value.Decode(rec.Value)
		if err != nil {
			return err
		}
		p.fraud = append(p.fraud, a)
		p.alert(a.String())
	default:
		l, err := readLetter(rec)
		if err != nil {
			return err
		}
		p.letters = append(p.letters, l)
	}
	return nil
}

func (p *reports) alert(text string) {
	p.latest = append(p.latest, text)
	if len(p.latest) > latestAlerts {
		p.latest = p.latest[1:]
	}
}

func (a stockAlert) String() string {
	return fmt.Sprintf("stock: %s of %s (%s), time to reorder", pieces(a.Level), a.Description, a.StockCode)
}

// pieces says what a stock level means.
func pieces(level int) string {
	if level < 0 {
		return fmt.Sprintf("%d pieces too few", -level)
	}
	return fmt.Sprintf("%d pieces left", level)
}

func (a fraudAlert) String() string {
	if a.Kind == kindBurst {
		return fmt.Sprintf("fraud: customer %s has %d invoices within an hour", a.Customer, shop.BurstInvoices)
	}
	return fmt.Sprintf("fraud: customer %s returns goods for %d.%02d pounds (invoice %s)", a.Customer, a.Pence/100, a.Pence%100, a.Invoice)
}

// readLetter takes a dead letter apart.
func readLetter(rec *kgo.Record) (letter, error) {
	last := map[string]string{} // a dead letter's own headers follow the record's
	for _, h := range rec.Headers {
		last[h.Key] = string(h.Value)
	}
	l := letter{app: last[headerApp], reason: last[headerMessage]}
	var errs [3]error
	l.partition, errs[0] = strconv.Atoi(last[headerPartition])
	l.offset, errs[1] = strconv.ParseInt(last[headerOffset], 10, 64)
	l.line, errs[2] = orders.Value.Decode(rec.Value)
	return l, errors.Join(errs[:]...)
}

// snapshot copies what was read so far.
func (r *reader) snapshot() reports {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.mu.reports
	p.latest = append([]string(nil), p.latest...) // the others are only appended to
	return p
}

// awaitEnd returns everything that is in the topics, once nobody writes to them.
func (r *reader) awaitEnd(ctx context.Context, admin *kadm.Client) (reports, error) {
	ends, err := admin.ListEndOffsets(ctx, stockAlerts.Name, fraudAlerts.Name, deadLetterTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return reports{}, fmt.Errorf("ask for the ends of the alert topics: %w", err)
	}
	for !r.reached(ends) {
		select {
		case <-r.changed:
		case <-ctx.Done():
			return reports{}, fmt.Errorf("read alerts and dead letters back: %w", context.Cause(ctx))
		}
	}
	r.mu.Lock()
	err = r.mu.err
	r.mu.Unlock()
	return r.snapshot(), err
}

// reached tells whether as many records were read as the topics hold.
func (r *reader) reached(ends kadm.ListedOffsets) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	behind := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { behind[o.Topic] += o.Offset })
	for topic, end := range behind {
		if r.mu.read[topic] < end {
			return false
		}
	}
	return true
}
