// Command relay consumes a topic, copies every value and produces it to another
// topic through weir.Handle, at least once: the job that "kbench relay -mode
// alo" does with a loop written by hand. Their ratio is what weir costs.
//
// Run both against one broker, by turns and several times, since machines
// drift; compare the rate and, less noisy, the client's CPU per record:
//
//	go build -o /tmp/relay ./bench/relay && (cd bench/kbench && go build -o /tmp/kbench .)
//	for i in 1 2 3 4 5; do
//		/tmp/relay -b 127.0.0.1:9092 -fill 128M
//		/tmp/kbench relay -a 127.0.0.1:9092 -mode alo -fill 128M -runs 1
//	done
//
// The one line printed is the rate, the client's CPU per record, the records and
// the time, filling left out. With -mode none nothing is produced: the cost of
// consuming alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir"
)

func main() {
	var j job
	flag.StringVar(&j.brokers, "b", "127.0.0.1:9092", "addresses of brokers, separated by commas")
	fill := flag.String("fill", "128M", "bytes of record values to write first; all of them are relayed")
	flag.IntVar(&j.size, "size", 256, "bytes of one record's value")
	partitions := flag.Int("partitions", 6, "partitions of both topics")
	flag.StringVar(&j.mode, "mode", "alo", "alo (consume and produce, at least once) or none (consume only)")
	flag.DurationVar(&j.commit, "commit", 100*time.Millisecond, "commit interval")
	flag.Parse()
	j.partitions = int32(*partitions)
	bytes, err := parseSize(*fill)
	if err == nil && (j.size < 1 || j.partitions < 1 || j.mode != "alo" && j.mode != "none") {
		err = errors.New("-size and -partitions are at least 1, -mode is alo or none")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(2)
	}
	j.records = max(1, bytes/int64(j.size))
	if err := j.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

// parseSize reads bytes, with K, M or G for powers of 1024.
func parseSize(s string) (int64, error) {
	shift := 0
	if i := strings.IndexAny(s, "KMG"); i == len(s)-1 && i > 0 {
		shift = 10 * (1 + strings.IndexByte("KMG", s[i]))
		s = s[:i]
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("-fill %q is not a size such as 128M", s)
	}
	return n << shift, nil
}

type job struct {
	brokers    string
	size       int
	records    int64
	partitions int32
	mode       string
	commit     time.Duration
}

// run makes the topics, fills one, relays, prints, and deletes them.
func (j job) run(ctx context.Context) error {
	name := fmt.Sprintf("relay-%d", time.Now().UnixNano())
	in, out := name+"-in", name+"-out"
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(j.brokers, ",")...), kgo.DefaultProduceTopic(in),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(64<<10))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	made, err := adm.CreateTopics(ctx, j.partitions, 1, nil, in, out)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	defer adm.DeleteTopics(ctx, in, out)
	if err := j.fill(ctx, cl); err != nil {
		return fmt.Errorf("fill %s: %w", in, err)
	}
	cpu, start := cpuTime(), time.Now()
	if err := j.relay(ctx, in, out); err != nil {
		return err
	}
	took, used := time.Since(start), cpuTime()-cpu
	fmt.Printf("%.0f rec/s  %.3f µs client CPU/record  (%d records of %d bytes in %v, mode %s)\n",
		float64(j.records)/took.Seconds(), float64(used.Nanoseconds())/1e3/float64(j.records), j.records, j.size, took.Round(time.Millisecond), j.mode)
	return nil
}

func (j job) fill(ctx context.Context, cl *kgo.Client) error {
	value := make([]byte, j.size)
	for i := range value {
		value[i] = byte(i * 31)
	}
	var failed atomic.Pointer[error]
	for range j.records {
		cl.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// relay runs the application until every record was handled. The stop, which
// waits for acknowledgements and commits, is part of the time.
func (j job) relay(ctx context.Context, in, out string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	app, err := weir.New(weir.Config{
		Brokers: strings.Split(j.brokers, ","), Group: in, CommitInterval: j.commit,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Client: []kgo.Opt{kgo.ProducerBatchCompression(kgo.NoCompression())},
	})
	if err != nil {
		return err
	}
	source := weir.Topic[[]byte, []byte]{Name: in, Key: weir.Bytes(), Value: weir.Bytes()}
	target := weir.Topic[[]byte, []byte]{Name: out, Key: weir.Bytes(), Value: weir.Bytes()}
	var handled atomic.Int64
	weir.Handle(app, source, func(ctx context.Context, rec weir.Record[[]byte, []byte]) error {
		if j.mode == "alo" {
			value := make([]byte, len(rec.Value))
			copy(value, rec.Value)
			if err := weir.Produce(ctx, target, rec.Key, value); err != nil {
				return err
			}
		}
		if handled.Add(1) == j.records {
			stop()
		}
		return nil
	}, weir.NoDeadLetter())
	if err := app.Run(ctx); err != nil {
		return err
	}
	if n := handled.Load(); n != j.records {
		return fmt.Errorf("handled %d of %d records", n, j.records)
	}
	return nil
}
