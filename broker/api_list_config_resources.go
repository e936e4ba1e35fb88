package broker

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources, key 74, v0–1 (KIP-1142).
//
//	v0   client metrics only, of which there are none
//	v1   topics, the broker, its logger, and the groups with settings of their own
//
// A kind that there is not is UNSUPPORTED_VERSION, as in Kafka. An answer for which
// there is no room is INVALID_REQUEST.
func (b *Broker) listConfigResources(c *call, req *kmsg.ListConfigResourcesRequest) {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	kinds, code := listedKinds(c.version, req.ResourceTypes)
	resp.ErrorCode = code
	img := b.metadata.image()
	for _, kind := range kinds {
		var names []string
		switch kind {
		case kmsg.ConfigResourceTypeTopic:
			for _, t := range img.Topics() {
				names = append(names, t.Name)
			}
		case kmsg.ConfigResourceTypeGroupConfig:
			names = img.ConfiguredGroups()
		case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
			names = []string{strconv.Itoa(int(b.settings.NodeID))}
		}
		n := 0
		for _, name := range names {
			n += 64 + 3*len(name)
		}
		if err := c.reserve(int64(n)); err != nil {
			resp.ErrorCode, resp.ConfigResources = noRoomCode(err), nil
			break
		}
		for _, name := range names {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, r)
		}
	}
	c.reply(resp, b.metadata.lsn())
}

// listedKinds are the kinds of resources that a request asks for, each once.
func listedKinds(version int16, asked []int8) ([]kmsg.ConfigResourceType, int16) {
	all := []kmsg.ConfigResourceType{
		kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
		kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
	}
	if version == 0 {
		return nil, 0
	}
	if len(asked) == 0 {
		return all, 0
	}
	var kinds []kmsg.ConfigResourceType
	for _, n := range asked {
		kind := kmsg.ConfigResourceType(n)
		if !slices.Contains(all, kind) {
			return nil, kerr.UnsupportedVersion.Code
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds, 0
}
