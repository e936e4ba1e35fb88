package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func (a *app) topicCommand() *cobra.Command {
	return a.group("topic", "Create, list, describe and delete topics", "",
		a.topicCreateCommand(), a.topicListCommand(), a.topicDescribeCommand(), a.topicDeleteCommand())
}

func (a *app) topicListCommand() *cobra.Command {
	var internal bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List topics",
		Args: positional(0, 0, "no arguments"),
		RunE: a.asking(func(ctx context.Context, client *kadm.Client, _ []string) error {
			topics, err := client.ListTopicsWithInternal(ctx)
			if err != nil {
				return fmt.Errorf("list topics: %w", err)
			}
			if !internal {
				topics.FilterInternal()
			}
			list := newListing("TopicList", column{name: "topic"}, column{name: "partitions"}, column{name: "replicas"},
				column{name: "internal", wide: true}, column{name: "id", wide: true})
			for _, t := range topics.Sorted() {
				list.add(t.Err, t.Topic, len(t.Partitions), replication(t), t.IsInternal, topicID(t.ID))
			}
			return a.print(list)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&internal, "internal", false, "show the broker's own topics, too")
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// topicID prints an id as Kafka's tools do.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func replication(t kadm.TopicDetail) any {
	for _, p := range t.Partitions {
		return len(p.Replicas)
	}
	return nil
}

func (a *app) topicDescribeCommand() *cobra.Command {
	var configs bool
	cmd := &cobra.Command{
		Use: "describe TOPIC...", Short: "Show the partitions of topics, or their configurations",
		Args: positional(1, -1, "the names of topics"),
		RunE: a.asking(func(ctx context.Context, client *kadm.Client, args []string) error {
			topics, err := lookup(ctx, client, args...)
			if err != nil {
				return err
			}
			if configs {
				return a.describeConfigs(ctx, client, topics)
			}
			return a.describePartitions(ctx, client, topics)
		}),
		ValidArgsFunction: a.completeTopics(-1),
	}
	cmd.Flags().BoolVar(&configs, "configs", false, "show configurations instead of partitions")
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// existing are the names of the topics that were found.
func existing(topics kadm.TopicDetails) []string {
	var names []string
	for _, t := range topics.Sorted() {
		if t.Err == nil {
			names = append(names, t.Topic)
		}
	}
	return names
}

func (a *app) describePartitions(ctx context.Context, client *kadm.Client, topics kadm.TopicDetails) error {
	list := newListing("TopicPartitionList", column{name: "topic"}, column{name: "partition"}, column{name: "leader"},
		column{name: "replicas"}, column{name: "isr"}, column{name: "start"}, column{name: "end"}, column{name: "records"},
		column{name: "leader_epoch", wide: true}, column{name: "topic_id", wide: true})
	starts, ends, err := bounds(ctx, client, existing(topics))
	if err != nil {
		return err
	}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			list.add(t.Err, t.Topic, nil, nil, nil, nil, nil, nil, nil, nil, nil)
			continue
		}
		for _, p := range t.Partitions.Sorted() {
			start, startOK := starts.Lookup(t.Topic, p.Partition)
			end, endOK := ends.Lookup(t.Topic, p.Partition)
			err := firstError(p.Err, start.Err, end.Err)
			var from, to, count any
			if startOK && endOK && err == nil {
				from, to, count = start.Offset, end.Offset, end.Offset-start.Offset
			}
			list.add(err, t.Topic, p.Partition, p.Leader, ids(p.Replicas), ids(p.ISR), from, to, count, p.LeaderEpoch, topicID(t.ID))
		}
	}
	return a.print(list)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func ids(nodes []int32) []string {
	out := []string{}
	for _, n := range nodes {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

func unknownIfNegative(n int64) any {
	if n < 0 {
		return nil
	}
	return n
}

// bounds are the first and the next offsets of all partitions of topics. An
// empty list would mean all topics to the requests below, so it asks nothing.
func bounds(ctx context.Context, client *kadm.Client, topics []string) (starts, ends kadm.ListedOffsets, err error) {
	if len(topics) == 0 {
		return nil, nil, nil
	}
	if starts, err = client.ListStartOffsets(ctx, topics...); err != nil {
		return nil, nil, fmt.Errorf("list start offsets: %w", err)
	}
	if ends, err = client.ListEndOffsets(ctx, topics...); err != nil {
		return nil, nil, fmt.Errorf("list end offsets: %w", err)
	}
	return starts, ends, nil
}

func (a *app) describeConfigs(ctx context.Context, client *kadm.Client, topics kadm.TopicDetails) error {
	list := newListing("TopicConfigList", column{name: "topic"}, column{name: "key"}, column{name: "value"}, column{name: "source"})
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			list.add(t.Err, t.Topic, nil, nil, nil)
		}
	}
	if names := existing(topics); len(names) > 0 {
		described, err := client.DescribeTopicConfigs(ctx, names...)
		if err != nil {
			return fmt.Errorf("describe configurations: %w", err)
		}
		for _, r := range described {
			if r.Err != nil {
				list.add(reason(r.Err, r.ErrMessage), r.Name, nil, nil, nil)
			}
			for _, c := range r.Configs {
				list.add(nil, r.Name, c.Key, pointed(c.Value), strings.ToLower(c.Source.String()))
			}
		}
	}
	return a.print(list)
}
