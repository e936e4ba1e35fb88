package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type produceFlags struct {
	key          string
	keyDelimiter string
	delimiter    string
	format       string
	headers      []string
	tombstones   bool
	partition    int32
	acks         string
	compression  string
	create       bool
	delivery     time.Duration
}

func (a *app) produceCommand() *cobra.Command {
	var p produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC [FILE]...",
		Short: "Send lines as records",
		Long: `Send each line of the files, or of standard input, as a record, and exit when all
are acknowledged. How many went where is said on standard error, or with -O on
standard output.`,
		Example: `  echo hello | weir produce greetings
  weir produce orders -K : orders.txt              # key:value lines
  weir produce orders -f '%k\t%h{%k=%v}\t%v\n' < orders.tsv`,
		Args: positional(1, -1, "the name of a topic and, optionally, files"),
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := a.newProduction(p, cmd, args[0])
			if err != nil {
				return err
			}
			return run.do(cmd.Context(), args[1:])
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault // files
			}
			return a.completeTopics(1)(cmd, args, s)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&p.keyDelimiter, "key-delimiter", "K", "", `what divides key and value in a line; \t and \xNN are understood`)
	f.StringVarP(&p.key, "key", "k", "", "the key of every record")
	f.StringVarP(&p.delimiter, "delimiter", "D", `\n`, "what ends a record, instead of the end of a line")
	f.StringVarP(&p.format, "format", "f", "", "how records are read, instead of -D and -K: franz-go's verbs, as %k %v %h{%k=%v}")
	f.StringArrayVarP(&p.headers, "header", "H", nil, "a header of every record, KEY=VALUE; may be repeated")
	f.BoolVarP(&p.tombstones, "tombstone", "Z", false, "an empty value is a tombstone (null)")
	f.Int32VarP(&p.partition, "partition", "p", -1, "send to this partition (-1: by key, else spread)")
	f.StringVar(&p.acks, "acks", "all", "what to wait for: all, 1 or 0")
	f.StringVarP(&p.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.BoolVar(&p.create, "create", false, "create the topic, with the broker's defaults, if it does not exist")
	f.DurationVar(&p.delivery, "delivery-timeout", 30*time.Second, "how long to try to deliver a record")
	must(cmd.RegisterFlagCompletionFunc("acks", cobra.FixedCompletions([]string{"all", "1", "0"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("compression", cobra.FixedCompletions(codecNames, cobra.ShellCompDirectiveNoFileComp)))
	return a.clientFlags(a.outputFlag(cmd, ""))
}

var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// production is one run of produce.
type production struct {
	*app
	produceFlags
	topic  string
	key    []byte // nil without -k
	layout string
	header []kgo.RecordHeader
	opts   []kgo.Opt

	mu struct {
		sync.Mutex
		given int64 // to the client
		sent  map[int32]*delivered
		err   error // the first failure; it ends the run
	}
}

// delivered counts what one partition acknowledged.
type delivered struct{ records, first, last int64 }

func (a *app) newProduction(p produceFlags, cmd *cobra.Command, topic string) (*production, error) {
	run := &production{app: a, produceFlags: p, topic: topic}
	run.mu.sent = map[int32]*delivered{}
	if a.output != "" {
		if err := a.checkOutput(); err != nil {
			return nil, err
		}
	}
	changed := cmd.Flags().Changed
	switch {
	case changed("format") && (changed("key-delimiter") || changed("delimiter")):
		return nil, usagef("-f and -K or -D exclude each other: -f says how the whole record is read")
	case changed("key") && changed("key-delimiter"):
		return nil, usagef("-k and -K exclude each other: the key comes from the flag or from the line")
	case p.partition < -1:
		return nil, usagef("-p %d: want a partition, or -1", p.partition)
	}
	if changed("key") {
		run.key = []byte(p.key)
	}
	for _, h := range p.headers {
		key, value, ok := strings.Cut(h, "=")
		if !ok || key == "" {
			return nil, usagef("-H %q: want KEY=VALUE", h)
		}
		run.header = append(run.header, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	var err error
	if run.layout, err = run.readLayout(); err != nil {
		return nil, err
	}
	if run.opts, err = run.options(); err != nil {
		return nil, err
	}
	return run, nil
}

// options are the client's for acks, codec and partition.
func (p *production) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(p.topic),
		kgo.WithHooks(&reconnects{app: p.app}),
		kgo.RecordDeliveryTimeout(p.delivery),
		kgo.ProduceRequestTimeout(p.timeout),
		kgo.MaxBufferedRecords(100_000),
		kgo.MaxBufferedBytes(64 << 20),
	}
	switch p.acks {
	case "all", "-1":
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usagef("--acks %s: want all, 1 or 0", p.acks)
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[p.compression]
	if !ok {
		return nil, usagef("-z %s: want one of %s", p.compression, strings.Join(codecNames, ", "))
	}
	opts = append(opts, kgo.ProducerBatchCompression(codec))
	if p.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

// do sends everything and tells what became of it.
func (p *production) do(ctx context.Context, files []string) error {
	client, err := p.connect(ctx, p.opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := p.prepare(ctx, kadm.NewClient(client)); err != nil {
		return err
	}
	// An interruption ends the reading, not the delivery of what was read. A
	// record that failed ends the reading, too: its promise calls cancel.
	work := context.WithoutCancel(ctx)
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	err = p.readAll(reading, files, func(r *kgo.Record) {
		p.give()
		client.Produce(work, r, func(r *kgo.Record, err error) {
			if p.deliver(r, err); err != nil {
				cancel()
			}
		})
	})
	flushing, stop := context.WithTimeout(work, p.delivery+p.timeout)
	defer stop()
	if flushed := client.Flush(flushing); flushed != nil && err == nil {
		err = flushed
	}
	return p.tell(ctx, err)
}

// prepare finds the topic and the partition, or creates the topic if told to.
func (p *production) prepare(ctx context.Context, client *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*p.timeout)
	defer cancel()
	topics, err := lookup(ctx, client, p.topic)
	if err != nil {
		return err
	}
	t := topics[p.topic]
	if errors.Is(t.Err, kerr.UnknownTopicOrPartition) && p.create {
		created, err := client.CreateTopic(ctx, -1, -1, nil, p.topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", p.topic, reason(err, created.ErrMessage))
		}
		return nil
	}
	if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("%w; create it with 'weir topic create %s', or say --create", t.Err, p.topic)
	}
	if t.Err != nil {
		return t.Err
	}
	if _, ok := t.Partitions[p.partition]; p.partition >= 0 && !ok {
		return fmt.Errorf("topic %s has no partition %d (it has %d)", p.topic, p.partition, len(t.Partitions))
	}
	return nil
}

func (p *production) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.given++
}

// deliver counts one record's acknowledgement or failure.
func (p *production) deliver(r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.mu.err == nil {
			p.mu.err = err
		}
		return
	}
	d := p.mu.sent[r.Partition]
	if d == nil {
		d = &delivered{first: r.Offset}
		p.mu.sent[r.Partition] = d
	}
	d.records++
	d.last = r.Offset
}

// tell prints the counts and makes the error that the command ends with.
func (p *production) tell(ctx context.Context, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := newListing("ProduceResult", column{name: "topic"}, column{name: "partition"}, column{name: "records"},
		column{name: "first_offset"}, column{name: "last_offset"})
	var total int64
	for _, n := range slices.Sorted(maps.Keys(p.mu.sent)) {
		d := p.mu.sent[n]
		total += d.records
		list.add(nil, p.topic, n, d.records, unknownIfNegative(d.first), unknownIfNegative(d.last))
	}
	if p.output != "" {
		if printed := p.print(list); printed != nil {
			return printed
		}
	} else {
		p.notef("%s to %s (%s)", count(total, "record"), p.topic, count(int64(len(p.mu.sent)), "partition"))
	}
	// Without a failure of its own a record is waited for in vain when it may
	// have arrived and its acknowledgement did not.
	if lost := p.mu.given - total; lost > 0 {
		return fmt.Errorf("produce to %s: %s not acknowledged: %w", p.topic, count(lost, "record"), firstError(p.mu.err, err, io.ErrUnexpectedEOF))
	}
	return firstError(ctx.Err(), err)
}

// count says how many there are of something.
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// readAll reads the files, or standard input without any ("-" is it, too).
func (p *production) readAll(ctx context.Context, files []string, send func(*kgo.Record)) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		in, closeIn := p.Stdin, func() error { return nil }
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			in, closeIn = f, f.Close
		}
		err := p.readOne(ctx, name, in, send)
		if closed := closeIn(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readOne reads one stream to its end. A read of a terminal or a pipe cannot be
// interrupted, so it happens in a goroutine that ends with the process when the
// context ends first.
func (p *production) readOne(ctx context.Context, name string, in io.Reader, send func(*kgo.Record)) error {
	records, result := make(chan *kgo.Record, 256), make(chan error, 1)
	go func() {
		defer close(records)
		result <- p.decode(ctx, in, records)
	}()
	for {
		select {
		case r, ok := <-records:
			if !ok {
				if err := <-result; err != nil {
					if name == "-" {
						name = "standard input"
					}
					return fmt.Errorf("read %s: %w", name, err)
				}
				return nil
			}
			send(r)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
