package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The words of --state and --type, as brokers write them.
var (
	groupStates = []string{"Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"}
	groupTypes  = []string{"classic", "consumer", "share", "streams"}
)

func (a *app) groupListCommand() *cobra.Command {
	var states, types []string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List groups",
		Long: `List the groups of the brokers. Type tells the protocol: classic, or consumer for
the next generation (KIP-848); a broker that is too old to tell leaves it out.`,
		Example: `  weir group list --state Stable,PreparingRebalance
  weir group list --type consumer -O json`,
		Args: positional(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			var err error
			if states, err = wordsOf("--state", states, groupStates); err != nil {
				return err
			}
			if types, err = wordsOf("--type", types, groupTypes); err != nil {
				return err
			}
			return a.listGroups(cmd, states, types)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in these states: "+strings.Join(groupStates, ", "))
	cmd.Flags().StringSliceVar(&types, "type", nil, "only groups of these types: "+strings.Join(groupTypes, ", "))
	must(cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(groupStates, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(groupTypes, cobra.ShellCompDirectiveNoFileComp)))
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// wordsOf finds what was given among the words there are, whatever its case.
func wordsOf(flag string, given, words []string) ([]string, error) {
	var out []string
	for _, g := range given {
		i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, g) })
		if i < 0 {
			return nil, usagef("%s %s: there are %s", flag, g, strings.Join(words, ", "))
		}
		out = append(out, words[i])
	}
	return out, nil
}

// listGroups asks every broker. The filters are theirs to apply; those that are
// too old pass them over, so they are applied here, too.
func (a *app) listGroups(cmd *cobra.Command, states, types []string) error {
	client, err := a.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, types
	type row struct {
		kmsg.ListGroupsResponseGroup
		coordinator int32
	}
	var groups []row
	for _, shard := range client.RequestSharded(cmd.Context(), req) {
		if shard.Err != nil {
			return fmt.Errorf("list groups: %w", shard.Err)
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return fmt.Errorf("list groups: %w", named(err))
		}
		for _, g := range resp.Groups {
			groups = append(groups, row{g, shard.Meta.NodeID})
		}
	}
	slices.SortFunc(groups, func(a, b row) int { return cmp.Compare(a.Group, b.Group) })
	list := newListing("GroupList", column{name: "group"}, column{name: "state"}, column{name: "type"},
		column{name: "protocol_type"}, column{name: "coordinator", wide: true})
	for _, g := range groups {
		if passes(states, g.GroupState) && passes(types, g.GroupType) {
			list.add(nil, g.Group, g.GroupState, strings.ToLower(g.GroupType), g.ProtocolType, g.coordinator)
		}
	}
	return a.print(list)
}

// passes is whether a filter lets a word pass; one without words lets all.
func passes(filter []string, word string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, word) })
}
