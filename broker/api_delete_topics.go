package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
)

// DeleteTopics, key 20, v1–6.
//
//	v4   flexible          v5   error message (KIP-599)
//	v6   by name or by id (KIP-516)
//
// The offsets that groups committed for the topic go in the same act. Deleting
// waits for the groups' shards, so it is done on a goroutine of its own; requests
// behind it on the same connection may be served before.
//
// A topic that is named more than once is INVALID_REQUEST and stays, as in Kafka.
// Deviation: internal topics are refused with INVALID_TOPIC_EXCEPTION; Kafka
// deletes them, and loses every group.

func (b *Broker) deleteTopics(c *call, req *kmsg.DeleteTopicsRequest) {
	if err := c.reserve(int64(len(req.Topics)+len(req.TopicNames)) * deletedBytes); err != nil {
		c.refuse(err)
		return
	}
	unpin := c.pin()
	b.metadata.reaper.Go(func() {
		defer unpin()
		b.deleteAll(c, req)
	})
}

// deletedBytes is about how much memory a topic takes in the answer, with the
// message of an error; its name was counted with the request.
const deletedBytes = 256

func (b *Broker) deleteAll(c *call, req *kmsg.DeleteTopicsRequest) {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	asked := req.Topics
	for _, name := range req.TopicNames {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		asked = append(asked, t)
	}
	seen := make(map[topicKey]int, len(asked))
	for i := range asked {
		seen[deletedKey(&asked[i])]++
	}
	asked = once(asked, deletedKey)
	for i := range asked {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = asked[i].Topic, asked[i].TopicID
		err := error(refuse(kerr.InvalidRequest, "the topic stands in the request more than once"))
		if seen[deletedKey(&asked[i])] == 1 {
			err = b.deleteTopic(c, &asked[i], &out)
		}
		if err != nil {
			out.ErrorCode = codeOf(err)
			out.ErrorMessage = kmsg.StringPtr(truncate(err.Error(), maxMessage))
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.reply(resp, b.metadata.lsn())
}

// deletedKey is how a topic is named; one that is named in both ways is refused.
func deletedKey(t *kmsg.DeleteTopicsRequestTopic) topicKey {
	k := topicKey{id: t.TopicID}
	if t.Topic != nil {
		k.name = *t.Topic
	}
	return k
}

func (b *Broker) deleteTopic(c *call, asked *kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponseTopic) error {
	byID := asked.TopicID != ([16]byte{})
	var t *meta.Topic
	switch {
	case !b.settings.DeleteTopics:
		return refuse(kerr.TopicDeletionDisabled, "delete.topic.enable is false")
	case asked.Topic != nil && byID:
		return refuse(kerr.InvalidRequest, "a topic is named by its name or its id, not by both")
	case asked.Topic != nil:
		if t = b.metadata.image().Topic(*asked.Topic); t == nil {
			return fmt.Errorf("%w: %q", errNoTopic, *asked.Topic)
		}
	case byID:
		if t = b.metadata.image().TopicByID(asked.TopicID); t == nil {
			return refuse(kerr.UnknownTopicID, "no topic has this id")
		}
	default:
		return refuse(kerr.InvalidRequest, "a topic is named by its name or its id")
	}
	out.Topic, out.TopicID = &t.Name, t.ID
	if t.Internal {
		return fmt.Errorf("%w: %q is the broker's own and cannot be deleted", meta.ErrInvalidTopic, t.Name)
	}
	if _, err := b.metadata.remove(c.ctx, t); err != nil {
		return err
	}
	return nil
}
