package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func (a *app) topicDeleteCommand() *cobra.Command {
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use: "delete TOPIC...", Aliases: []string{"rm"}, Short: "Delete topics and all their records",
		Args: positional(1, -1, "the names of the topics to delete"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			ctx, client, done, err := a.admin(cmd)
			if err != nil {
				return err
			}
			topics, err := lookup(ctx, client, args...)
			if err == nil && dryRun {
				err = a.describePartitions(ctx, client, topics)
			}
			if err == nil && !dryRun && len(existing(topics)) > 0 {
				err = a.confirmDeletion(cmd.Context(), client, topics, yes)
			}
			done()
			if err != nil || dryRun {
				return err
			}
			// Answering the question may have taken longer than any timeout: ask anew.
			return a.deleteTopics(cmd, topics)
		},
		ValidArgsFunction: a.completeTopics(-1),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be deleted")
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// confirmDeletion shows what would be lost and asks.
func (a *app) confirmDeletion(ctx context.Context, client *kadm.Client, topics kadm.TopicDetails, yes bool) error {
	asking, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	starts, ends, err := bounds(asking, client, existing(topics))
	if err != nil {
		return err
	}
	for _, name := range existing(topics) {
		var records int64
		for p, end := range ends[name] {
			records += end.Offset - starts[name][p].Offset
		}
		fmt.Fprintf(a.Stderr, "topic %s: %s, %s\n", name, count(int64(len(topics[name].Partitions)), "partition"), count(records, "record"))
	}
	return a.confirm(ctx, "Delete them for good?", yes)
}

func (a *app) deleteTopics(cmd *cobra.Command, topics kadm.TopicDetails) error {
	list := newListing("TopicDeleteResult", column{name: "topic"}, column{name: "status"})
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			list.add(t.Err, t.Topic, "failed")
		}
	}
	if names := existing(topics); len(names) > 0 {
		ctx, client, done, err := a.admin(cmd)
		if err != nil {
			return err
		}
		defer done()
		deleted, err := client.DeleteTopics(ctx, names...)
		if err != nil {
			return fmt.Errorf("delete topics: %w", err)
		}
		a.await(ctx, client, false, slices.DeleteFunc(names, func(name string) bool { return deleted[name].Err != nil }))
		for _, r := range deleted.Sorted() {
			if r.Err != nil {
				list.add(reason(r.Err, r.ErrMessage), r.Topic, "failed")
			} else {
				list.add(nil, r.Topic, "deleted")
			}
		}
	}
	list.sortByName()
	return a.print(list)
}
