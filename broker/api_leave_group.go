package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup, key 13, v0–5.
//
//	v3  several members at once, static ones by their instance (KIP-345)
//	v5  a reason, for people (KIP-800)
//
// Deviations: none.
func (h *coordinator) leaveGroup(c *call, req *kmsg.LeaveGroupRequest) {
	h.ask(c, req.Group, respond(c,
		func(s *shard, now time.Time) kmsg.Response { return s.core.Leave(now, req) },
		func(code int16) kmsg.Response {
			resp := kmsg.NewPtrLeaveGroupResponse()
			resp.Version, resp.ErrorCode = c.version, code
			return resp
		}))
}
