package broker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// IncrementalAlterConfigs, key 44, v0–1 (KIP-339), and AlterConfigs, key 33, v0–2,
// which replaces all that is set for a resource.
//
//	IncrementalAlterConfigs v1, AlterConfigs v2   flexible
//
// Topics and consumer groups (KIP-848) can be altered; the group need not exist. An
// altered setting counts, and survives a crash, when the answer is there. It is worked
// out on a goroutine of its own, as storage follows only what is durable.
//
// Deviations: no setting of the broker can be changed while it runs, and no logger:
// INVALID_REQUEST, as Kafka answers for read-only settings. Settings of more than
// weir.max.groups groups, and a cleanup.policy without compact of an internal topic,
// are POLICY_VIOLATION. APPEND and SUBTRACT begin with the value in force, also where
// it comes from a setting of the broker.

// alteration is what a request wants of one resource.
type alteration struct {
	kind    kmsg.ConfigResourceType
	name    string
	changes []meta.Alteration
	replace bool // of AlterConfigs: what is not named goes
	refused error
}

// altered is what came of one.
type altered struct {
	kind    kmsg.ConfigResourceType
	name    string
	code    int16
	message *string
}

// alteredBytes is about how much memory a resource takes in the answer, with the
// message of an error; its name was counted with the request.
const alteredBytes = 256

func (b *Broker) incrementalAlterConfigs(c *call, req *kmsg.IncrementalAlterConfigsRequest) {
	list := make([]alteration, 0, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		a := alteration{kind: r.ResourceType, name: r.ResourceName}
		for _, kv := range r.Configs {
			if kv.Op < kmsg.IncrementalAlterConfigOpSet || kv.Op > kmsg.IncrementalAlterConfigOpSubtract {
				a.refused = refuse(kerr.InvalidRequest, fmt.Sprintf("there is no operation %d", kv.Op))
			}
			a.add(kv.Name, meta.AlterOp(kv.Op), kv.Value)
		}
		list = append(list, a)
	}
	b.alterConfigs(c, list, req.ValidateOnly, func(done []altered) kmsg.Response {
		resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
		for _, d := range done {
			out := kmsg.NewIncrementalAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = d.kind, d.name, d.code, d.message
			resp.Resources = append(resp.Resources, out)
		}
		return resp
	})
}

func (b *Broker) legacyAlterConfigs(c *call, req *kmsg.AlterConfigsRequest) {
	list := make([]alteration, 0, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		a := alteration{kind: r.ResourceType, name: r.ResourceName, replace: true}
		for _, kv := range r.Configs {
			a.add(kv.Name, meta.AlterSet, kv.Value)
		}
		list = append(list, a)
	}
	b.alterConfigs(c, list, req.ValidateOnly, func(done []altered) kmsg.Response {
		resp := kmsg.NewPtrAlterConfigsResponse()
		for _, d := range done {
			out := kmsg.NewAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = d.kind, d.name, d.code, d.message
			resp.Resources = append(resp.Resources, out)
		}
		return resp
	})
}

// add notes one change, or why the whole is refused.
func (a *alteration) add(name string, op meta.AlterOp, value *string) {
	change := meta.Alteration{Name: name, Op: op}
	switch {
	case value != nil:
		change.Value = *value
	case op != meta.AlterDelete && a.refused == nil:
		a.refused = refuse(kerr.InvalidRequest, fmt.Sprintf("%s: null is no value", name))
	}
	a.changes = append(a.changes, change)
}

// checkDuplicates refuses resources, and settings of a resource, that are named more
// than once.
func checkDuplicates(list []alteration) {
	type key struct {
		kind kmsg.ConfigResourceType
		name string
	}
	at := make(map[key]int, len(list))
	for i := range list {
		a := &list[i]
		if first, again := at[key{a.kind, a.name}]; again {
			err := refuse(kerr.InvalidRequest, "the resource stands in the request more than once")
			list[first].refused, a.refused = err, err
		}
		at[key{a.kind, a.name}] = i
		names := make(map[string]bool, len(a.changes))
		for _, c := range a.changes {
			if names[c.Name] && a.refused == nil {
				a.refused = refuse(kerr.InvalidRequest, fmt.Sprintf("%s stands in the request more than once", c.Name))
			}
			names[c.Name] = true
		}
	}
}

