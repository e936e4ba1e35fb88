package cli

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// mark names a partition.
type mark struct {
	topic     string
	partition int32
}

// marks are the offsets at which partitions end; nil: none ends.
type marks map[mark]int64

// reached removes the partition when next is at or behind its end.
func (m marks) reached(r *kgo.Record, next int64) {
	at := mark{r.Topic, r.Partition}
	if stop, ok := m[at]; ok && next >= stop {
		delete(m, at)
	}
}

// log is what a broker says of one partition.
type log struct {
	start, end       int64
	fromTime, toTime int64 // offsets of the times of the span, if it has any
}

// lookUpLogs asks for the ends of all partitions of the topics, and for the
// offsets of the times in the span.
func lookUpLogs(ctx context.Context, client *kadm.Client, topics []string, readCommitted bool, s span) (map[mark]log, error) {
	list := func(what string, ask func(context.Context, ...string) (kadm.ListedOffsets, error)) (kadm.ListedOffsets, error) {
		offsets, err := ask(ctx, topics...)
		if err == nil {
			err = offsets.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("list %s offsets: %w", what, err)
		}
		return offsets, nil
	}
	latest := client.ListEndOffsets
	if readCommitted {
		latest = client.ListCommittedOffsets
	}
	starts, err := list("start", client.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	ends, err := list("end", latest)
	if err != nil {
		return nil, err
	}
	logs := map[mark]log{}
	starts.Each(func(o kadm.ListedOffset) {
		end, _ := ends.Lookup(o.Topic, o.Partition)
		logs[mark{o.Topic, o.Partition}] = log{start: o.Offset, end: end.Offset}
	})
	at := func(b bound, put func(*log, int64)) error {
		if b.kind != atTime {
			return nil
		}
		offsets, err := list("time", func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return client.ListOffsetsAfterMilli(ctx, b.n, topics...)
		})
		if err != nil {
			return err
		}
		offsets.Each(func(o kadm.ListedOffset) {
			l := logs[mark{o.Topic, o.Partition}]
			put(&l, min(max(o.Offset, l.start), l.end))
			logs[mark{o.Topic, o.Partition}] = l
		})
		return nil
	}
	if err := at(s.from, func(l *log, o int64) { l.fromTime = o }); err != nil {
		return nil, err
	}
	return logs, at(s.to, func(l *log, o int64) { l.toTime = o })
}
