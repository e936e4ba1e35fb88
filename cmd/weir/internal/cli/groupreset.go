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

const resetLong = `Move the committed offsets of a group that has no members, so that its members go
on elsewhere when they are started again.

Without --execute nothing is written: what would change is shown, per partition the
offset before and after, their difference and the lag that follows. With --execute
the offsets as they were are first saved to a file, which --from-file takes back
exactly; its name is printed, and --undo chooses it.

Offsets outside of the log are taken as its start or end, with a note. --shift
leaves partitions alone in which the group never committed. --all-topics are the
topics in which the group has offsets (with --from-group: the other one);
--from-group and --from-file need no topics. --from-file reads what --undo wrote,
what 'group describe' prints with -O json or csv, or CSV: topic,partition,offset.`

const resetExample = `  weir group reset stock --all-topics --to-time 2026-01-02T03:04:05Z
  weir group reset stock --topic orders --by-duration 2h --execute
  weir group reset stock --topic orders:0,3 --shift -100 --execute
  weir group reset copy --from-group stock --execute
  weir group reset stock --from-file weir-undo-stock-20260102T030405.000Z.json --execute`

func (a *app) groupResetCommand() *cobra.Command {
	var flags targetFlags
	var topics []string
	var all bool
	r := reset{app: a}
	cmd := &cobra.Command{
		Use: "reset GROUP", Short: "Move the committed offsets of a group; shows only, unless --execute",
		Long: resetLong, Example: resetExample,
		Args: positional(1, 1, "the name of a group"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := a.checkOutput(); err != nil {
				return err
			}
			r.group, r.now = args[0], a.Now()
			if r.to, err = flags.parse(r.now); err != nil {
				return err
			}
			if r.chosen, err = parseScope(topics, all); err != nil {
				return err
			}
			if !r.chosen.narrow() && !all && r.to.kind != fromGroup && r.to.kind != fromFile {
				return usagef("in which topics? say --topic TOPIC or --all-topics")
			}
			if r.undo != "" && !r.execute {
				return usagef("--undo is for --execute: without it nothing changes")
			}
			return r.run(cmd)
		},
		ValidArgsFunction: a.completeGroups(1),
	}
	f := cmd.Flags()
	f.StringArrayVar(&topics, "topic", nil, "a topic, or TOPIC:PARTITION,PARTITION of it; may be repeated")
	f.BoolVar(&all, "all-topics", false, "all topics in which the group has offsets")
	f.BoolVar(&flags.start, "to-start", false, "to the first offsets of the log")
	f.BoolVar(&flags.end, "to-end", false, "to the log's end: skip all that is there")
	f.StringVar(&flags.offset, "to-offset", "", "to this offset")
	f.StringVar(&flags.time, "to-time", "", "to the first record at or after a time: 2026-01-02T03:04:05Z, or milliseconds since 1970")
	f.StringVar(&flags.duration, "by-duration", "", "to the first record of the last 90m, 12h, 7d")
	f.StringVar(&flags.shift, "shift", "", "by this many records, +N forward or -N back")
	f.StringVar(&flags.group, "from-group", "", "to where another group stands")
	f.StringVar(&flags.file, "from-file", "", "to the offsets in a file; - is standard input")
	f.BoolVar(&r.execute, "execute", false, "do it, and write a file that takes it back")
	f.StringVar(&r.undo, "undo", "", "name of that file, which must not exist (default weir-undo-GROUP-TIME.json here)")
	must(cmd.RegisterFlagCompletionFunc("topic", a.completeTopics(-1)))
	must(cmd.RegisterFlagCompletionFunc("from-group", a.completeGroups(-1)))
	must(cmd.MarkFlagFilename("from-file"))
	return a.clientFlags(a.outputFlag(cmd, "table"))
}

// reset is one run of group reset.
type reset struct {
	*app
	group   string
	to      target
	chosen  scope
	execute bool
	undo    string
	now     time.Time
}

func (r *reset) run(cmd *cobra.Command) error {
	given, err := givenOffsets{}, error(nil)
	if r.to.kind == fromFile {
		if given, err = r.readOffsets(r.to.file, r.group); err != nil {
			return err
		}
	}
	ctx, client, done, err := r.admin(cmd)
	if err != nil {
		return err
	}
	defer done()
	views, err := describeGroups(ctx, client, []string{r.group})
	if err != nil {
		return err
	}
	if err := r.mayMove(views[0]); err != nil {
		return err
	}
	positions, err := r.positions(ctx, client, given)
	if err != nil {
		return err
	}
	if len(positions) == 0 {
		return fmt.Errorf("nothing to reset: group %q has no offsets there; name topics with --topic", r.group)
	}
	moves := make([]move, 0, len(positions))
	for _, p := range positions {
		moves = append(moves, r.to.plan(p))
	}
	if !r.execute {
		return r.show("GroupResetPlan", moves, "would change", nil)
	}
	return r.write(ctx, client, moves)
}

