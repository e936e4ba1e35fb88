package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/storage"
)

// ConsumerGroupHeartbeat, key 68, v0–1 (KIP-848): how members of consumer groups join,
// stay, are given partitions and leave.
//
//	v1   subscription by a regular expression; the member makes its own id (KIP-1082)
//
// The answer waits until what it tells is durable, and what topics there are with it.
//
// Deviations: group.consumer.max.size is 1,000 unless set; when the broker holds
// weir.max.groups groups, a new one is GROUP_MAX_SIZE_REACHED, and so is a member for
// whose subscription there is no room. Shorter heartbeat intervals are asked for while a
// group is changing, or small.
func (h *coordinator) consumerGroupHeartbeat(c *call, req *kmsg.ConsumerGroupHeartbeatRequest) {
	from := group.Client{ID: c.clientID, Host: c.host}
	image := h.cfg.topics.image()
	var x *group.Expression
	if s := req.SubscribedTopicRegex; s != nil && *s != "" {
		// This may take long, so the connection does it that has the request.
		x = group.NewExpression(*s, cluster{image, h.cfg.settings})
		if err := c.reserve(x.Bytes()); err != nil {
			c.refuse(err)
			return
		}
	}
	h.ask(c, req.Group, task{
		step: func(s *shard, now time.Time) func(storage.LSN) {
			s.admit()
			if x != nil {
				x.Follow(cluster{s.image, h.cfg.settings}, s.image.ChangedTopics(image))
			}
			resp := s.core.ConsumerHeartbeat(now, from, req, x)
			return func(lsn storage.LSN) {
				if err := c.tryReserve(assignmentBytes(resp)); err != nil {
					c.refuse(err)
					return
				}
				c.reply(resp, lsn)
			}
		},
		fail: func(code int16) {
			resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
			resp.Version, resp.ErrorCode = c.version, code
			c.reply(resp, 0)
		},
	})
}

// assignmentBytes is about what the answer to a heartbeat takes; most have none.
func assignmentBytes(resp *kmsg.ConsumerGroupHeartbeatResponse) int64 {
	if resp.Assignment == nil {
		return 0
	}
	n := 0
	for i := range resp.Assignment.Topics {
		n += 96 + 8*len(resp.Assignment.Topics[i].Partitions)
	}
	return int64(n)
}
