package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// against is the environment of a command that reaches the broker within the process.
func against(b *brokertest.Broker) Env {
	return Env{Dial: b.DialContext, Getenv: func(name string) string {
		if name == "WEIR_BROKERS" {
			return brokertest.Address
		}
		return ""
	}}
}

func mustRun(t *testing.T, env Env, args string) string {
	t.Helper()
	r := run(t.Context(), env, strings.Fields(args)...)
	if r.code != ExitOK {
		t.Fatalf("weir %s: code %d, said %q, printed %q", args, r.code, r.errOut, r.out)
	}
	return r.out
}

// TestDeleteAsksOnATerminal: shown, asked, and only a yes deletes.
func TestDeleteAsksOnATerminal(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 2")
	env.Stdin = strings.NewReader("1\n2\n3\n")
	mustRun(t, env, "produce t")

	env.StdinTTY, env.StderrTTY = true, true
	for _, c := range []struct {
		answer string
		code   int
	}{{"", ExitFailed}, {"n\n", ExitFailed}, {"y\n", ExitOK}} {
		env.Stdin = strings.NewReader(c.answer)
		r := run(t.Context(), env, "topic", "delete", "t")
		if r.code != c.code || !strings.Contains(r.errOut, "topic t: 2 partitions, 3 records\nDelete them for good? [y/N] ") {
			t.Errorf("answer %q: code %d, said %q", c.answer, r.code, r.errOut)
		}
		if deleted := strings.Contains(r.out, "deleted"); deleted != (c.code == ExitOK) {
			t.Errorf("answer %q: printed %q", c.answer, r.out)
		}
	}
	if out := mustRun(t, env, "topic list -O name"); out != "" {
		t.Errorf("left: %q", out)
	}
}

// TestNameThatNoTopicHas: it is named, and what a name may hold.
func TestNameThatNoTopicHas(t *testing.T) {
	r := run(t.Context(), against(brokertest.Start(t)), "consume", "t,u")
	if r.code != ExitFailed || !strings.Contains(r.errOut, `"t,u" is no name of a topic: it has 1 to 249 letters`) {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}

// TestConsumeEndsWithItsReader: without a record to write.
func TestConsumeEndsWithItsReader(t *testing.T) {
	b := brokertest.Start(t)
	mustRun(t, against(b), "topic create t -p 1")
	for _, args := range []string{"consume t", "consume t -g g"} {
		env := against(b)
		env.ReaderGone = func(context.Context) bool { return true }
		mustRun(t, env, args)
	}
}

// lines is a standard output that hands over each line, and fails when told to.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	got  chan string
	fail error
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	l.buf.Write(b)
	for {
		line, err := l.buf.ReadString('\n')
		if err != nil {
			l.buf.WriteString(line)
			return len(b), nil
		}
		l.got <- strings.TrimSpace(line)
	}
}

// TestConsumeOutlivesTheBroker: a member of a group goes on after the broker was
// killed and started again, says so, and commits what it printed at the end.
func TestConsumeOutlivesTheBroker(t *testing.T) {
	for _, args := range []string{"consume t -g g", "consume t"} {
		t.Run(args, func(t *testing.T) { consumeAcrossRestart(t, args) })
	}
}

func consumeAcrossRestart(t *testing.T, args string) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 1")
	out := &lines{got: make(chan string, 10)}
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan result, 1)
	consumer := env
	consumer.Stdout = out
	go func() { done <- run(ctx, consumer, strings.Fields(args)...) }()
	send := func(value string) {
		t.Helper()
		env.Stdin = strings.NewReader(value + "\n")
		mustRun(t, env, "produce t")
		select {
		case got := <-out.got:
			if got != value {
				t.Fatalf("printed %q, want %q", got, value)
			}
		case r := <-done:
			t.Fatalf("ended with code %d, said %q", r.code, r.errOut)
		}
	}
	send("before")
	b.Kill()
	b.Restart()
	send("after")
	interrupt()
	r := <-done
	if r.code != ExitInterrupted {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
	if strings.Contains(args, "-g") {
		if got := mustRun(t, env, "group describe g -O csv"); !strings.Contains(got, "g,Empty,t,0,2,2,0,") {
			t.Errorf("the group stands at\n%s", got)
		}
	}
}

// TestConsumeCommitsOnlyWhatWasPrinted: an output that fails ends the command,
// and what it did not take stays with the group.
func TestConsumeCommitsOnlyWhatWasPrinted(t *testing.T) {
	for failure, code := range map[error]int{io.ErrClosedPipe: ExitOK, errors.New("disk full"): ExitFailed} {
		b := brokertest.Start(t)
		env := against(b)
		mustRun(t, env, "topic create t -p 1")
		env.Stdin = strings.NewReader("1\n2\n")
		mustRun(t, env, "produce t")
		env.Stdout = &lines{fail: failure, got: make(chan string)}
		if r := run(t.Context(), env, "consume", "t", "-g", "g"); r.code != code {
			t.Errorf("%v: code %d, said %q", failure, r.code, r.errOut)
		}
		offsets, err := kadm.NewClient(b.Client()).FetchOffsets(t.Context(), "g")
		if o, ok := offsets.Lookup("t", 0); err == nil && ok && o.At > 0 {
			t.Errorf("%v: committed %d, though nothing was printed", failure, o.At)
		}
	}
}

// TestTwoMembersShare: two consoles of one group get each record once.
func TestTwoMembersShare(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 4")
	out := &lines{got: make(chan string, 1000)}
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan result, 2)
	for range 2 {
		go func() {
			env := env
			env.Stdout = out
			done <- run(ctx, env, "consume", "t", "-g", "g")
		}()
	}
	cl := b.Client(kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	want := map[string]int{}
	for _, v := range strings.Fields("a b c d e f g h") {
		want[v] = 1
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord(v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for range want {
		if v := <-out.got; want[v] != 1 {
			t.Errorf("%q came again", v)
		} else {
			want[v] = 0
		}
	}
	interrupt()
	for range 2 {
		if r := <-done; r.code != ExitInterrupted {
			t.Errorf("code %d, said %q", r.code, r.errOut)
		}
	}
	if extra := len(out.got); extra != 0 {
		t.Errorf("%d records came twice", extra)
	}
}

// TestReconnectsAreTold: once when the broker is lost, once when it is back,
// and nothing of a first try that fails.
func TestReconnectsAreTold(t *testing.T) {
	var said bytes.Buffer
	hook := &reconnects{app: &app{Env: Env{Stderr: &said}}}
	refused := errors.New("connection refused")
	for _, err := range []error{refused, nil, nil, refused, refused, nil, nil} {
		hook.OnBrokerConnect(kgo.BrokerMetadata{Host: "h", Port: 1}, 0, nil, err)
	}
	want := "weir: lost the broker at h:1 (connection refused); trying again\nweir: connected to h:1 again\n"
	if said.String() != want {
		t.Errorf("said %q, want %q", said.String(), want)
	}
}

func TestPassing(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&kgo.ErrGroupSession{Err: io.EOF}, true},
		{&kgo.ErrGroupSession{Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, true},
		{&kgo.ErrGroupSession{Err: kerr.CoordinatorLoadInProgress}, true},
		{&kgo.ErrGroupSession{Err: kerr.GroupAuthorizationFailed}, false},
		{&kgo.ErrGroupSession{Err: kerr.InvalidSessionTimeout}, false},
		{io.EOF, false}, // not of a group: a partition's error counts
	} {
		if got := passing(c.err); got != c.want {
			t.Errorf("passing(%v) = %v", c.err, got)
		}
	}
}