// mayMove refuses a group with members: they would go on where they are, and
// commit over it.
func (r *reset) mayMove(g *groupView) error {
	switch {
	case g.gone():
		r.notef("there is no group %q yet: it is made when offsets are written", r.group)
		return nil
	case g.err != nil:
		return fmt.Errorf("describe group %s: %w", r.group, g.err)
	case !g.active():
		return nil
	}
	who := "no member is known yet"
	if len(g.members) > 0 {
		who = count(int64(len(g.members)), "member") + ": " + g.who()
	}
	sentence := fmt.Sprintf("group %s is active (%s; %s): stop its members, wait until '%s group describe %[1]s' says Empty, then reset it",
		r.group, g.state, who, r.program())
	if r.execute {
		return errors.New(sentence)
	}
	r.notef("%s", sentence)
	return nil
}

// positions are the partitions that were chosen, by topic and number.
func (r *reset) positions(ctx context.Context, client *kadm.Client, given givenOffsets) ([]position, error) {
	committed, err := committedOffsets(ctx, client, r.group)
	if err != nil {
		return nil, err
	}
	source := committed
	if r.to.kind == fromGroup {
		if source, err = committedOffsets(ctx, client, r.to.group); err != nil {
			return nil, err
		}
		given.offsets = map[mark]*kadm.Offset{}
		source.Each(func(o kadm.OffsetResponse) {
			if o.Err == nil && o.At >= 0 {
				given.offsets[mark{o.Topic, o.Partition}] = &o.Offset
			}
		})
		if len(given.offsets) == 0 {
			return nil, fmt.Errorf("group %q has no offsets to take", r.to.group)
		}
	}
	topics := r.chosen.topics()
	if !r.chosen.narrow() {
		topics = source.Partitions().Topics()
		if r.to.kind == fromFile {
			topics = given.topics()
		}
	}
	starts, ends, err := bounds(ctx, client, topics)
	if err != nil {
		return nil, err
	}
	timed := kadm.ListedOffsets{}
	if r.to.kind == toTime && len(topics) > 0 {
		if timed, err = client.ListOffsetsAfterMilli(ctx, r.to.n, topics...); err != nil {
			return nil, fmt.Errorf("list offsets by time: %w", err)
		}
	}
	var out []position
	for _, at := range r.marks(topics, ends, given) {
		p := position{mark: at, given: given.offsets[at], exact: given.exact}
		p.look(committed, starts, ends, timed, r.to.kind == toTime)
		out = append(out, p)
	}
	return out, nil
}

// topics are those of the offsets.
func (g givenOffsets) topics() []string {
	set := kadm.TopicsSet{}
	for at := range g.offsets {
		set.Add(at.topic, at.partition)
	}
	return set.Topics()
}

// marks lists the partitions that are meant, sorted. A file or another group
// means its own; so does a topic that does not exist, for its error to be told.
func (r *reset) marks(topics []string, ends kadm.ListedOffsets, given givenOffsets) []mark {
	set := kadm.TopicsSet{}
	for _, topic := range topics {
		for _, p := range r.chosen.partitions[topic] {
			set.Add(topic, p)
		}
		if len(r.chosen.partitions[topic]) > 0 {
			continue
		}
		if given.offsets == nil || r.to.kind == fromGroup && r.chosen.narrow() {
			for p := range ends[topic] {
				set.Add(topic, p)
			}
		}
	}
	for at := range given.offsets {
		if r.chosen.holds(at.topic, at.partition) {
			set.Add(at.topic, at.partition)
		}
	}
	var out []mark
	for _, t := range set.Sorted() {
		for _, p := range t.Partitions {
			out = append(out, mark{t.Topic, p})
		}
	}
	return out
}

// look fills in what brokers told of the partition.
func (p *position) look(committed kadm.OffsetResponses, starts, ends, timed kadm.ListedOffsets, byTime bool) {
	start, startOK := starts.Lookup(p.topic, p.partition)
	end, endOK := ends.Lookup(p.topic, p.partition)
	at, timedOK := timed.Lookup(p.topic, p.partition)
	o, ok := committed.Lookup(p.topic, p.partition)
	p.err = firstError(o.Err, start.Err, end.Err, at.Err)
	if p.partition < 0 || !startOK || !endOK || byTime && !timedOK || errors.Is(p.err, kerr.UnknownTopicOrPartition) {
		p.err = noPartition(p.topic, p.partition, ends)
	}
	p.start, p.end, p.timed = start.Offset, end.Offset, at.Offset
	if ok && o.Err == nil && o.At >= 0 {
		p.now = &o.Offset
	}
}

