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
// Topics and consumer groups are described with every setting of Kafka's, groups
// whether or not they exist; the broker with the settings that it has. Other kinds of
// resources are INVALID_REQUEST.
//
// Deviations: a resource that is named more than once is answered once, with what
// any of them asks for; resources for which an answer has no more room are
// INVALID_REQUEST.

func (b *Broker) describeConfigs(c *call, req *kmsg.DescribeConfigsRequest) {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	resources := mergeResources(req.Resources)
	fits, err := b.reserveConfigs(c, req, resources)
	if err != nil {
		c.refuse(err)
		return
	}
	for i := range resources {
		asked := &resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		entries, err := b.entriesOf(asked)
		if i >= fits {
			entries, err = nil, refuse(kerr.InvalidRequest, errAnswerSize.Error())
		}
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

// mergeResources names every resource once, with all settings that are asked of it.
func mergeResources(list []kmsg.DescribeConfigsRequestResource) []kmsg.DescribeConfigsRequestResource {
	type key struct {
		kind kmsg.ConfigResourceType
		name string
	}
	at := make(map[key]int, len(list))
	kept := list[:0]
	for _, r := range list {
		k := key{r.ResourceType, r.ResourceName}
		i, again := at[k]
		switch {
		case !again:
			at[k] = len(kept)
			kept = append(kept, r)
		case r.ConfigNames == nil:
			kept[i].ConfigNames = nil
		case kept[i].ConfigNames != nil:
			kept[i].ConfigNames = append(kept[i].ConfigNames, r.ConfigNames...)
		}
	}
	return kept
}

// reserveConfigs makes room for the answer, and tells how many of the resources
// have room in it.
func (b *Broker) reserveConfigs(c *call, req *kmsg.DescribeConfigsRequest, resources []kmsg.DescribeConfigsRequestResource) (int, error) {
	const refusedBytes = 512
	img := b.metadata.image()
	topic := entriesBytes(req, b.settings.DescribeTopic(nil))
	sum := int64(len(resources)) * refusedBytes
	for i := range resources {
		n := int64(3 * len(resources[i].ResourceName))
		switch resources[i].ResourceType {
		case kmsg.ConfigResourceTypeTopic:
			if t := img.Topic(resources[i].ResourceName); t != nil {
				n += topic
				for k, v := range t.Configs {
					n += int64(8 * (len(k) + len(v)))
				}
			}
		case kmsg.ConfigResourceTypeGroupConfig:
			n += entriesBytes(req, b.settings.DescribeGroup(img.GroupConfigs(resources[i].ResourceName)))
		case kmsg.ConfigResourceTypeBroker:
			n += entriesBytes(req, b.settings.Describe())
		}
		if sum+n > maxAnswer {
			return i, c.reserve(sum)
		}
		sum += n
	}
	return len(resources), c.reserve(sum)
}

// entriesBytes is about how much memory settings take in the answer.
func entriesBytes(req *kmsg.DescribeConfigsRequest, entries []meta.Entry) int64 {
	const entryBytes = 256
	n := 0
	for i := range entries {
		e := &entries[i]
		n += entryBytes + 3*(len(e.Name)+len(e.Value))
		if req.IncludeSynonyms {
			for _, s := range e.Synonyms {
				n += entryBytes/2 + 3*(len(s.Name)+len(s.Value))
			}
		}
		if req.IncludeDocumentation {
			n += 3 * len(e.Doc)
		}
	}
	return int64(n)
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
		if err := b.checkBrokerResource(asked.ResourceName); err != nil {
			return nil, err
		}
		return b.settings.Describe(), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if err := checkGroupResource(asked.ResourceName); err != nil {
			return nil, err
		}
		return b.settings.DescribeGroup(b.metadata.image().GroupConfigs(asked.ResourceName)), nil
	}
	return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("resources of kind %d have no settings here", asked.ResourceType))
}

// checkBrokerResource refuses the name of another broker than this one.
func (b *Broker) checkBrokerResource(name string) error {
	if id, err := strconv.ParseInt(name, 10, 32); err != nil || int32(id) != b.settings.NodeID {
		return refuse(kerr.InvalidRequest, fmt.Sprintf("broker %q is not this one, %d", name, b.settings.NodeID))
	}
	return nil
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
