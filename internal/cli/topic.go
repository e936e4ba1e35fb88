package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (a *app) topicCommand() *cobra.Command {
	return a.group("topic", "Create, list, describe and delete topics", "",
		a.topicCreateCommand(), a.topicListCommand(), a.topicDescribeCommand(), a.topicDeleteCommand())
}

func (a *app) topicCreateCommand() *cobra.Command {
	var (
		partitions  int32
		replicas    int16
		configs     []string
		dryRun      bool
		ifNotExists bool
	)
	cmd := &cobra.Command{
		Use:   "create TOPIC...",
		Short: "Create topics",
		Example: `  weir topic create orders -p 6
  weir topic create audit -c retention.ms=-1 -c max.message.bytes=65536`,
		Args: positional(1, -1, "the names of the topics to create"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			values, err := keyValues("-c", configs)
			if err != nil {
				return err
			}
			ctx, client, done, err := a.admin(cmd)
			if err != nil {
				return err
			}
			defer done()
			create := client.CreateTopics
			if dryRun {
				create = client.ValidateCreateTopics
			}
			created, err := create(ctx, partitions, replicas, values, args...)
			if err != nil {
				return fmt.Errorf("create topics: %w", err)
			}
			if !dryRun {
				a.await(ctx, client, true, madeNow(created))
			}
			return a.print(createdListing(created, dryRun, ifNotExists))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.Int32VarP(&partitions, "partitions", "p", -1, "number of partitions (-1: the broker's default)")
	f.Int16VarP(&replicas, "replicas", "r", -1, "replication factor (-1: the broker's default)")
	f.StringArrayVarP(&configs, "config", "c", nil, "a configuration of the topic, KEY=VALUE; may be repeated")
	f.BoolVar(&dryRun, "dry-run", false, "only ask the broker whether it would")
	f.BoolVar(&ifNotExists, "if-not-exists", false, "a topic that exists is no error")
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

func madeNow(created kadm.CreateTopicResponses) []string {
	var names []string
	for _, r := range created {
		if r.Err == nil {
			names = append(names, r.Topic)
		}
	}
	return names
}

// await returns when the brokers show what was created, or show no more what
// was deleted. Apache Kafka answers before that, and the next line of a script
// would fail. A wait that takes too long only says so: the deed is done.
func (a *app) await(ctx context.Context, client *kadm.Client, exist bool, names []string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(names) > 0 {
		topics, err := client.ListTopicsWithInternal(ctx, slices.Clone(names)...)
		if err == nil && !slices.ContainsFunc(names, func(name string) bool { return shown(topics[name]) != exist }) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			a.notef("the brokers do not show it yet")
			return
		}
	}
}

// shown tells whether a topic can be used: it is there, and led.
func shown(t kadm.TopicDetail) bool {
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return t.Err == nil && len(t.Partitions) > 0
}

func createdListing(created kadm.CreateTopicResponses, dryRun, ifNotExists bool) *listing {
	list := newListing("TopicCreateResult", column{name: "topic"}, column{name: "partitions"}, column{name: "replicas"},
		column{name: "status"}, column{name: "id", wide: true})
	for _, r := range created.Sorted() {
		status, err := "created", reason(r.Err, r.ErrMessage)
		var partitions, replicas any = unknownIfNegative(int64(r.NumPartitions)), unknownIfNegative(int64(r.ReplicationFactor))
		var id any = topicID(r.ID)
		switch {
		case errors.Is(r.Err, kerr.TopicAlreadyExists) && ifNotExists:
			status, err, partitions, replicas, id = "exists", nil, nil, nil, nil
		case err != nil:
			status, partitions, replicas, id = "failed", nil, nil, nil
		case dryRun:
			status, id = "valid", nil
		}
		list.add(err, r.Topic, partitions, replicas, status, id)
	}
	return list
}

func (a *app) topicListCommand() *cobra.Command {
	var internal bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List topics",
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
		},
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
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			ctx, client, done, err := a.admin(cmd)
			if err != nil {
				return err
			}
			defer done()
			topics, err := lookup(ctx, client, args...)
			if err != nil {
				return err
			}
			if configs {
				return a.describeConfigs(ctx, client, topics)
			}
			return a.describePartitions(ctx, client, topics)
		},
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
				var value any
				if c.Value != nil {
					value = *c.Value
				}
				list.add(nil, r.Name, c.Key, value, strings.ToLower(c.Source.String()))
			}
		}
	}
	return a.print(list)
}

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

// confirm asks a question on a terminal. Elsewhere there is nobody to ask, so
// it refuses; --yes answers beforehand. An end of input is a no.
func (a *app) confirm(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if !a.StdinTTY {
		return usagef("not done: there is no terminal to ask on; say --yes")
	}
	fmt.Fprintf(a.Stderr, "%s [y/N] ", question)
	type reply struct {
		text string
		err  error
	}
	// A read of a terminal cannot be interrupted; Ctrl-C must end the command all
	// the same, so the read is left behind in a goroutine.
	answered := make(chan reply, 1)
	go func() {
		text, err := bufio.NewReader(a.Stdin).ReadString('\n')
		answered <- reply{text, err}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r := <-answered:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return fmt.Errorf("read the answer: %w", r.err)
		}
		switch strings.ToLower(strings.TrimSpace(r.text)) {
		case "y", "yes":
			return nil
		}
		return errors.New("not done")
	}
}

// keyValues reads repeated KEY=VALUE flags.
func keyValues(flag string, pairs []string) (map[string]*string, error) {
	values := map[string]*string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usagef("%s %q: want KEY=VALUE", flag, pair)
		}
		if _, twice := values[key]; twice {
			return nil, usagef("%s %s is given twice", flag, key)
		}
		values[key] = &value
	}
	return values, nil
}
