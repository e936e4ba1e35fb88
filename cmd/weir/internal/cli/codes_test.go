package cli

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
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
