package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetDelete, key 47, v0 (KIP-496). Offsets of topics that a member subscribes
// to are GROUP_SUBSCRIBED_TO_TOPIC; a group with members that are not consumers is
// NON_EMPTY_GROUP as a whole, and one that does not exist GROUP_ID_NOT_FOUND.
func (h *coordinator) offsetDelete(c *call, req *kmsg.OffsetDeleteRequest) {
	h.ask(c, req.Group, respond(c,
		func(s *shard, now time.Time) kmsg.Response {
			image := h.cfg.topics.image() // on the shard's goroutine, as in offsetCommit
			return s.core.DeleteOffsets(now, req, func(topic string, partition int32) bool {
				t := image.Topic(topic)
				return t != nil && partition >= 0 && partition < t.Partitions
			})
		},
		func(code int16) kmsg.Response {
			resp := kmsg.NewPtrOffsetDeleteResponse()
			resp.Version, resp.ErrorCode = c.version, code
			return resp
		}))
}
