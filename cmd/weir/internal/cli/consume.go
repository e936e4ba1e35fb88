package cli

import (
	"bufio"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeFlags struct {
	group         string
	offset        string
	format        string
	number        int64
	exitAtEnd     bool
	readCommitted bool
	partitions    []int32
}

func (a *app) consumeCommand() *cobra.Command {
	var c consumeFlags
	cmd := &cobra.Command{
		Use: "consume TOPIC...", Aliases: []string{"tail"},
		Short: "Print records, and go on printing those to come",
		Long: `Print the records of topics, and go on with those to come until interrupted.

With -g it is a member of a consumer group: it begins where the group stands,
shares the partitions with the other members, and commits what it has printed
before it exits. Without, it begins at the start and leaves no trace.
As 'weir tail' it begins at the end.`,
		Example: `  weir consume orders -o -10 -e                    # the last ten of each partition
  weir consume orders -o @-1h:@now -O json         # the last hour, one JSON object per line
  weir consume orders -g billing -n 100            # the next hundred of a group
  weir consume orders -f '%T %p %o %k\t%s\n'`,
		Args: positional(1, -1, "the names of topics"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.offset == "" && cmd.CalledAs() == "tail" {
				c.offset = "end"
			}
			run, err := a.newConsumption(c, args)
			if err != nil {
				return err
			}
			return run.do(cmd.Context())
		},
		ValidArgsFunction: a.completeTopics(-1),
	}
	f := cmd.Flags()
	f.StringVarP(&c.group, "group", "g", "", "consume as a member of this group")
	f.StringVarP(&c.offset, "offset", "o", "", offsetHelp+"; with -g only where the group has not committed (default start)")
	f.StringVarP(&c.format, "format", "f", `%v\n`, formatHelp)
	f.Int64VarP(&c.number, "number", "n", 0, "stop after so many records (0: no limit)")
	f.BoolVarP(&c.exitAtEnd, "exit-at-end", "e", false, "stop at what is the end when it starts")
	f.BoolVar(&c.readCommitted, "read-committed", false, "leave out records of transactions that are open or aborted")
	f.Int32SliceVarP(&c.partitions, "partitions", "p", nil, "only these partitions")
	f.StringP("output", "O", "", "json: one JSON object per line, with apiVersion and kind Record, instead of -f")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("group", a.completeGroups(-1)))
	return a.clientFlags(cmd)
}

// consumption is one run of consume.
type consumption struct {
	*app
	consumeFlags
	topics []string
	span   span
	render func([]byte, *kgo.Record) []byte
	out    *bufio.Writer

	client  *kgo.Client
	printed int64
	left    marks // what is still to be read of each partition, when there is an end
	group   *membership
	refused time.Time // since when the coordinator has answered errors; zero: it has not
}

func (a *app) newConsumption(c consumeFlags, topics []string) (*consumption, error) {
	run := &consumption{app: a, consumeFlags: c, topics: topics, out: bufio.NewWriterSize(a.Stdout, 64<<10)}
	offset := c.offset
	if offset == "" {
		offset = "start"
	}
	var err error
	if run.span, err = parseSpan(offset, a.Now()); err != nil {
		return nil, usagef("-o %w", err)
	}
	switch {
	case c.group != "" && run.span.to.kind != unbounded:
		return nil, usagef("-g and a range of offsets (-o %s) exclude each other: a group goes on where it stands; use -n or -e to stop", c.offset)
	case c.group != "" && run.span.from.kind == atOffset:
		return nil, usagef("-g and -o %s exclude each other: -o is for every partition without a committed offset; use start, end, +N, -N or @TIME", c.offset)
	case c.group != "" && len(c.partitions) > 0:
		return nil, usagef("-g and -p exclude each other: the group assigns the partitions")
	case c.number < 0:
		return nil, usagef("-n %d: want 0 or more", c.number)
	}
	switch a.output {
	case "":
		formatter, err := newFormatter(c.format)
		if err != nil {
			return nil, err
		}
		run.render = formatter.AppendRecord
	case "json":
		run.render = appendJSON
	default:
		return nil, usagef("-O %s: records are printed as -f says, or with -O json", a.output)
	}
	return run, nil
}
