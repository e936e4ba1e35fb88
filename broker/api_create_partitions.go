package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
)

// CreatePartitions, key 37, v0–3 (KIP-195).
//
//	v2   flexible
//	v3   THROTTLING_QUOTA_EXCEEDED may be answered, which is not, so far
//
// The new partitions can be written to when the answer is there. Consumer groups
// are told at once; classic ones find them with their next Metadata.
//
// Deviations: internal topics are INVALID_TOPIC_EXCEPTION (Kafka: more partitions of
// __consumer_offsets lose groups); above weir.max.partitions or its like per topic
// POLICY_VIOLATION. A topic that is named more than once is INVALID_REQUEST, told once.
func (b *Broker) createPartitions(c *call, req *kmsg.CreatePartitionsRequest) {
	if err := c.reserve(int64(len(req.Topics)) * alteredBytes); err != nil {
		c.refuse(err)
		return
	}
	seen := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		seen[req.Topics[i].Topic]++
	}
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for _, asked := range once(req.Topics, func(t *kmsg.CreatePartitionsRequestTopic) string { return t.Topic }) {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = asked.Topic
		err := error(refuse(kerr.InvalidRequest, "the topic stands in the request more than once"))
		if seen[asked.Topic] == 1 {
			err = b.growTopic(c, &asked, req.ValidateOnly)
		}
		if err != nil {
			out.ErrorCode = codeOf(err)
			out.ErrorMessage = kmsg.StringPtr(truncate(err.Error(), maxMessage))
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.reply(resp, b.metadata.lsn())
}

func (b *Broker) growTopic(c *call, asked *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	if asked.Assignment != nil {
		t := b.metadata.image().Topic(asked.Topic)
		if err := b.assignable(t, asked); err != nil {
			return err
		}
	}
	_, err := b.metadata.addPartitions(c.ctx, asked.Topic, asked.Count, validateOnly)
	return err
}

// assignable checks a manual assignment: each new partition on this broker. A topic
// that is not there, or that becomes no larger, is found out later.
func (b *Broker) assignable(t *meta.Topic, asked *kmsg.CreatePartitionsRequestTopic) error {
	if t == nil || asked.Count <= t.Partitions {
		return nil
	}
	if more := asked.Count - t.Partitions; int(more) != len(asked.Assignment) {
		return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("%d more partitions, but %d assignments", more, len(asked.Assignment)))
	}
	for i := range asked.Assignment {
		if r := asked.Assignment[i].Replicas; len(r) != 1 || r[0] != b.settings.NodeID {
			return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("every partition must be on the one broker, %d", b.settings.NodeID))
		}
	}
	return nil
}

// mayGrow tells whether a topic may have so many partitions.
func (m *metadata) mayGrow(t *meta.Topic, partitions int32) error {
	switch {
	case t.Internal:
		return fmt.Errorf("%w: %q is the broker's own and keeps its partitions", meta.ErrInvalidTopic, t.Name)
	case partitions == t.Partitions:
		return refuse(kerr.InvalidPartitions, fmt.Sprintf("the topic has %d partitions already", t.Partitions))
	case partitions < t.Partitions:
		return refuse(kerr.InvalidPartitions, fmt.Sprintf("the topic has %d partitions; %d would not be an increase", t.Partitions, partitions))
	}
	return m.roomFor(partitions, partitions-t.Partitions)
}
