package cli

import (
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
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
	f.DurationVar(&p.delivery, "delivery-timeout", 30*time.Second, "how long to try to deliver a record; an error that the broker keeps answering ends it after --timeout")
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
	refuse *refusals

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
	patience := p.delivery
	if !changed("delivery-timeout") {
		patience = min(patience, a.timeout)
	}
	run.refuse = newRefusals(patience, a.Now)
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
		kgo.WithLogger(p.refuse),
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
