package broker

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// OffsetFetch, key 9, v1–10.
//
//	v2   null topics are all; an error of the whole
//	v5   the leader epoch (KIP-320)
//	v7   require stable offsets (KIP-447): UNSTABLE_OFFSET_COMMIT while one is pending
//	v8   many groups (KIP-709)
//	v9   member id and epoch, for groups of the next protocol (KIP-848)
//	v10  topic ids instead of names (KIP-848)
//
// A group or an offset that does not exist is no error: offset -1, metadata "".
// Deviation: a group, a topic or a partition that is named more than once is
// answered once, with all that is asked of it.
func (h *coordinator) offsetFetch(c *call, req *kmsg.OffsetFetchRequest) {
	groups := req.Groups
	if c.version < 8 {
		groups = []kmsg.OffsetFetchRequestGroup{oldFetch(req)}
	}
	groups = mergeGroups(groups)
	ids := make([]string, len(groups))
	for i := range groups {
		ids[i] = groups[i].Group
	}
	results := make([]kmsg.OffsetFetchResponseGroup, len(groups))
	h.askEach(c, ids, func(i int, s *shard, _ time.Time) error {
		if err := c.tryReserve(s.core.FetchBytes(&groups[i])); err != nil {
			return err
		}
		results[i] = s.fetch(c.version, &groups[i], req.RequireStable)
		return nil
	}, func(i int, code int16) {
		results[i] = failedFetch(&groups[i], code)
	}, func(lsn storage.LSN) {
		resp := kmsg.NewPtrOffsetFetchResponse()
		resp.Version = c.version
		if c.version >= 8 {
			resp.Groups = results
		} else {
			oldFetched(resp, results[0])
		}
		c.reply(resp, lsn)
	})
}

// mergeGroups names every group once; null topics are all.
func mergeGroups(list []kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroup {
	at := make(map[string]int, len(list))
	kept := list[:0]
	for _, g := range list {
		i, again := at[g.Group]
		switch {
		case !again:
			at[g.Group] = len(kept)
			kept = append(kept, g)
		case g.Topics == nil:
			kept[i].Topics = nil
		case kept[i].Topics != nil:
			kept[i].Topics = append(kept[i].Topics, g.Topics...)
		}
	}
	return kept
}

// oldFetch is a request before v8 in the form of the later ones.
func oldFetch(req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics != nil {
		g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
	}
	for _, t := range req.Topics {
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = t.Topic, t.Partitions
		g.Topics = append(g.Topics, gt)
	}
	return g
}

// oldFetched turns an answer into its form before v8. v1 has no error of the
// whole; each partition repeats it.
func oldFetched(resp *kmsg.OffsetFetchResponse, g kmsg.OffsetFetchResponseGroup) {
	resp.ErrorCode = g.ErrorCode
	for _, t := range g.Topics {
		rt := kmsg.NewOffsetFetchResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
			rp.Metadata, rp.ErrorCode = p.Metadata, p.ErrorCode
			if g.ErrorCode != 0 {
				rp.ErrorCode = g.ErrorCode
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
}

// fetch answers one group. From v10 topics are named by id on the wire, by name
// in the core.
func (s *shard) fetch(version int16, g *kmsg.OffsetFetchRequestGroup, stable bool) kmsg.OffsetFetchResponseGroup {
	if version < 10 {
		return s.core.Fetch(g, stable)
	}
	image := s.coord.cfg.topics.image()
	if g.Topics == nil {
		resp := s.core.Fetch(g, stable)
		resp.Topics = slices.DeleteFunc(resp.Topics, func(t kmsg.OffsetFetchResponseGroupTopic) bool {
			return image.Topic(t.Topic) == nil
		})
		identify(image, &resp)
		return resp
	}
	asked := *g
	asked.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
	var unknown []kmsg.OffsetFetchResponseGroupTopic
	for _, t := range g.Topics {
		topic := image.TopicByID(t.TopicID)
		if topic == nil {
			unknown = append(unknown, noOffsets(&t, kerr.UnknownTopicID.Code))
			continue
		}
		t.Topic = topic.Name
		asked.Topics = append(asked.Topics, t)
	}
	resp := s.core.Fetch(&asked, stable)
	identify(image, &resp)
	resp.Topics = append(resp.Topics, unknown...)
	return resp
}

// identify gives the topics of an answer the ids that they have now.
func identify(image *meta.Image, resp *kmsg.OffsetFetchResponseGroup) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if topic := image.Topic(t.Topic); topic != nil {
			t.TopicID = topic.ID
		}
	}
}

func noOffsets(t *kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	rt := kmsg.NewOffsetFetchResponseGroupTopic()
	rt.Topic, rt.TopicID = t.Topic, t.TopicID
	for _, p := range t.Partitions {
		rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata, rp.ErrorCode = p, -1, -1, kmsg.StringPtr(""), code
		rt.Partitions = append(rt.Partitions, rp)
	}
	return rt
}

// failedFetch repeats the partitions only for v1, which shows the error nowhere
// else; later versions ignore them.
func failedFetch(g *kmsg.OffsetFetchRequestGroup, code int16) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group, resp.ErrorCode = g.Group, code
	for i := range g.Topics {
		resp.Topics = append(resp.Topics, noOffsets(&g.Topics[i], code))
	}
	return resp
}
