package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
)

// JoinGroup, key 11, v0–9.
//
//	v1  rebalance timeout apart from the session timeout (KIP-62)
//	v4  MEMBER_ID_REQUIRED: a new member asks twice (KIP-394)
//	v5  static members (KIP-345)
//	v7  the protocol type in the answer (KIP-559)
//	v8  a reason, for people (KIP-800)
//	v9  skip assignment (KIP-814)
//
// The answer comes when the generation begins. Deviations: strings of more than
// 32,767 bytes are INVALID_REQUEST or INVALID_GROUP_ID (Kafka closes the
// connection); group.max.size is 1,000 unless set, and bounds the ids given out
// and not yet used, too; when the broker holds weir.max.groups groups, a new one
// is GROUP_MAX_SIZE_REACHED, and so is a member for whose metadata there is no room;
// ids of groups and instances are at most 1,024 bytes; a join that its own sender repeats is answered with
// REBALANCE_IN_PROGRESS, not never; a group that a refused or abandoned join would
// have made is not there (Kafka keeps it, empty, for some minutes); an id that was
// given to a dynamic member and comes with an instance is UNKNOWN_MEMBER_ID (Kafka:
// UNKNOWN_SERVER_ERROR); a join that waits while its group becomes a consumer group is told
// the last generation, not REBALANCE_IN_PROGRESS. Member lists are in order of joining.
func (h *coordinator) joinGroup(c *call, req *kmsg.JoinGroupRequest) {
	from := group.Client{ID: c.clientID, Host: c.host}
	memberID := req.MemberID // the request itself must not be kept while the answer waits
	h.ask(c, req.Group, parkable(c,
		func(s *shard, now time.Time, tok group.Token) {
			s.admit()
			s.core.Join(now, tok, from, req)
		},
		func(code int16) kmsg.Response {
			resp := kmsg.NewPtrJoinGroupResponse()
			resp.Version, resp.ErrorCode, resp.MemberID, resp.Generation = c.version, code, memberID, -1
			return resp
		}))
}
