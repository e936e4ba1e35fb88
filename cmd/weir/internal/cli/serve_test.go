package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/vfs"
)

// fakeBroker fails when told to.
type fakeBroker struct {
	failed      chan struct{}
	err         error
	serve       chan error // what Serve returns
	shutdown    chan struct{}
	shutdownErr error
}

func newFakeBroker() *fakeBroker {
	return &fakeBroker{failed: make(chan struct{}), serve: make(chan error, 2), shutdown: make(chan struct{})}
}

func (b *fakeBroker) Serve(net.Listener) error {
	select {
	case err := <-b.serve:
		return err
	case <-b.shutdown:
		return nil
	}
}

func (b *fakeBroker) Shutdown(context.Context) error { close(b.shutdown); return b.shutdownErr }
func (b *fakeBroker) Failed() <-chan struct{}        { return b.failed }
func (b *fakeBroker) Err() error                     { return b.err }
func (b *fakeBroker) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "up") })
}

// serveWith runs serve upon a fake; once it is announced, up is called with the line.
func serveWith(t *testing.T, b *fakeBroker, o serveOptions, up func(line string, interrupt func())) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, writer := io.Pipe()
	go func() {
		line := make([]byte, 4096)
		n, _ := reader.Read(line)
		up(string(line[:n]), cancel)
		_, _ = io.Copy(io.Discard, reader)
	}()
	var errOut bytes.Buffer
	a := &app{
		Env:  Env{Stdout: writer, Stderr: &errOut},
		open: func(context.Context, serveOptions, *slog.Logger) (embedded, error) { return b, nil },
	}
	err = a.serve(ctx, o)
	_ = writer.Close()
	return errOut.String(), err
}

func localOptions() serveOptions {
	return serveOptions{Data: "somewhere", Listen: []string{"localhost:0"}, Durability: "sync"}
}

func TestServeStopsWhenAsked(t *testing.T) {
	b, o := newFakeBroker(), localOptions()
	o.Admin = "127.0.0.1:0"
	said, err := serveWith(t, b, o, func(line string, interrupt func()) {
		defer interrupt()
		for _, want := range []string{"listening on 127.0.0.1:", "data in somewhere", "durability sync", "survives a power loss", version(), "\n"} {
			if !strings.Contains(line, want) {
				t.Errorf("the line %q does not tell %q", line, want)
			}
		}
		_, url, _ := strings.Cut(strings.TrimSpace(line), "admin on ")
		response, err := http.Get(url + "/healthz")
		if err != nil {
			t.Errorf("admin: %v", err)
			return
		}
		defer func() { _ = response.Body.Close() }()
		if body, err := io.ReadAll(response.Body); string(body) != "up" {
			t.Errorf("admin: %q, %v", body, err)
		}
	})
	if err != nil || said != "" {
		t.Errorf("%v, said %q", err, said)
	}
	select {
	case <-b.shutdown:
	default:
		t.Error("the broker was not shut down")
	}
}

func TestServeStorageFailureExits74(t *testing.T) {
	b := newFakeBroker()
	_, err := serveWith(t, b, localOptions(), func(string, func()) {
		b.err = errors.New("write journal: input/output error")
		close(b.failed)
		b.serve <- net.ErrClosed // as a broker does that closes its listeners then
	})
	if exitCode(err) != ExitStorage || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("code %d, %v", exitCode(err), err)
	}
}

// TestServeReadOnlyStays: a failure does not end serve when it is told so; at the
// end the code tells of it.
func TestServeReadOnlyStays(t *testing.T) {
	b, o := newFakeBroker(), localOptions()
	o.OnFailure = "readonly"
	b.shutdownErr = errors.New("sync: input/output error")
	_, err := serveWith(t, b, o, func(_ string, interrupt func()) {
		b.err = errors.New("write journal: input/output error")
		close(b.failed)
		interrupt()
	})
	if exitCode(err) != ExitStorage || !strings.Contains(err.Error(), "while stopping") {
		t.Errorf("code %d, %v", exitCode(err), err)
	}
}

func TestServeStorageFailureWhileStopping(t *testing.T) {
	b := newFakeBroker()
	b.shutdownErr, b.err = errors.New("sync: input/output error"), errors.New("storage failed")
	_, err := serveWith(t, b, localOptions(), func(_ string, interrupt func()) { interrupt() })
	if exitCode(err) != ExitStorage {
		t.Errorf("code %d, %v", exitCode(err), err)
	}
}

