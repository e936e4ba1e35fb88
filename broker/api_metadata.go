package broker

import (
	"errors"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// Metadata, key 3, v0–13.
//
//	v0   an empty list means all topics; from v1 on null does
//	v1   controller, racks, internal topics
//	v4   allow_auto_topic_creation (KIP-204); before, it is always allowed
//	v8   authorized operations (KIP-430); those of the cluster end with v10
//	v10  topic ids (KIP-516); v12 asks by id
//	v13  error code of the whole (KIP-1102)
//
// Topics that do not exist are created when both auto.create.topics.enable and
// the request say so. Kafka answers UNKNOWN_TOPIC_OR_PARTITION or
// LEADER_NOT_AVAILABLE then, and the client asks again; here the topic is in the
// answer, which waits until its creation is durable. A topic that is named more
// than once is answered once, as by Kafka.

// noOperations says that authorized operations were not asked for.
const noOperations = math.MinInt32

func (b *Broker) metadataRequest(c *call, req *kmsg.MetadataRequest) {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Brokers = []kmsg.MetadataResponseBroker{b.brokerOf(c)}
	img := b.metadata.image()
	cluster := img.ClusterID()
	resp.ClusterID, resp.ControllerID = &cluster, b.settings.NodeID
	all := req.Topics == nil || c.version == 0 && len(req.Topics) == 0
	if !all {
		req.Topics = once(req.Topics, metadataKey)
	}
	if err := c.reserve(b.metadataBytes(img, req.Topics, all)); err != nil {
		c.refuse(err)
		return
	}
	if all {
		topics := img.Topics()
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, len(topics))
		for _, t := range topics {
			resp.Topics = append(resp.Topics, b.describeTopic(t))
		}
		c.reply(resp, b.metadata.lsn())
		return
	}
	create := b.settings.AutoCreateTopics && (c.version < 4 || req.AllowAutoTopicCreation)
	resp.Topics = make([]kmsg.MetadataResponseTopic, 0, len(req.Topics))
	for i := range req.Topics {
		resp.Topics = append(resp.Topics, b.findTopic(c, &req.Topics[i], create))
	}
	c.reply(resp, b.metadata.lsn())
}

// metadataKey is by what a topic is asked for.
func metadataKey(t *kmsg.MetadataRequestTopic) topicKey {
	if t.Topic == nil || t.TopicID != ([16]byte{}) {
		return topicKey{id: t.TopicID}
	}
	return topicKey{name: *t.Topic}
}

// metadataBytes is about how much memory the answer takes until it is written.
func (b *Broker) metadataBytes(img *meta.Image, asked []kmsg.MetadataRequestTopic, all bool) int64 {
	const topicBytes, partitionBytes = 256, 256
	if all {
		return int64(img.TopicCount())*topicBytes + int64(img.PartitionCount())*partitionBytes
	}
	n := int64(0)
	for i := range asked {
		key := metadataKey(&asked[i])
		t := img.TopicByID(key.id)
		if key.name != "" {
			t = img.Topic(key.name)
		}
		n += int64(topicBytes + 3*len(key.name))
		if t != nil {
			n += int64(t.Partitions) * partitionBytes
		} else if b.settings.AutoCreateTopics {
			n += int64(b.settings.NumPartitions) * partitionBytes
		}
	}
	return n
}

func (b *Broker) brokerOf(c *call) kmsg.MetadataResponseBroker {
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID = b.settings.NodeID
	broker.Host, broker.Port = c.conn.advertise.host, c.conn.advertise.port
	return broker
}

// findTopic describes one topic that was asked for, and perhaps makes it.
func (b *Broker) findTopic(c *call, asked *kmsg.MetadataRequestTopic, create bool) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID = asked.Topic, asked.TopicID
	if asked.Topic == nil || asked.TopicID != ([16]byte{}) {
		t := b.metadata.image().TopicByID(asked.TopicID)
		if t != nil {
			return b.describeTopic(t)
		}
		out.ErrorCode = kerr.UnknownTopicID.Code
		return out
	}
	name := *asked.Topic
	t := b.metadata.image().Topic(name)
	var err error
	switch {
	case t != nil:
	case !create:
		err = errNoTopic
		if meta.CheckTopicName(name) != nil {
			err = meta.ErrInvalidTopic
		}
	default:
		t, err = b.autoCreate(c, name)
	}
	if err != nil {
		out.ErrorCode = codeOf(err)
		out.IsInternal = meta.IsInternal(name)
		return out
	}
	return b.describeTopic(t)
}

func (b *Broker) autoCreate(c *call, name string) (*meta.Topic, error) {
	if err := meta.CheckTopicName(name); err != nil {
		return nil, err
	}
	var t *meta.Topic
	var err error
	switch name {
	case meta.OffsetsTopic:
		t, _, err = b.metadata.ensureInternalTopic(c.ctx, name, b.settings.OffsetsTopicPartitions)
	case meta.TransactionsTopic, meta.MetadataTopic:
		return nil, errNoTopic
	default:
		t, _, err = b.metadata.create(c.ctx, name, b.settings.NumPartitions, nil)
	}
	if errors.Is(err, errExists) {
		return t, nil
	}
	if err != nil && !errors.Is(err, meta.ErrInvalidTopic) {
		b.logger.Warn("cannot create a topic that a client asked for", "topic", name, "error", err)
	}
	return t, err
}

func (b *Broker) describeTopic(t *meta.Topic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = &t.Name, t.ID, t.Internal
	out.AuthorizedOperations = noOperations
	node := b.nodes()
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, t.Partitions)
	l := b.metadata.liveTopic(t)
	for i := range out.Partitions {
		p := &out.Partitions[i]
		p.Default()
		p.Partition, p.Leader, p.Replicas, p.ISR = int32(i), b.settings.NodeID, node, node
		var log *storage.Partition
		if l != nil {
			log = l.partition(int32(i))
		}
		if log != nil {
			p.LeaderEpoch = log.LeaderEpoch()
		}
	}
	return out
}

// nodes is the list of all brokers' ids.
func (b *Broker) nodes() []int32 { return []int32{b.settings.NodeID} }
