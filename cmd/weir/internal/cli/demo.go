package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/demo"
)

// How long the day takes: long enough to be watched, or as short as a reader of
// lines would like it.
const (
	demoPaceWatched = 8 * time.Second
	demoPacePlain   = 2 * time.Second
)

// demoOptions is how the demonstration runs.
type demoOptions struct {
	data string // "": a temporary directory
	keep bool
	stay string        // where a broker that is kept listens, if the address is free
	pace time.Duration // 0: as it fits the output
}

func (a *app) demoCommand() *cobra.Command {
	o := demoOptions{stay: defaultBroker}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a broker and three applications work through a real day of a shop",
		Long: `Start a broker in this process and send it one real day of a shop: 3,108 invoice
lines of 1 December 2010. Three applications, each a consumer group, read them all:
stock (what must be reordered), fraud (suspicious returns and customers), and
recommendations (what is bought together). Midway one of the two members of stock is
stopped, and its partitions move to the other. Lines that are broken for an application
end in a dead-letter topic. At the end every number the applications found is checked
against the file.

On a terminal the view is live; elsewhere there are plain lines. NO_COLOR is respected.

Exit codes: 0 all numbers agree; 1 one does not, or the data directory was used before;
74 the storage failed; 130 interrupted.`,
		Example: `  weir demo
  weir demo --keep`,
		Args:              positional(0, 0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.data, "data", "", "data directory, kept afterwards (default a temporary one, removed at the end)")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "leave the broker running afterwards, until Ctrl-C, and keep its data")
	must(cmd.MarkFlagDirname("data"))
	return cmd
}

// demo runs the day upon an embedded broker of its own.
func (a *app) demo(ctx context.Context, o demoOptions) (err error) {
	listeners, address, err := demoListeners(ctx, o)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	dir := o.data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
			return fmt.Errorf("make a temporary data directory: %w; name another with --data", err)
		}
		if !o.keep {
			defer func() {
				if gone := os.RemoveAll(dir); gone != nil && err == nil {
					err = fmt.Errorf("remove the temporary data directory: %w", gone)
				}
			}()
		}
	}
	if err := checkForeign(dir); err != nil {
		return err
	}
	// The broker's log would run through the picture; what ends the run is told.
	b, err := a.open(ctx, serveOptions{Data: dir, Durability: "sync"}, slog.New(slog.DiscardHandler))
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return explainOpen(dir, err)
	}
	return stop(b, a.demoUpon(ctx, b, listeners, demoStage{demoOptions: o, dir: dir, address: address}))
}

// demoListeners opens the broker's usual address, if it is to stay and the
// address is free, or else any free port. It returns what clients dial.
func demoListeners(ctx context.Context, o demoOptions) ([]net.Listener, string, error) {
	if o.keep {
		if usual, err := listenAll(ctx, []string{o.stay}, "--listen"); err == nil {
			host, _, hostErr := net.SplitHostPort(o.stay)
			_, port, portErr := net.SplitHostPort(usual[0].Addr().String())
			return usual, net.JoinHostPort(host, port), errors.Join(hostErr, portErr)
		}
	}
	l, err := listen(ctx, "127.0.0.1:0", "--listen")
	if err != nil {
		return nil, "", err
	}
	return []net.Listener{l}, l.Addr().String(), nil
}

// demoStage is where one demonstration runs.
type demoStage struct {
	demoOptions
	dir, address string
}

// demoUpon plays the day while it watches the broker.
func (a *app) demoUpon(ctx context.Context, b embedded, listeners []net.Listener, stage demoStage) error {
	watched, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	stopped := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { stopped <- b.Serve(l) }()
	}
	watcher := make(chan struct{})
	go func() {
		defer close(watcher)
		if err := wait(watched, b, b.Failed(), stopped); err != nil {
			giveUp(err)
		}
	}()
	err := a.playDemo(watched, stage)
	giveUp(nil)
	<-watcher
	return err
}

// playDemo says what is going to be seen, shows it, and waits if it is to stay.
func (a *app) playDemo(ctx context.Context, stage demoStage) error {
	stays := "removed at the end"
	if stage.keep || stage.data != "" {
		stays = "kept"
	}
	if _, err := fmt.Fprintf(a.Stdout, "A real day of a shop, 1 December 2010, goes through a broker to three applications.\nThe broker runs in this process, on %s.\nIts data are in %s (%s).\n\n", stage.address, stage.dir, stays); err != nil {
		return err
	}
	cfg := demo.Config{Brokers: []string{stage.address}, Out: a.Stdout, Terminal: a.demoTerminal(), Pace: stage.pace}
	if cfg.Pace == 0 && cfg.Terminal != nil {
		cfg.Pace = demoPaceWatched
	} else if cfg.Pace == 0 {
		cfg.Pace = demoPacePlain
	}
	err := demoResult(demo.Run(ctx, cfg), stage.dir)
	if !stage.keep || (err != nil && !errors.Is(err, demo.ErrWrong)) {
		return err
	}
	return errors.Join(err, a.keepDemo(ctx, stage))
}

// demoResult gives an error its exit code. What the clients say of the embedded
// broker is a failure of the demonstration, not an unreachable broker.
func demoResult(err error, dir string) error {
	var exit *exitError
	switch {
	case err == nil, errors.As(err, &exit), errors.Is(err, context.Canceled), errors.Is(err, errReaderGone):
		return err
	case errors.Is(err, demo.ErrUsed):
		err = fmt.Errorf("data directory %s: %w; remove the directory, or name another with --data", dir, err)
	}
	return &exitError{ExitFailed, err}
}

// keepDemo leaves the broker to whoever wants to look around.
func (a *app) keepDemo(ctx context.Context, stage demoStage) error {
	program := a.program()
	_, err := fmt.Fprintf(a.Stdout, `
The broker goes on at %[2]s until Ctrl-C. Try, in another terminal:

  %[1]s topic list -b %[2]s
  %[1]s consume %[3]s -b %[2]s -o start -e
  %[1]s group describe stock -b %[2]s

`, program, stage.address, "orders.dlq")
	if err != nil {
		return err
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	a.notef("stopped; the data stay in %[1]s, and '%[2]s serve --data %[1]s' serves them again", stage.dir, program)
	return nil
}

// demoTerminal is nil unless standard output is a terminal that can move its cursor.
func (a *app) demoTerminal() *demo.Terminal {
	if !a.StdoutTTY || a.Getenv("TERM") == "dumb" {
		return nil
	}
	size := a.StdoutSize
	if size == nil {
		size = func() (int, int) { return 80, 24 }
	}
	return &demo.Terminal{Color: a.Getenv("NO_COLOR") == "", Size: size}
}
