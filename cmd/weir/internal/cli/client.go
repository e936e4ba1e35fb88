package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	defaultBroker = "localhost:9092"

	// What the client accepts as the time that a request may take.
	minTimeout, maxTimeout = 100 * time.Millisecond, 15 * time.Minute
)

// seeds are the brokers to ask first: flag, else variable, else the local one.
func (a *app) seeds() []string {
	seeds := a.brokers
	if len(seeds) == 0 {
		seeds = strings.FieldsFunc(a.Getenv("WEIR_BROKERS"), func(r rune) bool { return r == ',' || r == ' ' })
	}
	if len(seeds) == 0 {
		seeds = []string{defaultBroker}
	}
	for i, s := range seeds {
		if _, _, err := net.SplitHostPort(s); err != nil && !strings.Contains(s, ":") {
			seeds[i] = net.JoinHostPort(s, "9092")
		}
	}
	return seeds
}

// connect makes a client and asks a broker for a first answer, so that an
// address that is wrong is told in a sentence and not by a long silence. The
// caller closes the client.
func (a *app) connect(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	seeds := a.seeds()
	if a.timeout < minTimeout || a.timeout > maxTimeout {
		return nil, usagef("--timeout %v: want %v to %v", a.timeout, minTimeout, maxTimeout)
	}
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("weir"),
		kgo.DialTimeout(a.timeout),
		kgo.RequestTimeoutOverhead(a.timeout),
		kgo.RetryTimeout(a.timeout),
	}, opts...)
	if a.Dial != nil {
		opts = append(opts, kgo.Dialer(a.Dial))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, usagef("brokers %s: %w", strings.Join(seeds, ","), err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		if errors.Is(err, context.Canceled) || isAuth(err) {
			return nil, err
		}
		return nil, unreachable(seeds, err)
	}
	return client, nil
}

// unreachable is the sentence for an address that does not answer.
func unreachable(seeds []string, err error) error {
	next := "name one that runs with -b HOST:PORT or WEIR_BROKERS"
	if len(seeds) == 1 && seeds[0] == defaultBroker {
		next = "start one with 'weir serve', or " + next
	}
	return &exitError{ExitUnreachable, fmt.Errorf("no Kafka broker answers at %s (%w); %s", strings.Join(seeds, ","), err, next)}
}

// admin connects for a command that asks a few questions. The context it
// returns ends when they have taken too long; done releases all.
func (a *app) admin(cmd *cobra.Command) (ctx context.Context, client *kadm.Client, done func(), err error) {
	cl, err := a.connect(cmd.Context())
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*a.timeout)
	client = kadm.NewClient(cl)
	client.SetTimeoutMillis(int32(min(a.timeout.Milliseconds(), 1<<30)))
	return ctx, client, func() { cancel(); cl.Close() }, nil
}

// asking is what a command runs that asks a few questions and shows the answers: it
// refuses an unknown format first, then connects as admin does.
func (a *app) asking(run func(ctx context.Context, client *kadm.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := a.checkOutput(); err != nil {
			return err
		}
		ctx, client, done, err := a.admin(cmd)
		if err != nil {
			return err
		}
		defer done()
		return run(ctx, client, args)
	}
}

// lookup finds topics by name and never creates one. Those it does not find
// are in the result with their error.
func lookup(ctx context.Context, client *kadm.Client, names ...string) (kadm.TopicDetails, error) {
	topics, err := client.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("ask for topics: %w", err)
	}
	for _, name := range names {
		t, ok := topics[name]
		if !ok {
			t = kadm.TopicDetail{Topic: name, Err: kerr.UnknownTopicOrPartition}
		}
		if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			t.Err = fmt.Errorf("there is no topic %q: %w", name, &shortError{kerr.UnknownTopicOrPartition})
		}
		if errors.Is(t.Err, kerr.InvalidTopicException) {
			t.Err = fmt.Errorf("%q is no name of a topic: it has 1 to 249 letters, digits, '.', '_' and '-', and is not '.' or '..'; several topics are divided by spaces: %w",
				name, &shortError{kerr.InvalidTopicException})
		}
		topics[name] = t
	}
	return topics, nil
}

// reason shortens an error of the protocol to its name and the broker's own words.
func reason(err error, message string) error {
	if err == nil || message == "" || strings.Contains(err.Error(), message) {
		return err
	}
	var kafka *kerr.Error
	if errors.As(err, &kafka) {
		return fmt.Errorf("%s: %w", message, &shortError{kafka})
	}
	return fmt.Errorf("%s: %w", message, err)
}

// shortError prints only the name of a protocol error.
type shortError struct{ kafka *kerr.Error }

func (e *shortError) Error() string { return e.kafka.Message }
func (e *shortError) Unwrap() error { return e.kafka }
