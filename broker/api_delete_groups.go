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
	for i, id := range req.Groups {
		resp.Groups[i].Group = id
	}
	h.askEach(c, req.Groups, func(i int, s *shard, now time.Time) error {
		resp.Groups[i].ErrorCode = s.core.DeleteGroup(now, req.Groups[i])
		return nil
	}, func(i int, code int16) {
		resp.Groups[i].ErrorCode = code
	}, func(lsn storage.LSN) {
		c.reply(resp, lsn)
	})
}
