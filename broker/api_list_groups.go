package broker

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// ListGroups, key 16, v0–5.
//
//	v4  states, and a filter by them (KIP-518)
//	v5  types, and a filter by them (KIP-848)
//
// Filters do not mind upper and lower case; a word that is none matches nothing.
// Deviation: the groups come sorted by id.
func (h *coordinator) listGroups(c *call, req *kmsg.ListGroupsRequest) {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = c.version
	var shards []*shard
	if p := h.shards.Load(); p != nil {
		shards = *p
	}
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
	states, types := filterOf(req.StatesFilter), filterOf(req.TypesFilter)
	for i, s := range shards {
		s.send(c.ctx, task{
			step: func(s *shard, _ time.Time) func(storage.LSN) {
				if err := c.tryReserve(s.core.ListBytes()); err != nil {
					codes[i] = noRoomCode(err)
					return all.done
				}
				lists[i] = slices.DeleteFunc(s.core.List(), func(g kmsg.ListGroupsResponseGroup) bool {
					return !wanted(states, g.GroupState) || !wanted(types, g.GroupType)
				})
				return all.done
			},
			fail: func(code int16) {
				codes[i] = code
				all.done(0)
			},
		})
	}
}

// filterOf is what a filter lets pass; nil lets all pass.
func filterOf(words []string) map[string]bool {
	if len(words) == 0 {
		return nil
	}
	filter := map[string]bool{}
	for _, w := range words {
		filter[strings.ToLower(w)] = true
	}
	return filter
}

func wanted(filter map[string]bool, value string) bool {
	return filter == nil || filter[strings.ToLower(value)]
}
