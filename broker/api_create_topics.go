package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// CreateTopics, key 19, v2–7.
//
//	v4   -1 partitions or replicas mean the broker's defaults (KIP-464)
//	v5   partitions, replicas and configs in the answer (KIP-525); flexible
//	v7   topic id in the answer (KIP-516)
//
// Deviations: a replication factor above 1 is clamped to 1, or refused if
// weir.replication.factor.policy=refuse (Kafka on one node always refuses); the
// answer tells the factor that the topic has. Defaults are understood before v4
// too. Topics for which the answer has no more room are POLICY_VIOLATION.

func (b *Broker) createTopics(c *call, req *kmsg.CreateTopicsRequest) {
	resp := kmsg.NewPtrCreateTopicsResponse()
	seen := map[string]int{}
	fits, err := b.reserveCreated(c, req)
	if err != nil {
		c.refuse(err)
		return
	}
	for i := range req.Topics {
		seen[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		asked := &req.Topics[i]
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = asked.Topic
		out.NumPartitions, out.ReplicationFactor = -1, -1
		err := error(refuse(kerr.InvalidRequest, "the topic stands in the request more than once"))
		if n := seen[asked.Topic]; n == 1 && i >= fits {
			err = refuse(kerr.PolicyViolation, fmt.Sprintf("too many topics in one request, %d have room in an answer", fits))
		} else if n == 1 {
			err = b.createTopic(c.ctx, asked, req.ValidateOnly, &out)
		} else if n < 0 {
			continue
		}
		seen[asked.Topic] = -1
		if err != nil {
			out.ErrorCode = codeOf(err)
			out.ErrorMessage = kmsg.StringPtr(truncate(err.Error(), maxMessage))
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.reply(resp, b.metadata.lsn())
}

// reserveCreated makes room for the answer, which tells the settings of every
// topic, and tells how many topics have room in it.
func (b *Broker) reserveCreated(c *call, req *kmsg.CreateTopicsRequest) (int, error) {
	const topicBytes, entryBytes = 1024, 256
	each := topicBytes
	for _, e := range b.settings.DescribeTopic(nil) {
		each += entryBytes + 3*(len(e.Name)+len(e.Value))
	}
	const refusedBytes = 512
	sum := int64(len(req.Topics)) * refusedBytes
	for i := range req.Topics {
		n := each + 3*len(req.Topics[i].Topic)
		for _, kv := range req.Topics[i].Configs {
			if kv.Value != nil {
				n += 6 * len(*kv.Value)
			}
		}
		if sum+int64(n) > maxAnswer {
			return i, c.reserve(sum)
		}
		sum += int64(n)
	}
	return len(req.Topics), c.reserve(sum)
}

func (b *Broker) createTopic(ctx context.Context, asked *kmsg.CreateTopicsRequestTopic, validateOnly bool, out *kmsg.CreateTopicsResponseTopic) error {
	if err := meta.CheckTopicName(asked.Topic); err != nil {
		return err
	}
	if asked.Topic == meta.MetadataTopic {
		return fmt.Errorf("%w: %s is the broker's own", meta.ErrInvalidTopic, asked.Topic)
	}
	partitions, err := b.partitionsOf(asked)
	if err != nil {
		return err
	}
	configs := make(map[string]string, len(asked.Configs))
	for _, kv := range asked.Configs {
		if kv.Value == nil {
			return fmt.Errorf("%w: %s: null is no value", meta.ErrInvalidConfig, kv.Name)
		}
		configs[kv.Name] = *kv.Value
	}
	if _, err := b.settings.TopicConfig(configs); err != nil {
		return err
	}
	if err := b.makeTopic(ctx, asked.Topic, partitions, configs, validateOnly, out); err != nil {
		return err
	}
	out.NumPartitions, out.ReplicationFactor = partitions, 1
	for _, e := range b.settings.DescribeTopic(configs) {
		kv := kmsg.NewCreateTopicsResponseTopicConfig()
		kv.Name, kv.Value, kv.ReadOnly, kv.Source = e.Name, kmsg.StringPtr(e.Value), e.ReadOnly, int8(e.Source)
		out.Configs = append(out.Configs, kv)
	}
	return nil
}

func (b *Broker) makeTopic(ctx context.Context, name string, partitions int32, configs map[string]string, validateOnly bool, out *kmsg.CreateTopicsResponseTopic) error {
	if validateOnly {
		if b.metadata.image().Topic(name) != nil {
			return fmt.Errorf("%w: %q", errExists, name)
		}
		return b.metadata.admit(name, partitions)
	}
	t, _, err := b.metadata.create(ctx, name, partitions, configs)
	if errors.Is(err, errExists) {
		return fmt.Errorf("%w: %q", errExists, name)
	}
	if err != nil {
		if errors.Is(err, storage.ErrStorage) || errors.Is(err, storage.ErrNoSpace) {
			b.logger.Error("cannot create a topic", "topic", name, "error", err)
		}
		return err
	}
	out.TopicID = t.ID
	return nil
}

// partitionsOf works out the number of partitions, and checks the replicas.
func (b *Broker) partitionsOf(asked *kmsg.CreateTopicsRequestTopic) (int32, error) {
	if len(asked.ReplicaAssignment) > 0 {
		return b.assigned(asked)
	}
	switch n := asked.ReplicationFactor; {
	case n == 0 || n < -1:
		return 0, refuse(kerr.InvalidReplicationFactor, fmt.Sprintf("replication factor is %d, must be above 0, or -1 for the default", n))
	case n > 1 && b.settings.RefuseReplication:
		return 0, refuse(kerr.InvalidReplicationFactor, fmt.Sprintf("replication factor is %d, there is one broker (weir.replication.factor.policy=refuse)", n))
	}
	switch n := asked.NumPartitions; {
	case n == -1:
		return b.settings.NumPartitions, nil
	case n <= 0:
		return 0, refuse(kerr.InvalidPartitions, fmt.Sprintf("number of partitions is %d, must be above 0, or -1 for the default", n))
	default:
		return n, nil
	}
}

// assigned checks a manual assignment: each partition from 0 on, on this broker.
func (b *Broker) assigned(asked *kmsg.CreateTopicsRequestTopic) (int32, error) {
	if asked.NumPartitions != -1 || asked.ReplicationFactor != -1 {
		return 0, refuse(kerr.InvalidRequest, "with an assignment, partitions and replication factor must be -1")
	}
	n := len(asked.ReplicaAssignment)
	seen := make([]bool, n)
	for _, a := range asked.ReplicaAssignment {
		if a.Partition < 0 || int(a.Partition) >= n || seen[a.Partition] {
			return 0, refuse(kerr.InvalidReplicaAssignment, "partitions must be numbered from 0 on, each once")
		}
		seen[a.Partition] = true
		if len(a.Replicas) != 1 || a.Replicas[0] != b.settings.NodeID {
			return 0, refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("partition %d must be on the one broker, %d", a.Partition, b.settings.NodeID))
		}
	}
	return int32(n), nil
}
