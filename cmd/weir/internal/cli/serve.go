package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/storage"
)

// stopLimit is how long serve takes to stop: what waits is answered or closed by then.
const stopLimit = 1800 * time.Millisecond

// embedded is what serve needs of a broker. A test puts one in that fails.
type embedded interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Failed() <-chan struct{}
	Err() error
	Handler() http.Handler
}

func (a *app) serveCommand() *cobra.Command {
	var flags serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker in the foreground",
		Long: `Run the broker in the foreground until SIGTERM or Ctrl-C; then it refuses new work,
answers what is durable, and exits with 0 within two seconds.

One line on standard output says where it listens once it does. A configuration
file holds the same keys as the flags (data, listen, durability, on-storage-error,
admin, insecure, log-level, and config with the settings); flags win over it.

When a write or a sync fails, nothing more is accepted, and the process exits with
74; with --on-storage-error readonly it stays and serves what is durable, answers
writes with KAFKA_STORAGE_ERROR, and /readyz with 503. A full disk is no failure:
writes are refused until there is space.

Exit codes: 0 stopped; 1 it could not start: the address is taken, the data
directory is in use, cannot be written, or was written by a newer version;
2 a flag, a setting or the configuration file is wrong; 74 the storage failed,
or what is stored is damaged.`,
		Example: `  weir serve
  weir serve --data /var/lib/weir --listen localhost:9092 --admin localhost:9644
  weir serve --config auto.create.topics.enable=false --config num.partitions=6`,
		Args:              positional(0, 0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.options(cmd.Flags())
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), options)
		},
	}
	flags.register(cmd)
	return cmd
}

// serve opens the listeners and the broker and runs until ctx ends or the
// storage fails.
func (a *app) serve(ctx context.Context, o serveOptions) error {
	logger := slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: o.LogLevel}))
	// Ports before data: a port that is taken leaves no directory behind.
	listeners, err := listenAll(ctx, o.Listen, "--listen")
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	var admin []net.Listener
	if o.Admin != "" {
		if admin, err = listenAll(ctx, []string{o.Admin}, "--admin"); err != nil {
			return err
		}
		defer closeAll(admin)
	}
	if err := checkForeign(o.Data); err != nil {
		return err
	}
	b, err := a.open(ctx, o, logger)
	if err != nil {
		return explainOpen(o.Data, err)
	}
	if o.Insecure {
		logger.Warn("anyone who reaches the listeners may read and write everything: there is no TLS and no authentication on them", "listen", strings.Join(o.Listen, ","))
	}
	stopped := make(chan error, len(listeners)+len(admin))
	for _, l := range listeners {
		go func() { stopped <- b.Serve(l) }()
	}
	stopAdmin := serveAdmin(admin, b.Handler(), stopped)
	err = a.announce(o, listeners, admin)
	if err == nil {
		failed := b.Failed()
		if o.OnFailure == "readonly" {
			failed = nil // the broker logs it, and serves what is durable
		}
		err = wait(ctx, b, failed, stopped)
	}
	stopAdmin()
	return a.full(b, stop(b, err))
}

// wait returns nil when the broker is asked to stop, or why it must.
func wait(ctx context.Context, b embedded, failed <-chan struct{}, stopped <-chan error) error {
	select {
	case <-ctx.Done():
		return nil
	case <-failed:
		return &exitError{ExitStorage, fmt.Errorf("storage failed, nothing more is accepted: %w; a restart recovers everything that was acknowledged", b.Err())}
	case err := <-stopped:
		// A listener that stops at a storage failure is not the cause.
		select {
		case <-failed:
			return wait(ctx, b, failed, nil)
		default:
		}
		if err == nil {
			err = errors.New("closed")
		}
		return &exitError{ExitFailed, fmt.Errorf("a listener stopped: %w", err)}
	}
}

// stop shuts the broker down, whatever ended it; the first reason counts.
func stop(b embedded, reason error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	err := b.Shutdown(ctx)
	switch {
	case reason != nil:
		return reason
	case err != nil && b.Err() != nil:
		return &exitError{ExitStorage, fmt.Errorf("storage failed while stopping: %w", err)}
	case err != nil:
		return &exitError{ExitFailed, fmt.Errorf("stop: %w", err)}
	}
	return nil
}

// full turns a disk too full for the last checkpoint into a warning. Nothing is
// lost: what the checkpoint would have held is in the journal, and is read from
// there at the next start.
func (a *app) full(b embedded, err error) error {
	var exit *exitError
	if err == nil || b.Err() != nil || !errors.As(err, &exit) || exit.code != ExitFailed || !onlyFull(exit.err) {
		return err
	}
	a.notef("%v; nothing is lost: the journal holds what the checkpoint would have, and the next start takes longer", exit.err)
	return nil
}

// onlyFull tells whether every cause of the error is a full disk.
func onlyFull(err error) bool {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !onlyFull(err) })
	case interface{ Unwrap() error }:
		return onlyFull(e.Unwrap())
	}
	return err == syscall.ENOSPC || err == storage.ErrNoSpace
}

// serveAdmin runs the admin listeners, if there are any, until the function it
// returns is called.
func serveAdmin(listeners []net.Listener, handler http.Handler, stopped chan<- error) (stop func()) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	var running sync.WaitGroup
	for _, l := range listeners {
		running.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				stopped <- fmt.Errorf("admin: %w", err)
			}
		})
	}
	return func() {
		_ = server.Close() // a listener that stopped by itself is told already
		running.Wait()
	}
}

// announce prints the one line that says that the broker is up.
func (a *app) announce(o serveOptions, listeners, admin []net.Listener) error {
	var at []string
	for _, l := range listeners {
		at = append(at, l.Addr().String())
	}
	line := fmt.Sprintf("weir %s listening on %s, data in %s, durability %s (%s)",
		version(), strings.Join(at, " "), o.Data, o.Durability, durabilities[o.Durability])
	if len(admin) > 0 {
		at := admin[0].Addr().String()
		if host, _, _ := net.SplitHostPort(o.Admin); host == "localhost" { // all its families
			_, port, _ := net.SplitHostPort(at)
			at = net.JoinHostPort(host, port)
		}
		line += ", admin on http://" + at
	}
	_, err := fmt.Fprintln(a.Stdout, line)
	return err
}
