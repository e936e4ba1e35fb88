package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// ConsumerGroupDescribe, key 69, v0–1 (KIP-848).
//
//	v1   the protocol that a member speaks (KIP-1099)
//
// A group that does not exist, or is a classic one, is GROUP_ID_NOT_FOUND. Without an
// authorizer everybody may do everything, and that is what is answered.
//
// Deviation: the groups come in the order in which they were asked for, each once.
func (h *coordinator) consumerGroupDescribe(c *call, req *kmsg.ConsumerGroupDescribeRequest) {
	req.Groups = once(req.Groups, func(id *string) string { return *id })
	results := make([]kmsg.ConsumerGroupDescribeResponseGroup, len(req.Groups))
	h.askEach(c, req.Groups, func(i int, s *shard, _ time.Time) error {
		id := req.Groups[i]
		if err := c.tryReserve(s.core.DescribeBytes(id)); err != nil {
			return err
		}
		results[i] = s.core.ConsumerDescribe(id)
		if req.IncludeAuthorizedOperations && results[i].ErrorCode == 0 {
			results[i].AuthorizedOperations = groupOperations
		}
		return nil
	}, func(i int, code int16) {
		results[i] = kmsg.NewConsumerGroupDescribeResponseGroup()
		results[i].Group, results[i].ErrorCode = req.Groups[i], code
	}, func(lsn storage.LSN) {
		resp := kmsg.NewPtrConsumerGroupDescribeResponse()
		resp.Version, resp.Groups = c.version, results
		c.reply(resp, lsn)
	})
}
