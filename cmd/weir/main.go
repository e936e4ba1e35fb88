// Command weir is a durable broker that speaks the Apache Kafka protocol, and
// the command line to work with it. See package internal/cli for the commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/weirstream/weir/cmd/weir/internal/cli"
)

const graceTwice = time.Second

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once. One that comes within graceTwice
	// is the same wish said twice, as timeout(1) does to a group and its child.
	context.AfterFunc(ctx, func() { time.AfterFunc(graceTwice, stop) })
	// A write to a pipe that nobody reads must fail like any other write, so
	// that a command can still commit and say goodbye.
	signal.Ignore(syscall.SIGPIPE)
	return cli.Main(ctx, cli.Env{
		Args:       os.Args[1:],
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Getenv:     os.Getenv,
		StdinTTY:   term.IsTerminal(int(os.Stdin.Fd())),
		StdoutTTY:  term.IsTerminal(int(os.Stdout.Fd())),
		StderrTTY:  term.IsTerminal(int(os.Stderr.Fd())),
		StdoutSize: stdoutSize,
		Program:    program(os.Args[0]),
		ReaderGone: readerGone,
	})
}
