package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// result is what one run of the command line did.
type result struct {
	code        int
	out, errOut string
}

func run(ctx context.Context, env Env, args ...string) result {
	var out, errOut bytes.Buffer
	env.Args, env.Stderr = args, &errOut
	if env.Stdout == nil {
		env.Stdout = &out
	}
	if env.Stdin == nil {
		env.Stdin = strings.NewReader("")
	}
	code := Main(ctx, env)
	return result{code, out.String(), errOut.String()}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"", "Usage:"},
		{"topic", "Usage:"},
		{"topc", `no command "topc"; did you mean topic?`},
		{"topic lst", `no command "lst"; did you mean list?`},
		{"topic list x", "too many: x"},
		{"topic alter t -b localhost:1", `weir topic has no command "alter" (there are create, delete, describe, list)`},
		{"group alter x -b localhost:1", `weir group has no command "alter" (there are delete, describe, list, members, reset, timeline)`},
		{"topic -b localhost:1", "unknown shorthand flag: 'b'"},
		{"produce t -p x", "-p x: invalid argument: want a whole number, -1 to 2147483647"},
		{"consume t -p x", "-p x: invalid argument: want whole numbers, 0 to 2147483647"},
		{"consume t --timeout x", "--timeout x: invalid argument: want a time with its unit"},
		{"serve --listen localhost:99999", `--listen localhost:99999: port "99999": want 0 to 65535`},
		{"topic list --nope", "unknown flag: --nope"},
		{"topic list -O xml", "-O xml: no such format"},
		{"topic list --timeout 0s", "--timeout 0s: want 100ms"},
		{"topic create", "needs the names of the topics"},
		{"topic create t -c novalue", "want KEY=VALUE"},
		{"topic create t -c a=1 -c a=2", "-c a is given twice"},
		{"topic create t -p many", "invalid argument"},
		{"consume", "needs the names of topics"},
		{"consume t -o beginning", `"beginning" is not start, end`},
		{"consume t -f %q", `-f "%q"`},
		{"consume t -O table", "-O table: records are printed as -f says"},
		{"consume t -g g -o 1:2", "exclude each other"},
		{"consume t -g g -o 5", "exclude each other"},
		{"consume t -g g -p 1", "exclude each other"},
		{"consume t -n -1", "-n -1"},
		{"produce", "needs the name of a topic"},
		{"produce t --acks 2", "--acks 2: want all, 1 or 0"},
		{"produce t -z brotli", "-z brotli: want one of none, gzip"},
		{"produce t -f %v -K :", "exclude each other"},
		{"produce t -k a -K :", "exclude each other"},
		{"produce t -H novalue", "want KEY=VALUE"},
		{"produce t -p -2", "-p -2"},
		{"produce t -f %q", `-f "%q"`},
		{`produce t -D \q`, "-D"},
		{"group describe", "needs the names of groups"},
		{"group members", "needs the names of groups"},
		{"group list --state busy", "--state busy: there are Stable, Empty"},
		{"group delete", "needs the names of the groups to delete"},
		{"group delete g --topic t:x", `"x" is no number of a partition`},
		{"group reset", "needs the name of a group"},
		{"group reset g --topic t", "where to? say one of --to-start"},
		{"group reset g --to-start", "say --topic TOPIC or --all-topics"},
		{"group reset g --to-start --to-end --topic t", "--to-start and --to-end exclude each other"},
		{"group reset g --to-start --topic t --all-topics", "exclude each other"},
		{"group reset g --to-start --topic t --undo f", "--undo is for --execute"},
		{"group timeline", "needs the name of a group"},
		{"group timeline g --admin nowhere", "--admin nowhere: want host:port"},
		{"version x", "takes no arguments"},
		{"serve --durability maybe", "--durability maybe: want sync or os"},
		{"serve --on-storage-error panic", "--on-storage-error panic: want exit or readonly"},
		{"serve --listen nowhere", "--listen nowhere: want host:port"},
		{"serve --listen 0.0.0.0:9092", "say --insecure"},
		{"serve --listen :9092", "say --insecure"},
		{"serve --admin 0.0.0.0:9644", "use a loopback address"},
		{"serve --admin localhost", "want host:port"},
		{"serve --config num.partition=3", "num.partitions"},
		{"serve --config num.partitions=none", "num.partitions"},
		{"serve --config novalue", "want KEY=VALUE"},
		{"serve --config-file does-not-exist.yaml", "does-not-exist.yaml"},
		{"serve --log-level loud", "--log-level loud"},
		{"serve x", "takes no arguments"},
		{"backup", "needs the name of the archive"},
		{"backup a b", "too many: b"},
		{"backup a --data d --admin localhost:1", "exclude each other"},
		{"backup a --data=", "--data is empty"},
		{"backup a --admin nowhere", "--admin nowhere: want host:port"},
		{"restore a", "needs an archive and a directory"},
		{"fsck", "needs one data directory"},
		{"fsck d -O xml", "-O xml: no such format"},
	} {
		r := run(t.Context(), Env{}, strings.Fields(c.args)...)
		if r.code != ExitUsage || !strings.Contains(r.errOut, c.says) || r.out != "" {
			t.Errorf("weir %s: code %d, want %d and %q; said %q, printed %q", c.args, r.code, ExitUsage, c.says, r.errOut, r.out)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, args := range []string{"--help", "help consume", "consume --help", "--version", "version", "completion bash"} {
		r := run(t.Context(), Env{}, strings.Fields(args)...)
		if r.code != ExitOK || r.out == "" || r.errOut != "" {
			t.Errorf("weir %s: code %d, %d bytes printed, said %q", args, r.code, len(r.out), r.errOut)
		}
	}
}

func TestUnreachable(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	for _, args := range []string{"topic list", "topic create t", "consume t", "consume t -g g", "produce t", "group list"} {
		r := run(t.Context(), Env{Dial: refuse}, strings.Fields(args)...)
		if r.code != ExitUnreachable || !strings.Contains(r.errOut, "localhost:9092") || !strings.Contains(r.errOut, "weir serve") {
			t.Errorf("weir %s: code %d, said %q", args, r.code, r.errOut)
		}
	}
	r := run(t.Context(), Env{Dial: refuse}, "topic", "list", "-b", "kafka.example:9999")
	if !strings.Contains(r.errOut, "kafka.example:9999") || strings.Contains(r.errOut, "weir serve") {
		t.Errorf("an address of another machine: said %q", r.errOut)
	}
}

// TestSilentBroker: something accepts the connection and never answers.
func TestSilentBroker(t *testing.T) {
	silent := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }() // ends when the client closes
		return client, nil
	}
	r := run(t.Context(), Env{Dial: silent}, "topic", "list", "--timeout", "100ms")
	if r.code != ExitUnreachable {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}

