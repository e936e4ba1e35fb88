package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (a *app) groupCommand() *cobra.Command {
	return a.group("group", "List and describe consumer groups", "",
		a.groupListCommand(), a.groupDescribeCommand())
}

func (a *app) groupListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List consumer groups",
		Args: positional(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			ctx, client, done, err := a.admin(cmd)
			if err != nil {
				return err
			}
			defer done()
			groups, err := client.ListGroups(ctx)
			if err != nil {
				return fmt.Errorf("list groups: %w", err)
			}
			list := newListing("GroupList", column{name: "group"}, column{name: "state"}, column{name: "protocol_type"},
				column{name: "coordinator", wide: true})
			for _, g := range groups.Sorted() {
				list.add(nil, g.Group, g.State, g.ProtocolType, g.Coordinator)
			}
			return a.print(list)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

func (a *app) groupDescribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe GROUP...", Short: "Show per partition the committed offset, the lag and the member of groups",
		Long: `Show, per partition, the committed offset of a group, the log's end, the lag and
the member that consumes it.

A partition that has no committed offset shows none, and its lag counts from
the log's start: that is what a member without other orders would have to read.`,
		Args: positional(1, -1, "the names of groups"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			ctx, client, done, err := a.admin(cmd)
			if err != nil {
				return err
			}
			defer done()
			lags, err := client.Lag(ctx, slices.Clone(args)...) // Lag reorders its arguments
			if err != nil {
				return fmt.Errorf("describe groups: %w", err)
			}
			list := newListing("GroupDescription", column{name: "group"}, column{name: "state"}, column{name: "topic"},
				column{name: "partition"}, column{name: "committed"}, column{name: "end"}, column{name: "lag"},
				column{name: "member"}, column{name: "host"}, column{name: "client_id", wide: true},
				column{name: "instance_id", wide: true}, column{name: "protocol", wide: true}, column{name: "metadata", wide: true})
			for _, name := range args {
				addGroup(list, name, lags)
			}
			return a.print(list)
		},
		ValidArgsFunction: a.completeGroups(-1),
	}
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// addGroup adds one row per partition, then one per member that has none.
func addGroup(list *listing, name string, lags kadm.DescribedGroupLags) {
	g, ok := lags[name]
	err := firstError(g.DescribeErr, g.FetchErr)
	if !ok || (err == nil && g.State == "Dead" && len(g.Lag) == 0) || errors.Is(err, kerr.GroupIDNotFound) {
		err = fmt.Errorf("there is no group %q: %w", name, &shortError{kerr.GroupIDNotFound})
	}
	blank := func(err error, m *kadm.DescribedGroupMember) {
		list.add(err, append([]any{name, g.State, nil, nil, nil, nil, nil}, memberCells(m, g.Protocol, nil)...)...)
	}
	if err != nil {
		g.State = ""
		blank(err, nil)
		return
	}
	busy := map[string]bool{}
	for _, l := range g.Lag.Sorted() {
		var committed, end, metadata any
		if l.Commit.At >= 0 {
			committed, metadata = l.Commit.At, l.Commit.Metadata
		}
		if l.End.Err == nil {
			end = l.End.Offset
		}
		if l.Member != nil {
			busy[l.Member.MemberID] = true
		}
		list.add(l.Err, append([]any{name, g.State, l.Topic, l.Partition, committed, end, unknownIfNegative(l.Lag)},
			memberCells(l.Member, g.Protocol, metadata)...)...)
	}
	idle := 0
	for i := range g.Members {
		if m := &g.Members[i]; !busy[m.MemberID] {
			blank(nil, m)
			idle++
		}
	}
	if len(g.Lag) == 0 && idle == 0 {
		blank(nil, nil)
	}
}

func memberCells(m *kadm.DescribedGroupMember, protocol string, metadata any) []any {
	if m == nil {
		return []any{nil, nil, nil, nil, protocol, metadata}
	}
	var instance any
	if m.InstanceID != nil {
		instance = *m.InstanceID
	}
	return []any{m.MemberID, m.ClientHost, m.ClientID, instance, protocol, metadata}
}

// committedOffsets asks where a group stands; a group that never committed
// stands nowhere, which is no error.
func committedOffsets(ctx context.Context, client *kadm.Client, group string) (kadm.OffsetResponses, error) {
	offsets, err := client.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	return offsets, nil
}
