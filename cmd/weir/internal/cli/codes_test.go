package cli

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestDocumentedExitCodes meets each code of weir --help with a whole command, and
// finds each in that text.
func TestDocumentedExitCodes(t *testing.T) {
	damaged, segment := filled(t)
	damage(t, segment, 5000)
	broken, segment := filled(t)
	damage(t, segment, 5000)
	damage(t, filepath.Join(broken, "checkpoint"), 20)
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	dialing := func(err error) Env {
		return Env{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
	}
	help := strings.Join(strings.Fields(rootLong), " ")
	for _, c := range []struct {
		code int
		says string
		ctx  context.Context
		env  Env
		args string
	}{
		{ExitOK, "done", t.Context(), Env{}, "version"},
		{ExitFailed, "an item failed", t.Context(), Env{}, "fsck " + t.TempDir()},
		{ExitUsage, "wrong usage or configuration", t.Context(), Env{}, "topic list --nope"},
		{ExitCondition, "a condition does not hold", t.Context(), Env{}, "fsck " + damaged},
		{ExitAuth, "not allowed", t.Context(), dialing(kerr.SaslAuthenticationFailed), "topic list"},
		{ExitUnreachable, "no broker answered in time", t.Context(), dialing(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), "topic list"},
		{ExitStorage, "the broker's storage failed", t.Context(), Env{}, "serve --listen 127.0.0.1:0 --data " + broken},
		{ExitInterrupted, "interrupted", interrupted, dialing(context.Canceled), "topic list"},
	} {
		if want := fmt.Sprintf("%d %s", c.code, c.says); !strings.Contains(help, want) {
			t.Errorf("weir --help does not say %q", want)
		}
		if r := run(c.ctx, c.env, strings.Fields(c.args)...); r.code != c.code {
			t.Errorf("weir %s: code %d, want %d; said %q, printed %q", c.args, r.code, c.code, r.errOut, r.out)
		}
	}
}

// TestBadInputIsAnItemThatFailed: input that ends in the midst of a record is no
// broker that does not answer.
func TestBadInputIsAnItemThatFailed(t *testing.T) {
	env := against(brokertest.Start(t))
	mustRun(t, env, "topic create t -p 1")
	for format, input := range map[string]string{`%k\t%v\n`: "abc", `%V{big16}%v`: "\x00\x05x"} {
		env.Stdin = strings.NewReader(input)
		r := run(t.Context(), env, "produce", "t", "-f", format)
		if r.code != ExitFailed || !strings.Contains(r.errOut, "read standard input: record 1: ") {
			t.Errorf("-f %s: code %d, said %q", format, r.code, r.errOut)
		}
	}
}

// TestFailureBesidesABrokenPipe: a reader that goes away hides no row that failed,
// and no record that was not acknowledged.
func TestFailureBesidesABrokenPipe(t *testing.T) {
	env := against(brokertest.Start(t))
	mustRun(t, env, "topic create t -p 1")
	env.Stdout = &lines{fail: syscall.EPIPE}
	for args, code := range map[string]int{
		"topic list":            ExitOK,
		"topic describe nope":   ExitFailed,
		"produce t -O csv":      ExitOK,
		"produce t -K : -O csv": ExitFailed,
	} {
		env.Stdin = strings.NewReader("abc\n")
		if r := run(t.Context(), env, strings.Fields(args)...); r.code != code {
			t.Errorf("weir %s: code %d, want %d; said %q", args, r.code, code, r.errOut)
		}
	}
}

// cable is a connection that can be cut: nothing more can be written then.
type cable struct {
	net.Conn
	cut *atomic.Bool
}

func (c *cable) Write(b []byte) (int, error) {
	if c.cut.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	}
	return c.Conn.Write(b)
}

// TestInterruptedWithoutACommit: what was printed and could not be committed comes
// again, so that is told, and the code is none of an interruption.
func TestInterruptedWithoutACommit(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 1")
	env.Stdin = strings.NewReader("1\n")
	mustRun(t, env, "produce t")
	out := &lines{got: make(chan string, 1)}
	env.Stdout = out
	var cut atomic.Bool
	env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := b.DialContext(ctx, network, address)
		return &cable{c, &cut}, err
	}
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan result, 1)
	go func() { done <- run(ctx, env, strings.Fields("consume t -g g --timeout 300ms")...) }()
	<-out.got
	cut.Store(true)
	interrupt()
	if r := <-done; r.code == ExitInterrupted || r.code == ExitOK || !strings.Contains(r.errOut, "commit what was printed") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}