func TestServeListenerStops(t *testing.T) {
	b := newFakeBroker()
	_, err := serveWith(t, b, localOptions(), func(string, func()) { b.serve <- &net.OpError{Op: "accept", Err: syscall.EMFILE} })
	if exitCode(err) != ExitFailed || !strings.Contains(err.Error(), "too many open files") {
		t.Errorf("code %d, %v", exitCode(err), err)
	}
}

func TestServeInsecureWarns(t *testing.T) {
	o := localOptions()
	o.Insecure = true
	said, _ := serveWith(t, newFakeBroker(), o, func(_ string, interrupt func()) { interrupt() })
	if !strings.Contains(said, "WARN") {
		t.Errorf("said %q", said)
	}
}

func TestExplainOpen(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{fmt.Errorf("lock: %w", vfs.ErrLocked), 1, "in use by another weir"},
		{fmt.Errorf("open: %w", &storage.FormatError{Dir: "some-dir", Found: 9}), 1, "has format 9"},
		{fmt.Errorf("open: %w", &storage.CorruptError{}), 74, "is damaged"},
		{fmt.Errorf("open: %w", storage.ErrStorage), 74, "storage failed"},
		{fmt.Errorf("storage failed: %w", &fs.PathError{Op: "write", Path: "d", Err: syscall.ENOSPC}), 74, "the disk is full"},
		{fmt.Errorf("commit: %w", storage.ErrNoSpace), 74, "the disk is full"},
		{&fs.PathError{Op: "sync", Path: "d/checkpoint.tmp", Err: syscall.EIO}, 74, "input/output error"},
		{&fs.PathError{Op: "open", Path: "d/lock", Err: syscall.EACCES}, 1, "cannot be written"},
		{&fs.PathError{Op: "mkdir", Path: "d", Err: syscall.EROFS}, 1, "cannot be written"},
		{&fs.PathError{Op: "mkdir", Path: "d", Err: syscall.ENOTDIR}, 1, "is not a directory"},
		{errors.New("odd"), 1, "odd"},
	} {
		err := explainOpen("some-dir", c.err)
		if exitCode(err) != c.code || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "some-dir") {
			t.Errorf("%v: code %d, says %q, want %q", c.err, exitCode(err), err, c.says)
		}
	}
}

func TestListenLocalhostIsBothFamilies(t *testing.T) {
	all, err := listenAll(t.Context(), []string{"localhost:0"}, "--listen")
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(all)
	_, port, _ := net.SplitHostPort(all[0].Addr().String())
	if got := all[0].Addr().String(); got != "127.0.0.1:"+port {
		t.Errorf("first listener at %s", got)
	}
	if len(all) == 1 {
		t.Skip("this machine has no IPv6")
	}
	if got := all[1].Addr().String(); got != "[::1]:"+port {
		t.Errorf("second listener at %s, want the same port", got)
	}
}

func TestListenTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, err = listenAll(t.Context(), []string{"127.0.0.1:0", taken.Addr().String()}, "--listen")
	if exitCode(err) != ExitFailed || !strings.Contains(err.Error(), taken.Addr().String()+" is taken") {
		t.Errorf("code %d, %v", exitCode(err), err)
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"localhost:1": true, "127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false, "nonsense": false,
	} {
		if got := loopback(address); got != want {
			t.Errorf("loopback(%q) = %v", address, got)
		}
	}
}

func TestConfigFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yaml")
	content := "data: /from/file\nlisten: [localhost:1, \"127.0.0.1:2\"]\ndurability: os\non-storage-error: readonly\nadmin: localhost:3\nlog-level: warn\n" +
		"config:\n  num.partitions: 3\n  auto.create.topics.enable: false\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	parse := func(args ...string) (serveOptions, error) {
		var got serveOptions
		var flags serveFlags
		cmd := (&app{}).serveCommand()
		cmd.ResetFlags()
		flags.register(cmd)
		if err := cmd.ParseFlags(append([]string{"--config-file", file}, args...)); err != nil {
			t.Fatal(err)
		}
		got, err := flags.options(cmd.Flags())
		return got, err
	}
	want := serveOptions{
		Data: "/from/file", Listen: []string{"localhost:1", "127.0.0.1:2"}, Durability: "os", OnFailure: "readonly", Admin: "localhost:3", LogLevel: slog.LevelWarn,
		Settings: map[string]string{"num.partitions": "3", "auto.create.topics.enable": "false"},
	}
	got, err := parse()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\nwant - got +\n%s", err, diff)
	}
	want.Data, want.Listen, want.Durability, want.LogLevel = "flag", []string{"localhost:9"}, "sync", slog.LevelDebug
	want.Settings["num.partitions"] = "6"
	got, err = parse("--data", "flag", "--listen", "localhost:9", "--durability", "sync", "--log-level", "debug", "--config", "num.partitions=6")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("flags over the file: %v\nwant - got +\n%s", err, diff)
	}
}