// alterConfigs does what is asked of each resource and answers when storage works by
// it, too.
func (b *Broker) alterConfigs(c *call, list []alteration, validateOnly bool, answer func([]altered) kmsg.Response) {
	if err := c.reserve(int64(len(list)) * alteredBytes); err != nil {
		c.refuse(err)
		return
	}
	unpin := c.pin()
	b.metadata.reaper.Go(func() {
		defer unpin()
		checkDuplicates(list)
		var topics []*meta.Topic
		var newest storage.LSN
		done := make([]altered, len(list))
		for i := range list {
			a := &list[i]
			t, lsn, err := b.alter(c, a, validateOnly)
			done[i] = altered{kind: a.kind, name: a.name}
			if err != nil {
				done[i].code, done[i].message = codeOf(err), kmsg.StringPtr(truncate(err.Error(), maxMessage))
			} else if t != nil {
				topics, newest = append(topics, t), max(newest, lsn)
			}
		}
		if err := b.metadata.obey(b.ctx, topics, newest); err != nil && !b.isStopping() {
			b.logger.Error("storage does not work by altered settings; the next start does", "topics", len(topics), "error", err)
		}
		c.reply(answer(done), b.metadata.lsn())
	})
}

// alter does what is asked of one resource; a topic that was changed is returned.
func (b *Broker) alter(c *call, a *alteration, validateOnly bool) (*meta.Topic, storage.LSN, error) {
	if a.refused != nil {
		return nil, 0, a.refused
	}
	switch a.kind {
	case kmsg.ConfigResourceTypeTopic:
		return b.alterTopic(c, a, validateOnly)
	case kmsg.ConfigResourceTypeGroupConfig:
		if err := checkGroupResource(a.name); err != nil {
			return nil, 0, err
		}
		lsn, err := b.metadata.configureGroup(c.ctx, a.name, validateOnly, func(now map[string]string) (map[string]string, error) {
			if a.replace {
				now = nil
			}
			return b.settings.AlterGroup(now, a.changes)
		})
		return nil, lsn, err
	case kmsg.ConfigResourceTypeBroker:
		if a.name != "" {
			if err := b.checkBrokerResource(a.name); err != nil {
				return nil, 0, err
			}
		}
		if len(a.changes) == 0 {
			return nil, 0, nil
		}
		return nil, 0, refuse(kerr.InvalidRequest, fmt.Sprintf("%s: settings of the broker cannot be changed while it runs", a.changes[0].Name))
	}
	return nil, 0, refuse(kerr.InvalidRequest, fmt.Sprintf("resources of kind %d cannot be altered here", a.kind))
}

func (b *Broker) alterTopic(c *call, a *alteration, validateOnly bool) (*meta.Topic, storage.LSN, error) {
	if a.name == "" {
		return nil, 0, refuse(kerr.InvalidRequest, "there are no default settings of topics; set the broker's")
	}
	if err := meta.CheckTopicName(a.name); err != nil {
		return nil, 0, err
	}
	return b.metadata.configureTopic(c.ctx, a.name, validateOnly, func(t *meta.Topic) (map[string]string, error) {
		now := t.Configs
		if a.replace {
			now = nil
		}
		next, err := b.settings.AlterTopic(now, a.changes)
		if policy := next["cleanup.policy"]; err == nil && t.Internal && !slices.Contains(strings.Split(policy, ","), "compact") {
			err = refuse(kerr.PolicyViolation, fmt.Sprintf("%s keeps only the newest of each key: cleanup.policy must have compact, it would be %q", t.Name, policy))
		}
		return next, err
	})
}

func checkGroupResource(id string) error {
	switch {
	case id == "":
		return refuse(kerr.InvalidRequest, "there are no default settings of groups; set the broker's, group.consumer.*")
	case len(id) > group.MaxID:
		return refuse(kerr.InvalidRequest, fmt.Sprintf("the id of the group has %d bytes, at most %d are allowed", len(id), group.MaxID))
	}
	return nil
}
