package cli

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootLong = `weir is event streaming in one binary: a durable broker that speaks the Apache
Kafka protocol, and the commands to work with it or with any other
Kafka-compatible broker.

Exit codes: 0 done, 1 an item failed, 2 wrong usage or configuration,
3 a condition does not hold, 4 not allowed, 5 no broker answered in time,
74 the broker's storage failed, 130 interrupted.`

// root makes the tree of commands. A new command is one line here.
func (a *app) root() *cobra.Command {
	root := a.group("weir", "Event streaming in one binary", rootLong,
		a.demoCommand(),
		a.serveCommand(),
		a.topicCommand(),
		a.produceCommand(),
		a.consumeCommand(),
		a.groupCommand(),
		a.txnCommand(),
		a.backupCommand(),
		a.restoreCommand(),
		a.fsckCommand(),
		a.versionCommand(),
	)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.Version = version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		if f := cmd.Flags().Lookup("output"); f != nil {
			a.output = f.Value.String() // one flag per command, with a default of its own
		}
	}
	root.SetFlagErrorFunc(flagError)
	return root
}

// group makes a command that only holds others. Called without one of them it
// shows what there is, and that is a mistake of usage: a script that lost its
// subcommand must not go on as if it had done something.
func (a *app) group(use, short, long string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				cmd.SetOut(a.Stderr)
				if err := cmd.Help(); err != nil {
					return err
				}
				return &exitError{code: ExitUsage}
			}
			return noCommand(cmd, args[0])
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.AddCommand(children...)
	return cmd
}

// noCommand says what there is instead of the command that was called.
func noCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	var have []string
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() {
			have = append(have, child.Name())
		}
	}
	return usagef("%s has no command %q%s (there are %s)", cmd.CommandPath(), name, hint, strings.Join(have, ", "))
}

// flagError tells of a flag that is unknown or has a wrong value. After a
// command that does not exist its flags are unknown, too, and not the mistake.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		return noCommand(cmd, cmd.Flags().Arg(0))
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return usagef("%w", err)
	}
	flag := invalid.GetFlag()
	name := "--" + flag.Name
	if flag.Shorthand != "" {
		name = "-" + flag.Shorthand
	}
	if want := valuesOf(flag.Value.Type()); want != "" {
		return usagef("%s %s: invalid argument: want %s", name, invalid.GetValue(), want)
	}
	return usagef("%w", err)
}

// valuesOf says what a flag of a type takes.
func valuesOf(kind string) string {
	switch kind {
	case "int32":
		return fmt.Sprintf("a whole number, -1 to %d", math.MaxInt32)
	case "int32Slice":
		return fmt.Sprintf("whole numbers, 0 to %d, divided by commas", math.MaxInt32)
	case "int64":
		return fmt.Sprintf("a whole number, 0 to %d", math.MaxInt64)
	case "duration":
		return "a time with its unit, such as 500ms, 5s or 2m"
	case "bool":
		return "true or false"
	}
	return ""
}

// positional turns what cobra says of the number of arguments into an error of
// usage that names what was expected.
func positional(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s needs %s", cmd.CommandPath(), what)
		case most >= 0 && len(args) > most:
			return usagef("%s takes %s, and got %d arguments too many: %s",
				cmd.CommandPath(), what, len(args)-most, strings.Join(args[most:], " "))
		}
		return nil
	}
}

// clientFlags are those of every command that talks to a broker.
func (a *app) clientFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringSliceVarP(&a.brokers, "brokers", "b", nil,
		"address of a broker, host:port; several with commas (default $WEIR_BROKERS, else localhost:9092)")
	cmd.Flags().DurationVar(&a.timeout, "timeout", 5*time.Second, "how long to wait for a broker's answer")
	return cmd
}

// outputFlag is that of every command that lists something.
func (a *app) outputFlag(cmd *cobra.Command, def string) *cobra.Command {
	cmd.Flags().StringP("output", "O", def, "format: "+strings.Join(outputs, ", "))
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// must is for registrations that fail only when the flag's name is misspelt.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
