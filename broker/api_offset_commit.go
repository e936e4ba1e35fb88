package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
)

// OffsetCommit, key 8, v2–10.
//
//	v2   the retention of these offsets, until v4 (KIP-211)
//	v6   the leader epoch of the last record (KIP-320)
//	v7   static members (KIP-345)
//	v9   GROUP_ID_NOT_FOUND instead of ILLEGAL_GENERATION (KIP-848)
//	v10  topic ids instead of names (KIP-848)
//
// Deviations: a partition that the topic does not have is
// UNKNOWN_TOPIC_OR_PARTITION (Kafka checks the topic only), so that what clients
// invent takes no room; when the broker holds weir.max.groups groups, a commit
// that would make one is POLICY_VIOLATION. A partition that is named more than once
// makes one record, of its last offset. A request whose records are too large for
// one act is INVALID_COMMIT_OFFSET_SIZE as a whole.
func (h *coordinator) offsetCommit(c *call, req *kmsg.OffsetCommitRequest) {
	h.ask(c, req.Group, respond(c,
		func(s *shard, now time.Time) kmsg.Response {
			s.admit()
			// The topics are looked up here, on the shard's goroutine: once a topic's
			// deletion has passed the shard, no commit to it may.
			image := h.cfg.topics.image()
			nameTopics(image, req)
			return s.core.Commit(now, req, func(t *kmsg.OffsetCommitRequestTopic, partition int32) int16 {
				return committable(image, c.version, t, partition)
			})
		},
		func(code int16) kmsg.Response { return failedCommit(c.version, req, code) }))
}

// nameTopics gives every topic that exists both its name and its id.
func nameTopics(image *meta.Image, req *kmsg.OffsetCommitRequest) {
	for i := range req.Topics {
		t := &req.Topics[i]
		if req.Version >= 10 {
			t.Topic = ""
			if topic := image.TopicByID(t.TopicID); topic != nil {
				t.Topic = topic.Name
			}
		} else if topic := image.Topic(t.Topic); topic != nil {
			t.TopicID = topic.ID
		}
	}
}

func committable(image *meta.Image, version int16, t *kmsg.OffsetCommitRequestTopic, partition int32) int16 {
	topic := image.TopicByID(t.TopicID)
	switch {
	case topic == nil && version >= 10:
		return kerr.UnknownTopicID.Code
	case topic == nil, partition < 0, partition >= topic.Partitions:
		return kerr.UnknownTopicOrPartition.Code
	}
	return 0
}

func failedCommit(version int16, req *kmsg.OffsetCommitRequest, code int16) kmsg.Response {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = version
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