// show prints the moves. Failures are those of writing, by partition.
func (r *reset) show(kind string, moves []move, verb string, failures map[mark]error) error {
	list := newListing(kind, column{name: "group"}, column{name: "topic"}, column{name: "partition"}, column{name: "before"},
		column{name: "after"}, column{name: "delta"}, column{name: "lag"}, column{name: "status"}, column{name: "note"})
	changing := 0
	for _, m := range moves {
		status, err := "unchanged", firstError(m.err, failures[m.mark])
		var partition any
		if m.partition >= 0 {
			partition = m.partition
		}
		switch {
		case err != nil:
			status = "failed"
		case m.changes():
			status = verb
			changing++
		}
		list.add(err, slices.Concat([]any{r.group, m.topic, partition}, m.cells(), []any{status, orNil(m.note)})...)
	}
	if !r.execute {
		next := "add --execute to write it"
		if changing == 0 {
			next = "nothing would change"
		}
		r.notef("only shown: %s", next)
	}
	return r.print(list)
}

// write saves what is, then commits what shall be. A partition that cannot be
// moved keeps all others where they are.
func (r *reset) write(ctx context.Context, client *kadm.Client, moves []move) error {
	var changing []move
	for _, m := range moves {
		if m.err != nil {
			r.notef("nothing was written: not all partitions can be moved")
			return r.show("GroupResetResult", moves, "not written", nil)
		}
		if m.changes() {
			changing = append(changing, m)
		}
	}
	if len(changing) == 0 {
		r.notef("nothing to change")
		return r.show("GroupResetResult", moves, "changed", nil)
	}
	name := r.undo
	if name == "" {
		name = undoName(r.group, r.now)
	}
	if err := writeUndo(name, undoOf(r.group, changing, r.now)); err != nil {
		return fmt.Errorf("nothing was written, for there is no undo: %w", err)
	}
	r.notef("to take it back: %s group reset %s --from-file %s --execute%s", r.program(), quoted(r.group), quoted(name), r.where())
	failures, err := r.commit(ctx, client, changing)
	if err != nil {
		return err
	}
	return r.show("GroupResetResult", moves, "changed", failures)
}

// where is the address again, if it was given as a flag.
func (r *reset) where() string {
	if len(r.brokers) == 0 {
		return ""
	}
	return " -b " + quoted(strings.Join(r.brokers, ","))
}

// commit writes the offsets in one request, and in another deletes those that an
// undo finds there were none of.
func (r *reset) commit(ctx context.Context, client *kadm.Client, moves []move) (map[mark]error, error) {
	offsets, none := kadm.Offsets{}, kadm.TopicsSet{}
	for _, m := range moves {
		if m.after == nil {
			none.Add(m.topic, m.partition)
		} else {
			offsets.Add(*m.after)
		}
	}
	failures := map[mark]error{}
	if len(offsets) > 0 {
		written, err := client.CommitOffsets(ctx, r.group, offsets)
		if err != nil {
			return nil, fmt.Errorf("commit offsets of group %s (they may be written): %w", r.group, named(err))
		}
		written.EachError(func(o kadm.OffsetResponse) { failures[mark{o.Topic, o.Partition}] = r.meanwhile(o.Err) })
	}
	deleted, err := client.DeleteOffsets(ctx, r.group, none)
	if err != nil {
		return nil, fmt.Errorf("delete offsets of group %s: %w", r.group, r.meanwhile(err))
	}
	deleted.EachError(func(topic string, p int32, err error) { failures[mark{topic, p}] = r.meanwhile(err) })
	return failures, nil
}

// meanwhile explains the errors of a group that has members after all.
func (r *reset) meanwhile(err error) error {
	for _, joined := range []error{kerr.UnknownMemberID, kerr.NonEmptyGroup, kerr.GroupSubscribedToTopic, kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.StaleMemberEpoch} {
		if errors.Is(err, joined) {
			return fmt.Errorf("a member joined meanwhile: stop it, then reset again: %w", named(err))
		}
	}
	return named(err)
}

// quoted is a word for a shell to read.
func quoted(word string) string {
	if strings.IndexFunc(word, func(r rune) bool {
		return r != '-' && r != '_' && !strings.ContainsRune("./:,", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0 && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
