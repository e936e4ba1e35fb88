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

func (a *app) groupDescribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe GROUP...", Short: "Show per partition the committed offset, the lag and the member of groups",
		Long: `Show, per partition, the committed offset of a group, the log's end, the lag and
the member that consumes it. With -O wide, also the group's type (classic, or
consumer for KIP-848), its assignor and its epochs.

A partition that has no committed offset shows none, and its lag counts from
the log's start: that is what a member without other orders would have to read.`,
		Args: positional(1, -1, "the names of groups"),
		RunE: a.asking(func(ctx context.Context, client *kadm.Client, args []string) error {
			groups, err := describeGroups(ctx, client, args)
			if err != nil {
				return err
			}
			list := newListing("GroupDescription", column{name: "group"}, column{name: "state"}, column{name: "topic"},
				column{name: "partition"}, column{name: "committed"}, column{name: "end"}, column{name: "lag"},
				column{name: "member"}, column{name: "host"}, column{name: "client_id", wide: true},
				column{name: "instance_id", wide: true}, column{name: "metadata", wide: true}, column{name: "type", wide: true},
				column{name: "assignor", wide: true}, column{name: "epoch", wide: true}, column{name: "assignment_epoch", wide: true})
			if err := addGroups(ctx, client, list, groups); err != nil {
				return err
			}
			return a.print(list)
		}),
		ValidArgsFunction: a.completeGroups(-1),
	}
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// addGroups asks where all groups stand, and where the logs end, and adds their rows.
func addGroups(ctx context.Context, client *kadm.Client, list *listing, groups []*groupView) error {
	var names []string
	for _, g := range groups {
		if g.err == nil {
			names = append(names, g.name)
		}
	}
	partitions, committed := kadm.TopicsSet{}, kadm.FetchOffsetsResponses{}
	if len(names) > 0 { // none would mean all
		committed = client.FetchManyOffsets(ctx, names...)
	}
	for _, g := range groups {
		told := committed[g.name]
		if told.Err != nil && !errors.Is(told.Err, kerr.GroupIDNotFound) {
			g.err = fmt.Errorf("fetch offsets of group %s: %w", g.name, told.Err)
		}
		partitions.Merge(told.Fetched.Partitions())
		partitions.Merge(g.partitions())
	}
	starts, ends, err := bounds(ctx, client, partitions.Topics())
	if err != nil {
		return err
	}
	for _, g := range groups {
		addGroup(list, g, lags(g, committed[g.name].Fetched, starts, ends))
	}
	return nil
}

// partitions are those that the members have, and topics that they subscribe to.
func (g *groupView) partitions() kadm.TopicsSet {
	set := kadm.TopicsSet{}
	for i := range g.members {
		set.Merge(g.members[i].assigned)
		set.MergeTopics(g.members[i].topics)
	}
	return set
}

// addGroup adds one row per partition, then one per member that has none.
func addGroup(list *listing, g *groupView, rows []lagRow) {
	row := func(err error, m *memberView, metadata any, cells ...any) {
		list.add(err, slices.Concat([]any{g.name, g.state}, cells, memberCells(m), []any{metadata, g.kind, g.assignor, g.epochs[0], g.epochs[1]})...)
	}
	if g.err != nil {
		row(g.err, nil, nil, nil, nil, nil, nil, nil)
		return
	}
	busy := map[*memberView]bool{}
	for _, r := range rows {
		busy[r.member] = true
		var at, metadata any
		if r.committed != nil {
			at, metadata = r.committed.At, r.committed.Metadata
		}
		row(r.err, r.member, metadata, r.topic, r.partition, at, r.end, r.lag)
	}
	for i := range g.members {
		if m := &g.members[i]; !busy[m] {
			row(nil, m, nil, nil, nil, nil, nil, nil)
		}
	}
	if len(rows) == 0 && len(g.members) == 0 {
		row(nil, nil, nil, nil, nil, nil, nil, nil)
	}
}

func memberCells(m *memberView) []any {
	if m == nil {
		return []any{nil, nil, nil, nil}
	}
	return []any{m.id, m.host, m.client, orNil(m.instance)}
}

// orNil is a string that is unknown when it is empty.
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// pointed is what a pointer points to, unknown when it is nil.
func pointed[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// lagRow is where a group stands in one partition.
type lagRow struct {
	mark
	committed *kadm.Offset
	end, lag  any // nil: not known
	member    *memberView
	err       error
}

// lags tells of all partitions that the group has offsets of, or its members
// have or subscribe to.
func lags(g *groupView, committed kadm.OffsetResponses, starts, ends kadm.ListedOffsets) []lagRow {
	owners, partitions := map[mark]*memberView{}, g.partitions()
	for i := range g.members {
		m := &g.members[i]
		m.assigned.Each(func(topic string, p int32) { owners[mark{topic, p}] = m })
	}
	partitions.Merge(committed.Partitions())
	for _, topic := range partitions.Topics() {
		for p := range ends[topic] {
			if p >= 0 { // -1 tells that there is no such topic
				partitions.Add(topic, p)
			}
		}
	}
	var rows []lagRow
	for _, at := range sortedMarks(partitions) {
		r := lagRow{mark: at, member: owners[at]}
		r.stand(committed, starts, ends)
		rows = append(rows, r)
	}
	return rows
}

// stand fills in what is known of the partition.
func (r *lagRow) stand(committed kadm.OffsetResponses, starts, ends kadm.ListedOffsets) {
	start, startOK := starts.Lookup(r.topic, r.partition)
	end, endOK := ends.Lookup(r.topic, r.partition)
	o, ok := committed.Lookup(r.topic, r.partition)
	r.err = firstError(o.Err, start.Err, end.Err)
	if r.err == nil && (!startOK || !endOK) {
		r.err = noPartition(r.topic, r.partition, ends)
	}
	if ok && o.Err == nil && o.At >= 0 {
		r.committed = &o.Offset
	}
	if endOK && end.Err == nil {
		r.end = end.Offset
	}
	if r.err == nil {
		from := start.Offset
		if r.committed != nil {
			from = r.committed.At
		}
		r.lag = max(end.Offset-from, 0)
	}
}
