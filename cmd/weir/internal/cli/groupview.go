package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// groupView is what brokers tell of a group, whatever its protocol.
type groupView struct {
	name     string
	kind     string // classic or consumer (KIP-848); "" when there is no such group
	state    string // "" when it could not be described
	assignor string
	epochs   [2]any // of the group and of its assignment; nil unless consumer
	members  []memberView
	err      error
}

// memberView is one member of it.
type memberView struct {
	id, instance, client, host, rack string
	kind                             string // the protocol that it speaks
	epoch                            any    // nil unless consumer
	topics                           []string
	regex                            string
	assigned, target                 kadm.TopicsSet // target is nil unless consumer
}

// gone is whether there is no such group.
func (g *groupView) gone() bool { return errors.Is(g.err, kerr.GroupIDNotFound) }

// active is whether it has members; offsets of such a group are theirs to commit.
func (g *groupView) active() bool {
	return len(g.members) > 0 || g.err == nil && g.state != "Empty" && g.state != "Dead"
}

// who names some members, for a person to find them.
func (g *groupView) who() string {
	const most = 3
	var names []string
	for _, m := range g.members {
		if len(names) == most {
			names = append(names, fmt.Sprintf("and %d more", len(g.members)-most))
			break
		}
		names = append(names, fmt.Sprintf("%q at %s", cmp.Or(m.instance, m.client, m.id), strings.TrimPrefix(m.host, "/")))
	}
	return strings.Join(names, ", ")
}

// describeGroups asks for groups by name, in this order, each once; those that do
// not exist are in the answer with an error. A classic group is told by DescribeGroups, one
// of the consumer protocol by ConsumerGroupDescribe, which older brokers lack.
func describeGroups(ctx context.Context, client *kadm.Client, names []string) ([]*groupView, error) {
	classic, err := client.DescribeGroups(ctx, slices.Clone(names)...)
	if err := whole(err); err != nil {
		return nil, fmt.Errorf("describe groups: %w", err)
	}
	views := map[string]*groupView{}
	var missing []string
	for _, name := range names {
		g, ok := classic[name]
		switch {
		case !ok:
			views[name] = &groupView{name: name, err: shardError(err, name)}
		case errors.Is(g.Err, kerr.GroupIDNotFound) || g.Err == nil && g.State == "Dead":
			views[name] = &groupView{name: name, err: fmt.Errorf("there is no group %q: %w", name, &shortError{kerr.GroupIDNotFound})}
			missing = append(missing, name)
		default:
			views[name] = classicView(g)
		}
	}
	if len(missing) > 0 {
		if err := describeConsumerGroups(ctx, client, missing, views); err != nil {
			return nil, err
		}
	}
	out := make([]*groupView, 0, len(names))
	for i, name := range names {
		if !slices.Contains(names[:i], name) {
			out = append(out, views[name])
		}
	}
	return out, nil
}

func describeConsumerGroups(ctx context.Context, client *kadm.Client, names []string, views map[string]*groupView) error {
	consumer, err := client.DescribeConsumerGroups(ctx, slices.Clone(names)...)
	if isAuth(err) || isUnreachable(err) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("describe groups: %w", err)
	}
	for _, name := range names { // on a broker that knows no such groups, nobody answers
		if g, ok := consumer[name]; ok && !errors.Is(g.Err, kerr.GroupIDNotFound) {
			views[name] = consumerView(g)
		}
	}
	return nil
}

// whole is the error of a request of which no part was answered.
func whole(err error) error {
	if some, ok := errors.AsType[*kadm.ShardErrors](err); ok && !some.AllFailed {
		return nil
	}
	return err
}

// shardError is why the part of a request with this group was not answered.
func shardError(err error, group string) error {
	if err == nil {
		return fmt.Errorf("the broker does not answer for group %q", group)
	}
	return err
}

func classicView(g kadm.DescribedGroup) *groupView {
	v := &groupView{name: g.Group, kind: "classic", state: g.State, assignor: g.Protocol, err: reason(g.Err, g.ErrMessage)}
	if v.err != nil {
		v.state = ""
	}
	for _, m := range g.Members {
		member := memberView{id: m.MemberID, instance: deref(m.InstanceID), client: m.ClientID, host: m.ClientHost, kind: "classic"}
		if join, ok := m.Join.AsConsumer(); ok {
			member.topics = slices.Sorted(slices.Values(join.Topics))
			member.rack = deref(join.Rack)
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			member.assigned = kadm.TopicsSet{}
			for _, t := range assigned.Topics {
				member.assigned.Add(t.Topic, t.Partitions...)
			}
		}
		v.members = append(v.members, member)
	}
	return v
}

func consumerView(g kadm.DescribedConsumerGroup) *groupView {
	v := &groupView{name: g.Group, kind: "consumer", state: g.State, assignor: g.AssignorName, err: g.Err,
		epochs: [2]any{g.Epoch, g.AssignmentEpoch}}
	if v.err != nil {
		v.state, v.epochs = "", [2]any{}
	}
	for _, m := range g.Members {
		kind := "consumer"
		if m.MemberType == 0 {
			kind = "classic"
		}
		v.members = append(v.members, memberView{
			id: m.MemberID, instance: deref(m.InstanceID), client: m.ClientID, host: m.ClientHost, rack: deref(m.RackID),
			kind: kind, epoch: m.MemberEpoch, topics: slices.Sorted(slices.Values(m.SubscribedTopics)), regex: deref(m.SubscribedTopicRegex),
			assigned: m.Assignment, target: m.TargetAssignment,
		})
	}
	return v
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
