package broker

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
)

// DescribeConfigs, key 32, v1–4.
//
//	v1   source and synonyms (KIP-226)
//	v3   type and documentation (KIP-569)
//	v4   flexible
//
// Topics are described with every setting of Kafka's; the broker with the
// settings that it has. Other kinds of resources are INVALID_REQUEST.

func (b *Broker) describeConfigs(c *call, req *kmsg.DescribeConfigsRequest) {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for i := range req.Resources {
		asked := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		entries, err := b.entriesOf(asked)
		if err != nil {
			out.ErrorCode = codeOf(err)
			out.ErrorMessage = kmsg.StringPtr(truncate(err.Error(), maxMessage))
		}
		wanted := map[string]bool{}
		for _, name := range asked.ConfigNames {
			wanted[name] = true
		}
		for k := range entries {
			if asked.ConfigNames == nil || wanted[entries[k].Name] {
				out.Configs = append(out.Configs, describeEntry(req, &entries[k]))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	c.reply(resp, b.metadata.lsn())
}

func (b *Broker) entriesOf(asked *kmsg.DescribeConfigsRequestResource) ([]meta.Entry, error) {
	switch asked.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := meta.CheckTopicName(asked.ResourceName); err != nil {
			return nil, err
		}
		t := b.metadata.image().Topic(asked.ResourceName)
		if t == nil {
			return nil, errNoTopic
		}
		return b.settings.DescribeTopic(t.Configs), nil
	case kmsg.ConfigResourceTypeBroker:
		// "" are the cluster's dynamic defaults, of which there are none.
		if asked.ResourceName == "" {
			return nil, nil
		}
		if id, err := strconv.ParseInt(asked.ResourceName, 10, 32); err != nil || int32(id) != b.settings.NodeID {
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("broker %q is not this one, %d", asked.ResourceName, b.settings.NodeID))
		}
		return b.settings.Describe(), nil
	}
	return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("resources of kind %d have no settings here", asked.ResourceType))
}

func describeEntry(req *kmsg.DescribeConfigsRequest, e *meta.Entry) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly = e.Name, kmsg.StringPtr(e.Value), e.ReadOnly
	out.Source, out.IsDefault = kmsg.ConfigSource(e.Source), e.Source == meta.Default
	out.ConfigType = kmsg.ConfigType(e.Kind)
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			syn := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			syn.Name, syn.Value, syn.Source = s.Name, kmsg.StringPtr(s.Value), kmsg.ConfigSource(s.Source)
			out.ConfigSynonyms = append(out.ConfigSynonyms, syn)
		}
	}
	if req.IncludeDocumentation {
		out.Documentation = kmsg.StringPtr(e.Doc)
	}
	return out
}
