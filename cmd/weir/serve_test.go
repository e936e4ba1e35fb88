package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/cmd/weir/internal/cli"
)

func client(t *testing.T, p *process, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(p.address), kgo.AllowAutoTopicCreation()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestServeStopsOnSIGTERM(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := serve(t, "--data", dir, "--listen", "localhost:0")
	cl := client(t, p, kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.FetchMaxWait(time.Minute))
	if err := cl.ProduceSync(deadline(t), kgo.StringRecord("kept")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := cl.PollFetches(deadline(t)).NumRecords(); got != 1 {
		t.Fatalf("consumed %d records, want 1", got)
	}
	// The next fetch now waits for records; the end must not wait for it.
	took := p.terminate(t)
	if code := p.cmd.ProcessState.ExitCode(); code != cli.ExitOK || took > 2*time.Second {
		t.Errorf("exit code %d after %v, want 0 within 2s\n%s", code, took, p.stderr)
	}

	again := serve(t, "--data", dir, "--listen", "127.0.0.1:0")
	reader := client(t, again, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	records := reader.PollFetches(deadline(t)).Records()
	if len(records) != 1 || string(records[0].Value) != "kept" {
		t.Errorf("after the restart there are %d records, want the one that was acknowledged", len(records))
	}
}

func TestServeSecondBrokerOnOneDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := serve(t, "--data", dir, "--listen", "127.0.0.1:0")
	code, says := refused(t, serveCommand("--data", dir, "--listen", "127.0.0.1:0"))
	if code != cli.ExitFailed || !strings.Contains(says, dir+" is in use by another weir") || !strings.Contains(says, "--data") {
		t.Errorf("exit code %d, says %q", code, says)
	}
	// The first is not disturbed.
	cl := client(t, first, kgo.DefaultProduceTopic("t"))
	if err := cl.ProduceSync(deadline(t), kgo.StringRecord("v")).FirstErr(); err != nil {
		t.Error(err)
	}
}

func TestServeTakenPort(t *testing.T) {
	first := serve(t, "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0")
	dir := filepath.Join(t.TempDir(), "data")
	code, says := refused(t, serveCommand("--data", dir, "--listen", first.address))
	if code != cli.ExitFailed || !strings.Contains(says, first.address+" is taken") || !strings.Contains(says, "--listen") {
		t.Errorf("exit code %d, says %q", code, says)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a broker that could not listen has left a directory: %v", err)
	}
	// The same for the admin address.
	code, says = refused(t, serveCommand("--data", dir, "--listen", "127.0.0.1:0", "--admin", first.address))
	if code != cli.ExitFailed || !strings.Contains(says, "--admin") {
		t.Errorf("exit code %d, says %q", code, says)
	}
}

func TestServeDataIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, says := refused(t, serveCommand("--data", file, "--listen", "127.0.0.1:0"))
	if code != cli.ExitFailed || !strings.Contains(says, file+" is not a directory") {
		t.Errorf("exit code %d, says %q", code, says)
	}
}

func TestServeAdmin(t *testing.T) {
	p, stdout := spawn(t, serveCommand("--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"))
	line, err := stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr)
	}
	_, url, _ := strings.Cut(strings.TrimSpace(line), "admin on ")
	for path, want := range map[string]string{"/healthz": "", "/readyz": "", "/metrics": `(?m)^weir_broker_info\{`, "/debug/pprof/": "goroutine"} {
		response, err := http.Get(url + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !regexp.MustCompile(want).Match(body) {
			t.Errorf("%s: %s, %v, %.200q", path, response.Status, err, body)
		}
	}
	if took := p.terminate(t); took > 2*time.Second || p.cmd.ProcessState.ExitCode() != cli.ExitOK {
		t.Errorf("exit code %d after %v", p.cmd.ProcessState.ExitCode(), took)
	}
}

// TestServeNewerFormat: data of a version to come is left alone.
func TestServeNewerFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	serve(t, "--data", dir, "--listen", "127.0.0.1:0").terminate(t)
	name := filepath.Join(dir, "format")
	now, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	newer := regexp.MustCompile(`\d+`).ReplaceAll(now, []byte("99"))
	if err := os.WriteFile(name, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	code, says := refused(t, serveCommand("--data", dir, "--listen", "127.0.0.1:0"))
	if code != cli.ExitFailed || !strings.Contains(says, dir) || !strings.Contains(says, "99") || !strings.Contains(says, "--data") {
		t.Errorf("exit code %d, says %q", code, says)
	}
	if after, err := os.ReadFile(name); string(after) != string(newer) {
		t.Errorf("the refused start has changed the directory: %q, %v", after, err)
	}
}