func TestBrokersFrom(t *testing.T) {
	for _, c := range []struct{ args, env, want string }{
		{"", "", "localhost:9092"},
		{"", "a:1,b:2", "a:1"},
		{"-b c:3", "a:1", "c:3"},
		{"-b c", "", "c:9092"},
	} {
		var asked []string
		dial := func(_ context.Context, _, addr string) (net.Conn, error) {
			asked = append(asked, addr)
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		env := Env{Dial: dial, Getenv: func(name string) string {
			if name == "WEIR_BROKERS" {
				return c.env
			}
			return ""
		}}
		run(t.Context(), env, append([]string{"topic", "list"}, strings.Fields(c.args)...)...)
		if len(asked) == 0 || !strings.Contains(strings.Join(asked, " "), c.want) {
			t.Errorf("flags %q, WEIR_BROKERS=%q: asked %v, want %s", c.args, c.env, asked, c.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if r := run(ctx, Env{Dial: dial}, "topic", "list"); r.code != ExitInterrupted {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("any"), ExitFailed},
		{failed(), ExitFailed},
		{usagef("wrong"), ExitUsage},
		{fmt.Errorf("read: %w", usagef("wrong")), ExitUsage},
		{&exitError{code: ExitCondition}, ExitCondition},
		{kerr.GroupAuthorizationFailed, ExitAuth},
		{fmt.Errorf("list: %w", kerr.SaslAuthenticationFailed), ExitAuth},
		{context.DeadlineExceeded, ExitUnreachable},
		{io.ErrUnexpectedEOF, ExitUnreachable},
		{os.ErrDeadlineExceeded, ExitUnreachable},
		{&exitError{code: ExitStorage}, ExitStorage},
		{context.Canceled, ExitInterrupted},
		{fmt.Errorf("print: %w", errReaderGone), ExitOK},
		{&exitError{ExitFailed, errReaderGone}, ExitFailed},
		// The socket of a broker breaks like a pipe, and that is no goodbye.
		{&net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}, ExitUnreachable},
		{unreachable([]string{"h:1"}, syscall.EPIPE), ExitUnreachable},
		{fmt.Errorf("list topics: %w", syscall.EPIPE), ExitFailed},
		{fmt.Errorf("3 records not acknowledged: %w", syscall.EPIPE), ExitFailed},
		{kerr.UnknownTopicOrPartition, ExitFailed},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("exit code of %v is %d, want %d", c.err, got, c.want)
		}
	}
}

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		stdin          string
		tty, seen, yes bool
		want           int
	}{
		{"", false, true, false, ExitUsage},
		{"y\n", false, true, false, ExitUsage}, // a pipe is not a person
		{"y\n", true, false, false, ExitUsage}, // nobody sees the question
		{"", false, false, true, ExitOK},
		{"y\n", true, true, false, ExitOK},
		{"YES\n", true, true, false, ExitOK},
		{"n\n", true, true, false, ExitFailed},
		{"\n", true, true, false, ExitFailed},
		{"", true, true, false, ExitFailed}, // end of input is a no
	} {
		a := &app{Env: Env{Stdin: strings.NewReader(c.stdin), Stderr: io.Discard, StdinTTY: c.tty, StderrTTY: c.seen}}
		if got := exitCode(a.confirm(t.Context(), "Sure?", c.yes)); got != c.want {
			t.Errorf("input %q, terminal %v, seen %v, --yes %v: code %d, want %d", c.stdin, c.tty, c.seen, c.yes, got, c.want)
		}
	}
}

// TestConfirmInterrupted: Ctrl-C ends a question, though the terminal says nothing.
func TestConfirmInterrupted(t *testing.T) {
	silent, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{Env: Env{Stdin: silent, Stderr: io.Discard, StdinTTY: true, StderrTTY: true}}
	if got := exitCode(a.confirm(ctx, "Sure?", false)); got != ExitInterrupted {
		t.Errorf("code %d, want %d", got, ExitInterrupted)
	}
}

// TestCompletionBudget: a broker that does not answer must not hold the shell.
func TestCompletionBudget(t *testing.T) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	begin := time.Now()
	r := run(t.Context(), Env{Dial: dial}, "__complete", "topic", "describe", "")
	if took := time.Since(begin); r.code != ExitOK || took > 3*completionBudget {
		t.Errorf("code %d after %v, said %q", r.code, took, r.errOut)
	}
	if strings.TrimSpace(r.out) != ":4" {
		t.Errorf("offered %q", r.out)
	}
}
