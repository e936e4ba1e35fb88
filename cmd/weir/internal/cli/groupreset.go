package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
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
