package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// DeleteGroups, key 42, v0–2 (KIP-229). A group without members goes, and its
// offsets with it; one that has members is NON_EMPTY_GROUP, and one that does not
// exist GROUP_ID_NOT_FOUND.
//
// Deviation: the groups come in the order in which they were asked for, each once.
func (h *coordinator) deleteGroups(c *call, req *kmsg.DeleteGroupsRequest) {
	req.Groups = once(req.Groups, func(id *string) string { return *id })
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = c.version
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	unpin := c.pin()
	all := newGather(len(req.Groups), func(lsn storage.LSN) {
		unpin()
		c.reply(resp, lsn)
	})
	for i, id := range req.Groups {
		out := &resp.Groups[i]
		out.Group = id
		h.askPart(c, id, task{
			step: func(s *shard, now time.Time) func(storage.LSN) {
				out.ErrorCode = s.core.DeleteGroup(now, id)
				return all.done
			},
			fail: func(code int16) {
				out.ErrorCode = code
				all.done(0)
			},
		})
	}
}
