package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// completionBudget is how long the shell waits for names from a broker: longer
// feels like a hanging terminal, and no names are better.
const completionBudget = 300 * time.Millisecond

// completeTopics offers the names of the topics that exist.
func (a *app) completeTopics(most int) cobra.CompletionFunc {
	return a.completeNames(most, func(ctx context.Context, client *kadm.Client) []string {
		topics, err := client.ListTopics(ctx)
		if err != nil {
			return nil
		}
		return topics.Names()
	})
}

// completeGroups offers the names of the groups that exist.
func (a *app) completeGroups(most int) cobra.CompletionFunc {
	return a.completeNames(most, func(ctx context.Context, client *kadm.Client) []string {
		groups, err := client.ListGroups(ctx)
		if err != nil {
			return nil
		}
		return groups.Groups()
	})
}

func (a *app) completeNames(most int, ask func(context.Context, *kadm.Client) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a.timeout = completionBudget
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionBudget)
		defer cancel()
		client, err := a.connect(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		names := slices.DeleteFunc(ask(ctx, kadm.NewClient(client)), func(n string) bool { return slices.Contains(args, n) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
