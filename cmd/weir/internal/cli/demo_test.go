package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/demo"
)

// quickDay is a day of a test.
const quickDay = 300 * time.Millisecond

// runDemo runs the demonstration in this process, upon a broker on real files.
func runDemo(ctx context.Context, out io.Writer, o demoOptions) (code int, errOut string) {
	var said bytes.Buffer
	a := &app{Env: Env{Stdout: out, Stderr: &said, Getenv: func(string) string { return "" }}, open: openBroker}
	o.pace = quickDay
	err := a.demo(ctx, o)
	a.explain(nil, err, exitCode(err))
	return exitCode(err), said.String()
}

// temporary has the temporary directories of a test made where it can look.
func temporary(t *testing.T) (left func() []os.DirEntry) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return func() []os.DirEntry {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
}

func TestDemo(t *testing.T) {
	left := temporary(t)
	var out bytes.Buffer
	code, said := runDemo(t.Context(), &out, demoOptions{})
	if code != ExitOK || said != "" || !strings.Contains(out.String(), "All 16 numbers agree") {
		t.Errorf("exit code %d, says %q\n%s", code, said, out.String())
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("control sequences without a terminal: %q", out.String())
	}
	if entries := left(); len(entries) > 0 {
		t.Errorf("the temporary data directory is left: %v", entries)
	}
}

func TestDemoTwiceOnOneDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if code, said := runDemo(t.Context(), io.Discard, demoOptions{data: dir}); code != ExitOK {
		t.Fatalf("exit code %d, says %q", code, said)
	}
	var out bytes.Buffer
	code, said := runDemo(t.Context(), &out, demoOptions{data: dir})
	if code != ExitFailed || !strings.Contains(said, dir) || !strings.Contains(said, "exists already") || !strings.Contains(said, "--data") {
		t.Errorf("the second day: exit code %d, says %q", code, said)
	}
	if strings.Contains(out.String(), "agree") {
		t.Errorf("the second day found something:\n%s", out.String())
	}
}

// onText calls then once, when the text was written.
type onText struct {
	bytes.Buffer
	text string
	then func()
}

func (w *onText) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.then != nil && strings.Contains(w.Buffer.String(), w.text) {
		w.then()
		w.then = nil
	}
	return n, err
}

func TestDemoInterrupted(t *testing.T) {
	left := temporary(t)
	ctx, interrupt := context.WithCancel(t.Context())
	code, said := runDemo(ctx, &onText{text: "stopping stock-2", then: interrupt}, demoOptions{})
	if code != ExitInterrupted || said != "weir: interrupted\n" {
		t.Errorf("exit code %d, says %q", code, said)
	}
	if entries := left(); len(entries) > 0 {
		t.Errorf("the temporary data directory is left: %v", entries)
	}
}

// TestDemoKeep runs the three commands as they are printed.
func TestDemoKeep(t *testing.T) {
	left := temporary(t)
	ctx, interrupt := context.WithCancel(t.Context())
	out := &onText{text: "group describe"}
	out.then = func() {
		defer interrupt()
		commands := regexp.MustCompile(`(?m)^  weir (.*)$`).FindAllStringSubmatch(out.String(), -1)
		if len(commands) != 3 {
			t.Errorf("%d commands, want 3:\n%s", len(commands), out.String())
		}
		prints := []string{"orders.dlq", `"invoice":"536589"`, "stock"}
		for i, c := range commands {
			r := run(t.Context(), Env{}, strings.Fields(c[1])...)
			if r.code != ExitOK || !strings.Contains(r.out, prints[i]) {
				t.Errorf("weir %s: exit code %d\n%s%s", c[1], r.code, r.out, r.errOut)
			}
		}
	}
	code, said := runDemo(ctx, out, demoOptions{keep: true, stay: "localhost:0"})
	if code != ExitOK {
		t.Errorf("exit code %d, says %q", code, said)
	}
	entries := left()
	if len(entries) != 1 || !strings.Contains(said, "weir serve --data "+filepath.Join(os.Getenv("TMPDIR"), entries[0].Name())) {
		t.Errorf("%d data directories are left, and this is said: %q", len(entries), said)
	}
}

func TestDemoListeners(t *testing.T) {
	usual, address, err := demoListeners(t.Context(), demoOptions{keep: true, stay: "localhost:0"})
	if err != nil || !strings.HasPrefix(address, "localhost:") || strings.HasSuffix(address, ":0") {
		t.Fatalf("%s, %v", address, err)
	}
	defer closeAll(usual)
	for _, o := range []demoOptions{{stay: address}, {keep: true, stay: address}} { // not wanted, taken
		others, other, err := demoListeners(t.Context(), o)
		if err != nil || other == address || !strings.HasPrefix(other, "127.0.0.1:") || len(others) != 1 {
			t.Errorf("%+v: %d listeners at %s, %v", o, len(others), other, err)
		}
		closeAll(others)
	}
}

func TestDemoStorageFails(t *testing.T) {
	b := newFakeBroker()
	b.err = errors.New("write journal: input/output error")
	close(b.failed)
	a := &app{
		Env:  Env{Stdout: io.Discard, Stderr: io.Discard, Getenv: func(string) string { return "" }},
		open: func(context.Context, serveOptions, *slog.Logger) (embedded, error) { return b, nil },
	}
	err := a.demo(t.Context(), demoOptions{data: t.TempDir()})
	if exitCode(err) != ExitStorage || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("exit code %d, %v", exitCode(err), err)
	}
	select {
	case <-b.shutdown:
	default:
		t.Error("the broker was not shut down")
	}
}

func TestDemoOnAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, said := runDemo(t.Context(), io.Discard, demoOptions{data: file}); code != ExitFailed || !strings.Contains(said, "is not a directory") {
		t.Errorf("exit code %d, says %q", code, said)
	}
}

func TestDemoResult(t *testing.T) {
	storage := &exitError{ExitStorage, errors.New("disk")}
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{nil, ExitOK, ""},
		{demo.ErrWrong, ExitFailed, "not what the file says"},
		{fmt.Errorf("topic orders exists already: %w", demo.ErrUsed), ExitFailed, "data directory DIR: topic orders exists already: "},
		{context.Canceled, ExitInterrupted, ""},
		{errReaderGone, ExitOK, ""},
		{storage, ExitStorage, "disk"},
		{fmt.Errorf("the broker did not take line 7: %w", kerr.KafkaStorageError), ExitFailed, "line 7"},
		{io.EOF, ExitFailed, ""}, // not ExitUnreachable: the broker is ours
		{kerr.RequestTimedOut, ExitFailed, ""},
	} {
		err := demoResult(c.err, "DIR")
		if exitCode(err) != c.code || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%v: exit code %d, want %d; says %v", c.err, exitCode(err), c.code, err)
		}
	}
}

func TestDemoTerminal(t *testing.T) {
	for _, c := range []struct {
		tty         bool
		env         map[string]string
		live, color bool
	}{
		{false, nil, false, false},
		{true, nil, true, true},
		{true, map[string]string{"NO_COLOR": "1"}, true, false},
		{true, map[string]string{"TERM": "dumb"}, false, false},
	} {
		a := &app{Env: Env{StdoutTTY: c.tty, Getenv: func(name string) string { return c.env[name] }}}
		terminal := a.demoTerminal()
		if (terminal != nil) != c.live || (terminal != nil && terminal.Color != c.color) {
			t.Errorf("%+v: %+v", c, terminal)
		}
		if terminal != nil {
			if columns, rows := terminal.Size(); columns != 80 || rows != 24 {
				t.Errorf("%d columns and %d rows by default", columns, rows)
			}
		}
	}
}
