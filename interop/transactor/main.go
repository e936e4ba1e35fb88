package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// flags are what every program of the stories is told.
type flags struct {
	bootstrap, id, group, from, to string
	flow, timeout, hang            int
}

func main() {
	var f flags
	flag.StringVar(&f.bootstrap, "bootstrap", "", "address of the broker")
	flag.StringVar(&f.id, "id", "", "transactional id")
	flag.IntVar(&f.flow, "flow", 2, "the version of transactions to speak, 1 or 2")
	flag.IntVar(&f.timeout, "timeout", 60000, "timeout of a transaction, milliseconds")
	flag.StringVar(&f.group, "group", "", "copy as a member of this group")
	flag.StringVar(&f.from, "from", "", "topic to copy from")
	flag.StringVar(&f.to, "to", "", "topic to copy to")
	flag.IntVar(&f.hang, "hang", 0, "transaction to hang in, from 1 on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	work := obey
	if f.group != "" {
		work = copyAll
	}
	if err := work(ctx, f); err != nil {
		say(line{Event: "failed", Error: err.Error()})
		os.Exit(1)
	}
}

func options(f flags) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.TransactionalID(f.id), kgo.TransactionTimeout(time.Duration(f.timeout) * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}
	if f.flow == 1 {
		opts = append(opts, kgo.MaxVersions(kversion.V3_5_0()))
	}
	return opts
}

// obey does what standard input says.
func obey(ctx context.Context, f flags) error {
	cl, err := kgo.NewClient(options(f)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("producer id: %w", err)
	}
	say(line{Event: "ready"})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := do(ctx, cl, strings.Fields(in.Text())); err != nil {
			say(line{Event: "refused", Error: err.Error(), Fatal: fatal(err)})
		} else {
			say(line{Event: "did"})
		}
	}
	return nil
}

func do(ctx context.Context, cl *kgo.Client, words []string) error {
	switch words[0] {
	case "begin":
		return cl.BeginTransaction()
	case "send":
		partition, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		return cl.ProduceSync(ctx, &kgo.Record{Topic: words[1], Partition: int32(partition), Value: []byte(words[3])}).FirstErr()
	case "commit":
		return cl.EndTransaction(ctx, kgo.TryCommit)
	case "abort":
		return cl.EndTransaction(ctx, kgo.TryAbort)
	}
	return fmt.Errorf("unknown command %q", words[0])
}

// fatal: this client has no sign for it but the errors that it gives up at.
func fatal(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// copyAll copies until ctx ends. Version 2 comes with the consumer protocol, version
// 1 with the classic one. The producer has its id before the group has this member,
// so that what a killed one left open is aborted.
func copyAll(ctx context.Context, f flags) error {
	opts := append(options(f), kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(f.from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond))
	if f.flow == 2 {
		opts = append(opts, kgo.ServerSideBalancer())
	} else {
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	session, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return err
	}
	defer session.Close()
	if _, _, err := session.Client().ProducerID(ctx); err != nil {
		return fmt.Errorf("producer id: %w", err)
	}
	say(line{Event: "ready"})
	for n := 1; ctx.Err() == nil; {
		fetches := session.PollRecords(ctx, 20)
		if ctx.Err() != nil || fetches.NumRecords() == 0 {
			continue
		}
		if err := transact(ctx, f, session, fetches, n); err != nil {
			return err
		}
		n++
	}
	say(line{Event: "left"})
	return nil
}

// transact is the n-th transaction. When it is aborted, the session goes back to
// where the group stands.
func transact(ctx context.Context, f flags, session *kgo.GroupTransactSession, fetches kgo.Fetches, n int) error {
	ctx = context.WithoutCancel(ctx)
	if err := session.Begin(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	offsets := map[int32]int64{}
	aborts := kgo.AbortingFirstErrPromise(session.Client())
	fetches.EachRecord(func(r *kgo.Record) {
		offsets[r.Partition] = r.Offset + 1
		session.Produce(ctx, &kgo.Record{Topic: f.to, Partition: r.Partition, Value: r.Value}, aborts.Promise())
	})
	if err := aborts.Err(); err != nil {
		say(line{Event: "refused", Error: err.Error()})
	}
	if n == f.hang {
		if err := session.Client().Flush(ctx); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		say(line{Event: "hangs"})
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
	}
	committed, err := session.End(ctx, aborts.Err() == nil && n%3 != 0)
	switch {
	case err != nil:
		return fmt.Errorf("end: %w", err)
	case committed:
		say(line{Event: "committed", Offsets: offsets})
	default:
		say(line{Event: "aborted"})
	}
	return nil
}

// line is what a program prints of one thing that happened.
type line struct {
	At      int64           `json:"at"` // Unix nanoseconds
	Event   string          `json:"event"`
	Offsets map[int32]int64 `json:"offsets,omitempty"` // of the next records
	Error   string          `json:"error,omitempty"`
	Fatal   bool            `json:"fatal,omitempty"`
}

// say prints a line whole.
var say = func() func(line) {
	var mu sync.Mutex
	return func(l line) {
		mu.Lock()
		defer mu.Unlock()
		l.At = time.Now().UnixNano()
		_ = json.NewEncoder(os.Stdout).Encode(l)
	}
}()
