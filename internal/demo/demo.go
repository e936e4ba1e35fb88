package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/internal/demo/shop"
)

// Config says where a day runs and who looks on.
type Config struct {
	// Brokers are the addresses of a cluster that has none of the demonstration's
	// topics yet.
	Brokers []string
	// Client holds further options for all clients, such as a dialer.
	Client []kgo.Opt
	// Out receives what there is to read.
	Out io.Writer
	// Terminal, if Out is one, makes the view live. Nil: plain lines.
	Terminal *Terminal
	// Pace is how long the day takes, from its first line to its last.
	Pace time.Duration
}

// ErrWrong is returned by Run if a number does not agree with the file.
var ErrWrong = errors.New("what the applications found is not what the file says")

const (
	tick      = 20 * time.Millisecond
	redraw    = 5                // ticks; at most 10 times a second
	patience  = 15 * time.Second // without any progress
	finishing = 15 * time.Second // to read back and ask for offsets

	// A broker in this process answers at once or is in trouble: clients do not
	// repeat requests for long, nor wait long before they do.
	requestPatience = 5 * time.Second
	requestPause    = 250 * time.Millisecond
)

func (c Config) clientOpts(name string) []kgo.Opt {
	return append([]kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID(name), kgo.RetryTimeout(requestPatience), kgo.MetadataMinAge(requestPause)}, c.Client...)
}

// run is one day on the stage.
type run struct {
	cfg     Config
	lines   []shop.Line
	apps    *applications
	members []*member // the two of stock first
	client  *kgo.Client
	admin   *kadm.Client
	reader  *reader
	out     *output
	screen  screen
	failed  chan error // capacity 1: the first reason to give up

	begun   time.Time // of the run
	opening time.Time // of the day: the first line is due
	fed     int       // lines given to the producer
	acked   atomic.Int64
	phase   phase
	stopAt  time.Time // when a member was told to stop
	moving  []int32   // the partitions it had
	events  []string

	progress   int // a number that grows with everything that happens
	progressed time.Time
}

// phase is what the run waits for.
type phase int

const (
	joining phase = iota // members get their partitions
	morning              // the first half of the day
	handing              // a member has been stopped, its partitions move
	closing              // the rest of the day
)

// Run plays the day and reports on cfg.Out. It returns nil if all numbers agree,
// ErrWrong if one does not, ErrUsed on a broker that was used before, or what
// went wrong; the context's cause if it ended first.
func Run(ctx context.Context, cfg Config) error {
	lines, err := shop.Day()
	if err != nil {
		return fmt.Errorf("read the day's lines: %w", err)
	}
	out := &output{w: cfg.Out}
	r := &run{
		cfg: cfg, lines: lines, apps: newApplications(), out: out, screen: newScreen(out, cfg.Terminal, len(lines)),
		failed: make(chan error, 1), begun: time.Now(), progressed: time.Now(),
	}
	defer r.screen.close()
	found, read, err := r.play(ctx)
	if err != nil {
		return err
	}
	r.screen.close()
	rows := compare(found, expected(lines))
	report(out, findings(r.apps, found), read, rows, cfg.Terminal)
	if out.err == nil && wrong(rows) > 0 {
		return ErrWrong
	}
	return out.err
}

// play runs everything between the first topic and the last member's farewell.
func (r *run) play(ctx context.Context) (answers, reports, error) {
	client, err := kgo.NewClient(append(r.cfg.clientOpts("shop"),
		kgo.ProducerLinger(0), kgo.RecordRetries(2), kgo.AllowIdempotentProduceCancellation())...)
	if err != nil {
		return answers{}, reports{}, err
	}
	defer client.Close()
	r.client, r.admin = client, kadm.NewClient(client)
	if err := createTopics(ctx, r.admin); err != nil {
		return answers{}, reports{}, orCause(ctx, err)
	}
	r.say("topic %s is created, with %d partitions; applications report to %s, %s and %s",
		orders.Name, partitions, stockAlerts.Name, fraudAlerts.Name, deadLetterTopic)
	if r.reader, err = startReader(r.cfg); err != nil {
		return answers{}, reports{}, err
	}
	defer r.reader.close()
	if err := r.startMembers(); err != nil {
		return answers{}, reports{}, err
	}
	if err = r.loop(ctx); err != nil {
		r.giveUp(err)
	}
	if stopErr := stopAll(r.members); err == nil {
		err = stopErr
	}
	if err != nil {
		return answers{}, reports{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, finishing)
	defer cancel()
	return r.collect(ctx)
}

// orCause prefers the reason why everything was given up.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *run) startMembers() error {
	for _, m := range []struct{ group, name string }{
		{stockGroup, "stock-1"}, {stockGroup, "stock-2"}, {fraudGroup, "fraud-1"}, {recommendGroup, "recommendations-1"},
	} {
		started, err := newMember(r.cfg, m.group, m.name, r.apps.handler(m.group))
		if err != nil {
			return errors.Join(err, stopAll(r.members))
		}
		started.start(r.fail)
		r.members = append(r.members, started)
	}
	return nil
}

// fail gives the run a reason to end; the first one counts.
func (r *run) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

// loop ends when the day's work is done, or cannot be.
func (r *run) loop(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-r.failed:
			return err
		case now := <-ticker.C:
			v := r.look(now)
			done := r.step(now, v)
			if n%redraw == 0 || done {
				r.show(v)
			}
			if done || r.out.err != nil {
				return r.out.err
			}
			if now.Sub(r.progressed) > patience {
				return fmt.Errorf("nothing has moved for %v (%d of %d lines acknowledged): the broker answers no more, or its disk is full", patience, v.in, len(r.lines))
			}
		}
	}
}

// giveUp says so before the applications are stopped: upon a broker that answers
// no more their farewell takes a while.
func (r *run) giveUp(err error) {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	r.say("stopping the applications: %v", err)
	r.show(r.look(time.Now()))
}

// show draws a view and what has happened until now.
func (r *run) show(v view) {
	v.events = r.events
	r.screen.show(v)
}

// collect gathers the answers from the states, the committed offsets and the
// topics that were written.
func (r *run) collect(ctx context.Context) (answers, reports, error) {
	read, err := r.reader.awaitEnd(ctx, r.admin)
	if err != nil {
		return answers{}, reports{}, err
	}
	ends, err := r.admin.ListEndOffsets(ctx, orders.Name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return answers{}, reports{}, fmt.Errorf("ask how many records %s holds: %w", orders.Name, err)
	}
	a := found(r.apps, read)
	ends.Each(func(o kadm.ListedOffset) { a.totals.Lines += int(o.Offset) })
	for _, group := range groups() {
		offsets, err := r.admin.FetchOffsets(ctx, group)
		if err != nil {
			return answers{}, reports{}, fmt.Errorf("ask for the offsets of group %s: %w", group, err)
		}
		offsets.Each(func(o kadm.OffsetResponse) { a.committed[group] += int(o.At) })
	}
	return a, read, nil
}
