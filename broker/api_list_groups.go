package broker

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/storage"
)

// ListGroups, key 16, v0–5.
//
//	v4  states, and a filter by them (KIP-518)
//	v5  types, and a filter by them (KIP-848)
//
// Filters do not mind upper and lower case, that of states no blanks around a word
// either; a word that is none matches nothing.
// Deviation: the groups come sorted by id.
func (h *coordinator) listGroups(c *call, req *kmsg.ListGroupsRequest) {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = c.version
	shards := h.all()
	lists := make([][]kmsg.ListGroupsResponseGroup, len(shards))
	codes := make([]int16, len(shards))
	all := newGather(len(shards), func(lsn storage.LSN) {
		for i, list := range lists {
			resp.Groups = append(resp.Groups, list...)
			if codes[i] != 0 {
				resp.ErrorCode = codes[i]
			}
		}
		slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
		c.reply(resp, lsn)
	})
	states, types := group.StateFilter(req.StatesFilter), group.TypeFilter(req.TypesFilter)
	for i, s := range shards {
		s.send(c.ctx, task{
			step: func(s *shard, _ time.Time) func(storage.LSN) {
				if err := c.tryReserve(s.core.ListBytes()); err != nil {
					codes[i] = noRoomCode(err)
					return all.done
				}
				lists[i] = s.core.List(states, types)
				return all.done
			},
			fail: func(code int16) {
				codes[i] = code
				all.done(0)
			},
		})
	}
}