func TestConfigFileRefuses(t *testing.T) {
	for content, says := range map[string]string{
		"dta: x":                     `line 1: unknown key "dta"`,
		"data: x\nnum.partitions: 3": `line 2: unknown key "num.partitions"`,
		"- a":                        "line 1: want keys and values",
		"data: [a]":                  "line 1",
		"data: a\ndata: b":           "already defined",
		"insecure: maybe":            "line 1",
		"data: a\n---\ndata: b":      "more than one",
		"data: \"":                   "yaml",
	} {
		if _, err := parseServeFile([]byte(content)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", content, err, says)
		}
	}
	for _, content := range []string{"", "# nothing\n", "data: x"} {
		if _, err := parseServeFile([]byte(content)); err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// TestConfigFileHasTheFlags: each flag is a key of the file, as --help says.
func TestConfigFileHasTheFlags(t *testing.T) {
	var flags []string
	(&app{}).serveCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "config-file" {
			flags = append(flags, f.Name)
		}
	})
	if diff := cmp.Diff(flags, serveFileKeys); diff != "" {
		t.Errorf("flags - keys +\n%s", diff)
	}
	file := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(file, []byte("log-level: loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), Env{}, "serve", "--config-file", file)
	if r.code != ExitUsage || !strings.Contains(r.errOut, "weir.yaml: log-level loud") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}

// TestAdminOnLocalhostIsBothFamilies: it answers at both, and says localhost.
func TestAdminOnLocalhostIsBothFamilies(t *testing.T) {
	b, o := newFakeBroker(), localOptions()
	o.Admin = "localhost:0"
	_, err := serveWith(t, b, o, func(line string, interrupt func()) {
		defer interrupt()
		_, port, found := strings.Cut(strings.TrimSpace(line), "admin on http://localhost:")
		if !found {
			t.Errorf("announced %q", line)
		}
		for _, host := range []string{"127.0.0.1", "::1"} {
			c, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				continue // this machine has no IPv6
			}
			if err != nil {
				t.Error(err)
				continue
			}
			_ = c.Close()
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add("data: a\nlisten: [b, c]\nconfig: {a: 1}\n")
	f.Add("# c\n")
	f.Add("&a [*a]")
	f.Fuzz(func(_ *testing.T, s string) { _, _ = parseServeFile([]byte(s)) })
}

// TestNoTopicIsUnknownWhileStarting: a client that connects while the broker
// still recovers is answered when all topics are known, and not before.
func TestNoTopicIsUnknownWhileStarting(t *testing.T) {
	dir, _ := filled(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	recovering, finish := make(chan struct{}), make(chan struct{})
	reader, writer := io.Pipe()
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	a := &app{
		Env: Env{Stdout: writer, Stderr: io.Discard},
		open: func(ctx context.Context, o serveOptions, logger *slog.Logger) (embedded, error) {
			close(recovering)
			<-finish
			return openBroker(ctx, o, logger)
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- a.serve(ctx, serveOptions{Data: dir, Listen: []string{address}, Durability: "sync"})
	}()
	<-recovering
	connected := make(chan struct{})
	once := sync.OnceFunc(func() { close(connected) })
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		once()
		return c, err
	}
	listed := make(chan result, 1)
	go func() { listed <- run(t.Context(), Env{Dial: dial}, "topic", "describe", "orders", "-b", address) }()
	<-connected
	select {
	case r := <-listed:
		t.Errorf("answered while it recovers: code %d, said %q", r.code, r.errOut)
	default:
	}
	close(finish)
	if r := <-listed; r.code != ExitOK {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	_ = writer.Close()
}
