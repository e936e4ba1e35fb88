package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// positions are the partitions that were chosen, by topic and number.
func (r *reset) positions(ctx context.Context, client *kadm.Client, given givenOffsets) ([]position, error) {
	committed, err := committedOffsets(ctx, client, r.group)
	if err != nil {
		return nil, err
	}
	source := committed
	if r.to.kind == fromGroup {
		if source, err = committedOffsets(ctx, client, r.to.group); err != nil {
			return nil, err
		}
		given.offsets = map[mark]*kadm.Offset{}
		source.Each(func(o kadm.OffsetResponse) {
			if o.Err == nil && o.At >= 0 {
				given.offsets[mark{o.Topic, o.Partition}] = &o.Offset
			}
		})
		if len(given.offsets) == 0 {
			return nil, fmt.Errorf("group %q has no offsets to take", r.to.group)
		}
	}
	topics := r.chosen.topics()
	if !r.chosen.narrow() {
		topics = source.Partitions().Topics()
		if r.to.kind == fromFile {
			topics = given.topics()
		}
	}
	starts, ends, err := bounds(ctx, client, topics)
	if err != nil {
		return nil, err
	}
	timed := kadm.ListedOffsets{}
	if r.to.kind == toTime && len(topics) > 0 {
		if timed, err = client.ListOffsetsAfterMilli(ctx, r.to.n, topics...); err != nil {
			return nil, fmt.Errorf("list offsets by time: %w", err)
		}
	}
	var out []position
	for _, at := range r.marks(topics, ends, given) {
		p := position{mark: at, given: given.offsets[at], exact: given.exact}
		p.look(committed, starts, ends, timed, r.to.kind == toTime)
		out = append(out, p)
	}
	return out, nil
}

// topics are those of the offsets.
func (g givenOffsets) topics() []string {
	set := kadm.TopicsSet{}
	for at := range g.offsets {
		set.Add(at.topic, at.partition)
	}
	return set.Topics()
}

// marks lists the partitions that are meant, sorted. A file or another group
// means its own; so does a topic that does not exist, for its error to be told.
func (r *reset) marks(topics []string, ends kadm.ListedOffsets, given givenOffsets) []mark {
	set := kadm.TopicsSet{}
	for _, topic := range topics {
		for _, p := range r.chosen.partitions[topic] {
			set.Add(topic, p)
		}
		if len(r.chosen.partitions[topic]) > 0 {
			continue
		}
		if given.offsets == nil || r.to.kind == fromGroup && r.chosen.narrow() {
			for p := range ends[topic] {
				set.Add(topic, p)
			}
		}
	}
	for at := range given.offsets {
		if r.chosen.holds(at.topic, at.partition) {
			set.Add(at.topic, at.partition)
		}
	}
	return sortedMarks(set)
}

// look fills in what brokers told of the partition.
func (p *position) look(committed kadm.OffsetResponses, starts, ends, timed kadm.ListedOffsets, byTime bool) {
	start, startOK := starts.Lookup(p.topic, p.partition)
	end, endOK := ends.Lookup(p.topic, p.partition)
	at, timedOK := timed.Lookup(p.topic, p.partition)
	o, ok := committed.Lookup(p.topic, p.partition)
	p.err = firstError(o.Err, start.Err, end.Err, at.Err)
	if p.partition < 0 || !startOK || !endOK || byTime && !timedOK || errors.Is(p.err, kerr.UnknownTopicOrPartition) {
		p.err = noPartition(p.topic, p.partition, ends)
	}
	p.start, p.end, p.timed = start.Offset, end.Offset, at.Offset
	if ok && o.Err == nil && o.At >= 0 {
		p.now = &o.Offset
	}
}
