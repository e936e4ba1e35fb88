// Command kbench measures any Kafka-compatible broker at host:port.
//
// One run measures one target (-a), or two targets (-a and -b) whose runs are
// interleaved A B B A ..., so that a ratio of medians can be stated on a noisy
// machine. Every run is bounded in time (-time) and in bytes (-max-bytes).
//
//	kbench produce -a 127.0.0.1:9092 -b 127.0.0.1:9192 -size 1024 -runs 5
//	kbench limits
//
// Run "kbench help" for the list of commands.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"sort"
	"strings"
	"syscall"
	"time"
)

// A job is one benchmark: run measures once; prepare and cleanup surround all
// runs against one target and may be nil.
type job struct {
	prepare func(context.Context, *Target) error
	run     func(context.Context, *Target) (Metrics, error)
	cleanup func(context.Context, *Target) error
}

// A command registers its flags and returns the job; flags are parsed between
// registration and the job's first call.
type command struct {
	help  string
	setup func(fs *flag.FlagSet, o *Options) job
}

var commands = map[string]command{
	"produce":     {"max-rate or fixed-rate produce with a full client", setupProduce},
	"consume":     {"catch-up read from the start with a full client", setupConsume},
	"e2e":         {"produce-to-consume latency at a fixed rate", setupE2E},
	"many":        {"many partitions and many connections", setupMany},
	"group":       {"consumer group: join, leave, crash; time to stable and to resume", setupGroup},
	"groups":      {"many groups that send heartbeats and commits: the coordinator's CPU", setupGroups},
	"txn":         {"transactions per second and read_committed visibility", setupTxn},
	"relay":       {"consume, copy, produce, commit: the loop a stream library wraps", setupRelay},
	"startup":     {"start a server command; time to first produce, RSS, restart", setupStartup},
	"raw-produce": {"pre-encoded produce requests over plain connections", setupRawProduce},
	"raw-fetch":   {"fetch requests whose bytes are discarded", setupRawFetch},
	"limits":      {"physical limits of this machine (no target)", setupLimits},
}

func main() {
	if len(os.Args) < 2 || os.Args[1] == "help" || strings.HasPrefix(os.Args[1], "-") {
		usage()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	name, args := os.Args[1], os.Args[2:]
	if name == "floor" {
		exitOn(runFloor(ctx, args))
		return
	}
	cmd, ok := commands[name]
	if !ok {
		usage()
	}
	fs := flag.NewFlagSet(name, flag.ExitOnError)
	var o Options
	o.register(fs)
	j := cmd.setup(fs, &o)
	_ = fs.Parse(args)
	exitOn(o.check(name, fs))
	exitOn(runAll(ctx, name, &o, j))
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: kbench COMMAND [flags]   (kbench COMMAND -h lists flags)")
	names := make([]string, 0, len(commands))
	for n := range commands {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		fmt.Fprintf(os.Stderr, "  %-13s %s\n", n, commands[n].help)
	}
	fmt.Fprintf(os.Stderr, "  %-13s %s\n", "floor", "serve a minimal produce/fetch-only broker: the floor any broker can be compared with")
	os.Exit(2)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "kbench:", err)
		os.Exit(1)
	}
}

// runAll performs the interleaved runs and reports them.
func runAll(ctx context.Context, name string, o *Options, j job) error {
	targets := o.targets(name)
	rep := newReport(name, o)
	for _, t := range targets {
		if j.prepare != nil {
			if err := j.prepare(ctx, t); err != nil {
				return fmt.Errorf("%s: prepare: %w", t.Label, err)
			}
		}
		if j.cleanup != nil {
			defer func() {
				cctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				if err := j.cleanup(cctx, t); err != nil {
					fmt.Fprintf(os.Stderr, "kbench: %s: cleanup: %v\n", t.Label, err)
				}
			}()
		}
	}
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for i := -o.Discard; i < o.Runs; i++ {
		order := targets
		if len(targets) == 2 && i&1 == 1 { // A B, B A, A B, ...
			order = []*Target{targets[1], targets[0]}
		}
		for _, t := range order {
			if o.Pause > 0 && (i > -o.Discard || t != order[0]) {
				time.Sleep(o.Pause)
			}
			m, err := quietRun(ctx, o, j, t)
			if err != nil {
				return fmt.Errorf("%s: run %d: %w", t.Label, i, err)
			}
			if i >= 0 {
				rep.add(t, i, m)
			}
		}
	}
	return rep.finish()
}

// quietRun runs once or, with -quiet, again while other processes disturb.
func quietRun(ctx context.Context, o *Options, j job, t *Target) (m Metrics, err error) {
	for try := 0; ; try++ {
		if o.Quiet > 0 {
			awaitQuiet(o.Quiet, o.QuietWait)
		}
		warmMemory(int(o.Warm))
		rctx, cancel := context.WithTimeout(ctx, o.Deadline)
		m, err = j.run(rctx, t)
		cancel()
		if err != nil || o.Quiet == 0 || try == o.Redo || m.get("other_cpu") < o.Quiet {
			return m, err
		}
		fmt.Fprintf(os.Stderr, "# %s: others used %.2f cores, again\n", t.Label, m.get("other_cpu"))
	}
}
