package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func (a *app) groupMembersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "members GROUP...", Short: "Show the members of groups and what they are assigned",
		Long: `Show the members of groups: who they are, what they are assigned and, in a group
of the consumer protocol (KIP-848), their epoch and what they shall have in the end.`,
		Args: positional(1, -1, "the names of groups"),
		RunE: a.asking(func(ctx context.Context, client *kadm.Client, args []string) error {
			groups, err := describeGroups(ctx, client, args)
			if err != nil {
				return err
			}
			list := newListing("GroupMemberList", column{name: "group"}, column{name: "member"}, column{name: "client_id"},
				column{name: "host"}, column{name: "instance_id"}, column{name: "epoch"}, column{name: "assignment"},
				column{name: "target"}, column{name: "subscription", wide: true}, column{name: "regex", wide: true},
				column{name: "rack", wide: true}, column{name: "protocol", wide: true})
			for _, g := range groups {
				if g.err != nil {
					list.add(g.err, g.name, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil)
				} else if len(g.members) == 0 {
					a.notef("group %s has no members (%s)", g.name, g.state)
				}
				for _, m := range g.members {
					var target any
					if m.target != nil {
						target = partitionSet(m.target)
					}
					list.add(nil, g.name, m.id, m.client, m.host, orNil(m.instance), m.epoch, partitionSet(m.assigned), target,
						m.topics, orNil(m.regex), orNil(m.rack), m.kind)
				}
			}
			return a.print(list)
		}),
		ValidArgsFunction: a.completeGroups(-1),
	}
	return a.clientFlags(a.outputFlag(cmd, "table"))
}
