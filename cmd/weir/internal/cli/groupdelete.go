package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (a *app) groupDeleteCommand() *cobra.Command {
	var yes, dryRun bool
	var topics []string
	cmd := &cobra.Command{
		Use: "delete GROUP...", Aliases: []string{"rm"}, Short: "Delete groups, or their offsets of some topics",
		Long: `Delete groups with all their committed offsets; a group that has members is not
deleted. With --topic, only the offsets of those topics are deleted, which a group
may have members for, if none of them subscribes to the topic.`,
		Example: `  weir group delete stock --dry-run
  weir group delete stock --yes
  weir group delete stock --topic orders:0,2 --topic audit`,
		Args: positional(1, -1, "the names of the groups to delete"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			chosen, err := parseScope(topics, false)
			if err != nil {
				return err
			}
			d := deletion{app: a, names: args, chosen: chosen}
			if err := d.look(cmd); err != nil {
				return err
			}
			if !dryRun && d.any() {
				if err := a.confirm(cmd.Context(), "Delete them for good?", yes); err != nil {
					return err
				}
			}
			// Answering the question may have taken longer than any timeout: ask anew.
			return d.run(cmd, dryRun)
		},
		ValidArgsFunction: a.completeGroups(-1),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be deleted")
	cmd.Flags().StringArrayVar(&topics, "topic", nil, "delete only the offsets of this topic, or of TOPIC:PARTITION,PARTITION; may be repeated")
	must(cmd.RegisterFlagCompletionFunc("topic", a.completeTopics(-1)))
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// deletion is one run of group delete.
type deletion struct {
	*app
	names  []string
	chosen scope // of offsets; not narrow: the groups themselves

	groups  []*groupView
	offsets map[string]kadm.TopicsSet // by group, what would be deleted
}

// look finds out what there is to delete, and tells it.
func (d *deletion) look(cmd *cobra.Command) error {
	ctx, client, done, err := d.admin(cmd)
	if err != nil {
		return err
	}
	defer done()
	if d.groups, err = describeGroups(ctx, client, d.names); err != nil {
		return err
	}
	d.offsets = map[string]kadm.TopicsSet{}
	for _, g := range d.groups {
		if g.err == nil && !d.chosen.narrow() && len(g.members) > 0 {
			g.err = fmt.Errorf("it has %s (%s): stop all of them, then delete it: %w",
				count(int64(len(g.members)), "member"), g.who(), &shortError{kerr.NonEmptyGroup})
		}
		if g.err != nil {
			continue
		}
		committed, err := committedOffsets(ctx, client, g.name)
		if err != nil {
			g.err = err
			continue
		}
		d.offsets[g.name] = d.matching(committed)
	}
	d.tell()
	return nil
}

func (d *deletion) matching(committed kadm.OffsetResponses) kadm.TopicsSet {
	out := kadm.TopicsSet{}
	committed.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 && d.chosen.holds(o.Topic, o.Partition) {
			out.Add(o.Topic, o.Partition)
		}
	})
	return out
}

// any is whether there is anything that can be deleted.
func (d *deletion) any() bool {
	for _, g := range d.groups {
		if g.err == nil && (!d.chosen.narrow() || len(d.offsets[g.name]) > 0) {
			return true
		}
	}
	return false
}

func (d *deletion) tell() {
	for _, g := range d.groups {
		if g.err != nil {
			continue
		}
		what := "offsets of no partition"
		if set := d.offsets[g.name]; len(set) > 0 {
			what = "offsets of " + partitionSet(set).String()
		}
		fmt.Fprintf(d.Stderr, "group %s (%s): %s\n", g.name, g.state, what)
	}
}

func (d *deletion) run(cmd *cobra.Command, dry bool) error {
	list := newListing("GroupDeleteResult", column{name: "group"}, column{name: "offsets"}, column{name: "status"})
	done := func() {}
	var ctx context.Context
	var client *kadm.Client
	if !dry && d.any() {
		var err error
		if ctx, client, done, err = d.admin(cmd); err != nil {
			return err
		}
	}
	defer done()
	for _, g := range d.groups {
		set := d.offsets[g.name]
		status, err := "failed", g.err
		switch {
		case err != nil:
		case d.chosen.narrow() && len(set) == 0:
			status = "unchanged"
		case dry:
			status = "would be deleted"
		default:
			if err = d.delete(ctx, client, g.name); err == nil {
				status = "deleted"
			}
		}
		list.add(err, g.name, partitionSet(set), status)
	}
	return d.print(list)
}

// delete deletes one group, or its offsets; group by group, so that one that
// fails leaves the others their answers.
func (d *deletion) delete(ctx context.Context, client *kadm.Client, group string) error {
	if d.chosen.narrow() {
		deleted, err := client.DeleteOffsets(ctx, group, d.offsets[group])
		if err != nil {
			return named(err)
		}
		return offsetsKept(deleted)
	}
	_, err := client.DeleteGroup(ctx, group)
	if errors.Is(err, kerr.NonEmptyGroup) {
		return fmt.Errorf("a member joined meanwhile: stop it, then delete the group: %w", &shortError{kerr.NonEmptyGroup})
	}
	return named(err)
}

// offsetsKept says of which topics the offsets were not deleted, and why.
func offsetsKept(deleted kadm.DeleteOffsetsResponses) error {
	set, first := kadm.TopicsSet{}, error(nil)
	deleted.EachError(func(topic string, p int32, err error) {
		set.Add(topic, p)
		if first == nil || errors.Is(err, kerr.GroupSubscribedToTopic) {
			first = err
		}
	})
	if first == nil {
		return nil
	}
	next := ""
	if errors.Is(first, kerr.GroupSubscribedToTopic) {
		next = ": a member subscribes to it; stop the members, then delete them"
	}
	return fmt.Errorf("offsets of %s are still there%s: %w", strings.Join(set.Topics(), ", "), next, named(first))
}

// named shortens an error of the protocol to its name.
func named(err error) error {
	var kafka *kerr.Error
	if errors.As(err, &kafka) && !isAuth(err) {
		return &shortError{kafka}
	}
	return err
}
