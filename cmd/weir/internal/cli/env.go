package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"
)

// Env is everything a command takes from the process that runs it.
type Env struct {
	Args   []string // without the name of the program
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string // optional: no variable is set

	// Whether the standard streams are terminals. A question is asked only when
	// somebody sees it, on standard error, and can answer it, on standard input.
	StdinTTY, StdoutTTY, StderrTTY bool
	StdoutSize                     func() (columns, rows int) // optional: 80 and 24; asked only of a terminal

	// ReaderGone returns true once nobody reads standard output, and false when
	// the context ends first or it cannot be told. Optional.
	ReaderGone func(context.Context) bool

	Program string // how the user calls the program, for commands to copy; "": weir

	Now  func() time.Time                                                  // optional: time.Now
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // optional: TCP; how clients reach brokers
}

// Main runs one command and returns its exit code. Cancelling ctx interrupts
// it: it finishes what it must (consume commits, serve shuts down) and returns.
func Main(ctx context.Context, env Env) int {
	if env.Getenv == nil {
		env.Getenv = func(string) string { return "" }
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	env.Stdout = output{env.Stdout}
	a := &app{Env: env, open: openBroker}
	root := a.root()
	root.SetArgs(append([]string{}, env.Args...)) // never nil: cobra would read os.Args
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	code := exitCode(err)
	a.explain(cmd, err, code)
	return code
}

// explain says on standard error why a command failed.
func (a *app) explain(cmd *cobra.Command, err error, code int) {
	var exit *exitError
	if code == ExitOK || (errors.As(err, &exit) && exit.err == nil) {
		return
	}
	if code == ExitInterrupted {
		err = errors.New("interrupted")
	}
	a.notef("%v", err)
	if code == ExitUsage && cmd != nil {
		fmt.Fprintf(a.Stderr, "See '%s --help'.\n", cmd.CommandPath())
	}
}

// app is one run of the command line: its environment and the flags that all
// commands share.
type app struct {
	Env
	brokers []string
	timeout time.Duration
	output  string
	open    func(context.Context, serveOptions, *slog.Logger) (embedded, error)
}

// program is how the user calls it.
func (a *app) program() string { return cmp.Or(a.Program, "weir") }

// notef tells a person something, on standard error.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintf(a.Stderr, "weir: "+format+"\n", args...)
}
