package demo

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/demo/shop"
	"github.com/weirstream/weir/internal/vfs"
)

// bubble runs a test on virtual time. The broker recycles its answers, and the
// channels in them, for the whole process; one made in another bubble must not
// come back in this one. Two collections empty a sync.Pool.
func bubble(t *testing.T, test func(t *testing.T)) {
	runtime.GC()
	runtime.GC()
	synctest.Test(t, test)
}

// day runs the demonstration upon a broker in memory, on virtual time.
func day(ctx context.Context, b *brokertest.Broker, out io.Writer, terminal *Terminal) error {
	return Run(ctx, Config{
		Brokers: []string{brokertest.Address}, Client: []kgo.Opt{kgo.Dialer(b.DialContext)},
		Out: out, Terminal: terminal, Pace: 8 * time.Second,
	})
}

var rewrite = flag.Bool("rewrite", false, "write testdata/day.txt anew; read the difference as code")

// TestDay compares the plain output, times and chance left out.
func TestDay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := day(t.Context(), brokertest.Start(t), &out, nil); err != nil {
			t.Errorf("Run: %v", err)
		}
		got := settled(out.String())
		golden := filepath.Join("testdata", "day.txt")
		if *rewrite {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("output (- want, + got):\n%s", diff)
		}
	})
}

// settled replaces what differs between two runs: times, how far the groups are
// at that moment, and which member has which partitions.
func settled(text string) string {
	for _, r := range []struct{ pattern, with string }{
		{`(?m)^ *[0-9.]+ s  `, "TIME  "},
		{`[0-9,]+ of 3,108 lines in; .*`, "N of 3,108 lines in; PROGRESS"},
		{`\d \d \d`, "P P P"},
		{`within \d+ ms`, "within TIME"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

// TestFalsifiedDay: somebody else writes one more line into the topic, so the
// applications find something else than the file says.
func TestFalsifiedDay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := brokertest.Start(t)
		intruder := b.Client(kgo.DefaultProduceTopic(orders.Name))
		var out bytes.Buffer
		trigger := &watcher{w: &out, for_: "stopping", then: func() {
			value, err := orders.Value.Encode(shop.Line{Invoice: "1", StockCode: "85123A", Description: "X", Quantity: 7, PricePence: 1, Customer: "1"})
			if err != nil {
				t.Error(err)
			}
			if err := intruder.ProduceSync(t.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
				t.Error(err)
			}
		}}
		if err := day(t.Context(), b, trigger, nil); !errors.Is(err, ErrWrong) {
			t.Errorf("Run: %v, want ErrWrong", err)
		}
		if !regexp.MustCompile(`(?m)^  lines in topic orders +3,109 +3,108  WRONG$`).MatchString(out.String()) ||
			!regexp.MustCompile(`(?m)^WRONG: \d+ of 16 numbers differ`).MatchString(out.String()) {
			t.Errorf("the output does not say what is wrong:\n%s", out.String())
		}
	})
}

// watcher does something once, when a text is written.
type watcher struct {
	w    io.Writer
	for_ string
	then func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.then != nil && strings.Contains(string(p), w.for_) {
		w.then()
		w.then = nil
	}
	return w.w.Write(p)
}

func TestSecondDayIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := brokertest.Start(t)
		admin := kadm.NewClient(b.Client())
		if _, err := admin.CreateTopic(t.Context(), 1, -1, nil, orders.Name); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := day(t.Context(), b, &out, nil); !errors.Is(err, ErrUsed) || !strings.Contains(err.Error(), orders.Name) {
			t.Errorf("Run: %v, want ErrUsed and the topic's name", err)
		}
		topics, err := admin.ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{orders.Name}, topics.Names()); diff != "" || out.Len() > 0 {
			t.Errorf("something was begun: %s\n%s", diff, out.String())
		}
	})
}

// TestInterrupted: the bubble would not end if a goroutine were left.
func TestInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := brokertest.Start(t)
		ctx, interrupt := context.WithCancel(t.Context())
		if err := day(ctx, b, &watcher{w: io.Discard, for_: "stopping", then: interrupt}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v, want context.Canceled", err)
		}
		described, err := kadm.NewClient(b.Client()).DescribeGroups(t.Context(), groups()...)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range described.Sorted() {
			if len(g.Members) > 0 {
				t.Errorf("%d members have not left group %s", len(g.Members), g.Group)
			}
		}
	})
}

// TestCause: whoever ends the context may say why.
func TestCause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		why := errors.New("the storage failed")
		ctx, end := context.WithCancelCause(t.Context())
		out := &watcher{w: io.Discard, for_: "stopping", then: func() { end(why) }}
		if err := day(ctx, brokertest.Start(t), out, nil); !errors.Is(err, why) {
			t.Errorf("Run: %v, want the cause", err)
		}
	})
}

// TestOutputGone: there is no use in a day that nobody sees.
func TestOutputGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		_ = reader.Close() // always nil
		begun := time.Now()
		if err := day(t.Context(), brokertest.Start(t), writer, nil); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Run: %v, want io.ErrClosedPipe", err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("it went on for %v", took)
		}
	})
}

// TestBrokerGone: the run does not wait for ever.
func TestBrokerGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := brokertest.Start(t)
		out := &watcher{w: io.Discard, for_: "stopping", then: func() {
			if err := b.Broker().Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}}
		err := day(t.Context(), b, out, nil)
		if err == nil || !(strings.Contains(err.Error(), "nothing has moved") || strings.Contains(err.Error(), "did not take line")) {
			t.Errorf("Run: %v, want a sentence about a broker that is gone", err)
		}
	})
}

// TestDiskFull: the broker refuses what it cannot store, and the run says so
// before it ends.
func TestDiskFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithLogger(slog.New(slog.DiscardHandler)))
		var out bytes.Buffer
		err := day(t.Context(), b, &watcher{w: &out, for_: "stopping", then: func() {
			b.Files().Add(vfs.Rule{Op: vfs.OpWrite, Match: func(name string) bool { return strings.Contains(name, "/topics/") }, Err: syscall.ENOSPC})
		}}, nil)
		if !errors.Is(err, kerr.KafkaStorageError) || !strings.Contains(err.Error(), "did not take line 1555") {
			t.Errorf("Run: %v, want the broker's error and the line", err)
		}
		if !regexp.MustCompile(`(?m)^ +[4-9]\.\d s  stopping the applications: .*KAFKA_STORAGE_ERROR`).MatchString(out.String()) {
			t.Errorf("the reason is not told at once:\n%s", out.String())
		}
	})
}
