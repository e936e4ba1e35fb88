package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Target is a broker that clients speak to, dead or alive.
type Target struct {
	Address string
	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // optional
}

// client makes a client that is quick to notice that a broker is back, and
// that never gives a record up by itself.
func (t Target) client(opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(t.options(), opts...)...)
	if err != nil {
		return nil, fmt.Errorf("make client of %s: %w", t.Address, err)
	}
	return cl, nil
}

func (t Target) options() []kgo.Opt {
	all := []kgo.Opt{
		kgo.SeedBrokers(t.Address),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(20 * time.Millisecond), kgo.RetryTimeout(time.Minute),
		kgo.DialTimeout(time.Second), kgo.RequestTimeoutOverhead(5 * time.Second),
		kgo.UnknownTopicRetries(-1),
	}
	if t.Dial != nil {
		all = append(all, kgo.Dialer(t.Dial))
	}
	return all
}

// stubborn repeats an act until it succeeds, for as long as ctx lasts.
func stubborn(ctx context.Context, act func(ctx context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := act(try)
		cancel()
		if err == nil {
			return nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// pause waits for d; false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bounds asks for the first and the last offset of a topic's partitions.
func bounds(ctx context.Context, admin *kadm.Client, topic string) (start, high, stable kadm.ListedOffsets, err error) {
	if start, err = admin.ListStartOffsets(ctx, topic); err == nil {
		err = start.Error()
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("start of %s: %w", topic, err)
	}
	if stable, err = admin.ListCommittedOffsets(ctx, topic); err == nil {
		err = stable.Error()
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("stable end of %s: %w", topic, err)
	}
	if high, err = admin.ListEndOffsets(ctx, topic); err == nil {
		err = high.Error()
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("end of %s: %w", topic, err)
	}
	return start, high, stable, nil
}

// readBack reads all of a topic from its start to its end as the broker tells
// it, and adds what it read. life is the topic's name in the ledger.
func readBack(ctx context.Context, t Target, l *Ledger, topic, life string) error {
	cl, err := t.client(kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	var start, high kadm.ListedOffsets
	err = stubborn(ctx, func(ctx context.Context) (err error) {
		start, high, _, err = bounds(ctx, kadm.NewClient(cl), topic)
		return err
	})
	if err != nil {
		return err
	}
	next, left := map[int32]int64{}, 0
	high.Each(func(o kadm.ListedOffset) {
		s, _ := start.Lookup(topic, o.Partition)
		next[o.Partition] = s.Offset
		if s.Offset < o.Offset {
			left++
		}
	})
	var failed error
	for left > 0 && ctx.Err() == nil {
		fetches := cl.PollRecords(ctx, 2000)
		fetches.EachError(func(_ string, p int32, err error) { failed = fmt.Errorf("partition %d: %w", p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			p := Partition{life, r.Partition}
			end, _ := high.Lookup(topic, r.Partition)
			if r.Offset >= end.Offset {
				return
			}
			switch id, ok := identifyRecord(r); {
			case !ok:
				l.Add(Garbled{p, r.Offset, string(r.Value)})
			case r.Attrs.IsTransactional():
				l.Add(ReadBackIn{ReadBack{p, r.Offset, id}, r.ProducerID})
			default:
				l.Add(ReadBack{p, r.Offset, id})
			}
			next[r.Partition] = r.Offset + 1
			if r.Offset+1 == end.Offset {
				left--
			}
		})
	}
	high.Each(func(o kadm.ListedOffset) {
		s, _ := start.Lookup(topic, o.Partition)
		end := EndOfLog{Partition: Partition{life, o.Partition}, Start: s.Offset, High: o.Offset}
		if next[o.Partition] < o.Offset {
			end.Why = fmt.Sprintf("came to %d (%v)", next[o.Partition], errors.Join(failed, ctx.Err()))
		}
		l.Add(end)
	})
	return nil
}
