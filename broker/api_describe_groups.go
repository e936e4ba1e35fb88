package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// DescribeGroups, key 15, v0–6.
//
//	v3  the operations that the sender may do, if asked (KIP-430)
//	v4  static members (KIP-345)
//	v6  GROUP_ID_NOT_FOUND, with a message, instead of state Dead alone (KIP-1043)
//
// Without an authorizer everybody may do everything, and that is what is answered.
// Deviation: the groups come in the order in which they were asked for (Kafka puts
// those that do not exist first), each once.
func (h *coordinator) describeGroups(c *call, req *kmsg.DescribeGroupsRequest) {
	req.Groups = once(req.Groups, func(id *string) string { return *id })
	results := make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	h.askEach(c, req.Groups, func(i int, s *shard, _ time.Time) error {
		id := req.Groups[i]
		if err := c.tryReserve(s.core.DescribeBytes(id)); err != nil {
			return err
		}
		results[i] = s.core.Describe(c.version, id)
		if req.IncludeAuthorizedOperations && results[i].ErrorCode == 0 {
			results[i].AuthorizedOperations = groupOperations
		}
		return nil
	}, func(i int, code int16) {
		results[i] = kmsg.NewDescribeGroupsResponseGroup()
		results[i].Group, results[i].ErrorCode = req.Groups[i], code
	}, func(lsn storage.LSN) {
		resp := kmsg.NewPtrDescribeGroupsResponse()
		resp.Version, resp.Groups = c.version, results
		c.reply(resp, lsn)
	})
}

// groupOperations are the bits of the operations on groups: READ (3), DELETE
// (6), DESCRIBE (8), DESCRIBE_CONFIGS (10) and ALTER_CONFIGS (11).
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
