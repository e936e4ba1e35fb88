package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

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
