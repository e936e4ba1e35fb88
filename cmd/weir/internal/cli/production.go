package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// do sends everything and tells what became of it.
func (p *production) do(ctx context.Context, files []string) error {
	client, err := p.connect(ctx, p.opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := p.prepare(ctx, kadm.NewClient(client)); err != nil {
		return err
	}
	// An interruption ends the reading, not the delivery of what was read. A
	// record that failed ends the reading, too: its promise calls cancel.
	work := context.WithoutCancel(ctx)
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	watching, unwatch := context.WithCancel(work)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		p.refuse.watch(watching, func() {
			cancel()
			_ = client.AbortBufferedRecords(watching) // their promises count them
		})
	}()
	defer func() {
		unwatch()
		<-watched
	}()
	err = p.readAll(reading, files, func(r *kgo.Record) {
		p.give()
		client.Produce(work, r, func(r *kgo.Record, err error) {
			if p.deliver(r, err); err != nil {
				cancel()
			}
		})
	})
	flushing, stop := context.WithTimeout(work, p.delivery+p.timeout)
	defer stop()
	if flushed := client.Flush(flushing); flushed != nil && err == nil {
		err = flushed
	}
	return p.tell(ctx, err)
}

// prepare finds the topic and the partition, or creates the topic if told to.
func (p *production) prepare(ctx context.Context, client *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*p.timeout)
	defer cancel()
	topics, err := lookup(ctx, client, p.topic)
	if err != nil {
		return err
	}
	t := topics[p.topic]
	if errors.Is(t.Err, kerr.UnknownTopicOrPartition) && p.create {
		created, err := client.CreateTopic(ctx, -1, -1, nil, p.topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", p.topic, reason(err, created.ErrMessage))
		}
		return nil
	}
	if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("%w; create it with 'weir topic create %s', or say --create", t.Err, p.topic)
	}
	if t.Err != nil {
		return t.Err
	}
	if _, ok := t.Partitions[p.partition]; p.partition >= 0 && !ok {
		return fmt.Errorf("topic %s has no partition %d (it has %d)", p.topic, p.partition, len(t.Partitions))
	}
	return nil
}

func (p *production) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.given++
}

// deliver counts one record's acknowledgement or failure.
func (p *production) deliver(r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.mu.err == nil {
			if cause := p.refuse.cause(); cause != nil && (errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kgo.ErrAborting)) {
				err = cause
			}
			p.mu.err = err
		}
		return
	}
	p.refuse.acknowledged()
	d := p.mu.sent[r.Partition]
	if d == nil {
		d = &delivered{first: r.Offset}
		p.mu.sent[r.Partition] = d
	}
	d.records++
	d.last = r.Offset
}

// tell prints the counts and makes the error that the command ends with.
func (p *production) tell(ctx context.Context, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := newListing("ProduceResult", column{name: "topic"}, column{name: "partition"}, column{name: "records"},
		column{name: "first_offset"}, column{name: "last_offset"})
	var total int64
	for _, n := range slices.Sorted(maps.Keys(p.mu.sent)) {
		d := p.mu.sent[n]
		total += d.records
		list.add(nil, p.topic, n, d.records, unknownIfNegative(d.first), unknownIfNegative(d.last))
	}
	var printed error
	if p.output != "" {
		printed = p.print(list)
	} else {
		p.notef("%s to %s (%s)", count(total, "record"), p.topic, count(int64(len(p.mu.sent)), "partition"))
	}
	// Without a failure of its own a record is waited for in vain when it may
	// have arrived and its acknowledgement did not.
	if lost := p.mu.given - total; lost > 0 {
		return fmt.Errorf("produce to %s: %s not acknowledged: %w", p.topic, count(lost, "record"), firstError(p.mu.err, err, io.ErrUnexpectedEOF))
	}
	return firstError(ctx.Err(), err, printed)
}

// count says how many there are of something.
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// readAll reads the files, or standard input without any ("-" is it, too).
func (p *production) readAll(ctx context.Context, files []string, send func(*kgo.Record)) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		in, closeIn := p.Stdin, func() error { return nil }
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			in, closeIn = f, f.Close
		}
		err := p.readOne(ctx, name, in, send)
		if closed := closeIn(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readOne reads one stream to its end. A read of a terminal or a pipe cannot be
// interrupted, so it happens in a goroutine that ends with the process when the
// context ends first.
func (p *production) readOne(ctx context.Context, name string, in io.Reader, send func(*kgo.Record)) error {
	records, result := make(chan *kgo.Record, 256), make(chan error, 1)
	go func() {
		defer close(records)
		result <- p.decode(ctx, in, records)
	}()
	for {
		select {
		case r, ok := <-records:
			if !ok {
				return inputError(ctx, name, <-result)
			}
			send(r)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// inputError is what is wrong with the input. Its code is that of an item that
// failed: an end of the input in the midst of a record is none of a broker's answer.
func inputError(ctx context.Context, name string, err error) error {
	if err == nil || ctx.Err() != nil {
		return firstError(ctx.Err(), err)
	}
	if name == "-" {
		name = "standard input"
	}
	return &exitError{ExitFailed, fmt.Errorf("read %s: %w", name, err)}
}
