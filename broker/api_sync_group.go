package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
)

// SyncGroup, key 14, v0–5.
//
//	v3  static members (KIP-345)
//	v5  protocol type and protocol, checked if given (KIP-559)
//
// The answer comes when the leader's assignment is durable. Deviation: a sync
// that its own sender repeats is answered with REBALANCE_IN_PROGRESS, not never; the
// generation may be as Heartbeat says.
func (h *coordinator) syncGroup(c *call, req *kmsg.SyncGroupRequest) {
	h.ask(c, req.Group, parkable(c,
		func(s *shard, now time.Time, tok group.Token) { s.core.Sync(now, tok, req) },
		func(code int16) kmsg.Response {
			resp := kmsg.NewPtrSyncGroupResponse()
			resp.Version, resp.ErrorCode, resp.MemberAssignment = c.version, code, []byte{}
			return resp
		}))
}
