package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat, key 12, v0–4.
//
//	v3  static members (KIP-345)
//
// Deviation: when a consumer group has become a classic one, a member may name the epoch
// it had seen last until the next generation begins (Kafka: ILLEGAL_GENERATION).
func (h *coordinator) heartbeat(c *call, req *kmsg.HeartbeatRequest) {
	h.ask(c, req.Group, respond(c,
		func(s *shard, now time.Time) kmsg.Response { return s.core.Heartbeat(now, req) },
		func(code int16) kmsg.Response {
			resp := kmsg.NewPtrHeartbeatResponse()
			resp.Version, resp.ErrorCode = c.version, code
			return resp
		}))
}
