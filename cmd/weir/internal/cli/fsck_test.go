package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker"
)

// filled makes a data directory with one topic of 100 records, its broker
// stopped, and returns it with the topic's segment file.
func filled(t *testing.T) (dir, segment string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	b, err := broker.Open(t.Context(), broker.Config{Dir: dir, JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	env := Env{Dial: b.DialContext}
	mustRun(t, env, "topic create orders -p 1")
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.DialContext), kgo.DefaultProduceTopic("orders"),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord(strings.Repeat("value", 50))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cl.Close()
	if err := b.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "topics", "*", "0-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		if info, err := os.Stat(name); err == nil && info.Size() > 20_000 {
			return dir, name
		}
	}
	t.Fatalf("no segment among %v", found)
	return "", ""
}

func damage(t *testing.T, name string, at int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFsck: clean, damaged and unreadable directories have codes 0, 3 and 1; the
// rows tell place and next step, and a salvage leaves a directory to start on.
func TestFsck(t *testing.T) {
	dir, segment := filled(t)
	if r := run(t.Context(), Env{}, "fsck", dir); r.code != ExitOK || !strings.Contains(r.errOut, "1 topics") {
		t.Fatalf("clean: code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	damage(t, segment, 5000)
	r := run(t.Context(), Env{}, "fsck", dir, "-O", "json")
	var doc struct {
		Kind  string
		Items []struct {
			Finding, Topic, File, Reason, Next string
			Offset                             int64
		}
	}
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || r.code != ExitCondition || len(doc.Items) != 2 {
		t.Fatalf("damaged: code %d, %v, said %q, printed %q", r.code, err, r.errOut, r.out)
	}
	if p := doc.Items[0]; p.Finding != "damage" || p.Topic != "orders" || p.File != segment || p.Offset == 0 || !strings.Contains(p.Next, "--salvage") {
		t.Errorf("%+v", p)
	}
	out := filepath.Join(t.TempDir(), "out")
	if r := run(t.Context(), Env{}, "fsck", dir, "--salvage", out); r.code != ExitCondition || !strings.Contains(r.out, "lost") {
		t.Fatalf("salvage: code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	if r := run(t.Context(), Env{}, "fsck", out); r.code != ExitOK {
		t.Errorf("the copy: code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	b, err := broker.Open(t.Context(), broker.Config{Dir: out, JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	got := mustRun(t, Env{Dial: b.DialContext}, "consume orders -o start -e")
	if n := strings.Count(got, "\n"); n < 90 || n > 99 {
		t.Errorf("%d records can be read, of 100", n)
	}
	if r := run(t.Context(), Env{}, "fsck", out); r.code != ExitFailed || !strings.Contains(r.errOut, "in use") {
		t.Errorf("in use: code %d, said %q", r.code, r.errOut)
	}
	if r := run(t.Context(), Env{}, "fsck", dir, "--salvage", out); r.code != ExitFailed || !strings.Contains(r.errOut, "not empty") {
		t.Errorf("salvage over data: code %d, said %q", r.code, r.errOut)
	}
	if r := run(t.Context(), Env{}, "fsck", t.TempDir()); r.code != ExitFailed || !strings.Contains(r.errOut, "no data of weir") {
		t.Errorf("nothing there: code %d, said %q", r.code, r.errOut)
	}
}

// TestFsckWithoutMetadata: topics whose record is lost come back under a name of
// their id, and the cluster starts.
func TestFsckWithoutMetadata(t *testing.T) {
	dir, _ := filled(t)
	damage(t, filepath.Join(dir, "topics", "00000000000000000000000000000001", "0-00000000000000000000.log"), 70)
	found, err := filepath.Glob(filepath.Join(dir, "topics", "00000000000000000000000000000001", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found { // all its batches
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for k := 80; k < len(b); k += 100 {
			b[k] ^= 1
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	r := run(t.Context(), Env{}, "fsck", dir, "--salvage", out)
	if r.code != ExitCondition {
		t.Fatalf("code %d, said %q, printed %q", r.code, r.errOut, r.out)
	}
	b, err := broker.Open(t.Context(), broker.Config{Dir: out, JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	names := mustRun(t, Env{Dial: b.DialContext}, "topic list -O name")
	if !strings.HasPrefix(names, "salvaged.") {
		t.Fatalf("topics %q", names)
	}
	got := mustRun(t, Env{Dial: b.DialContext}, "consume "+strings.TrimSpace(names)+" -o start -e")
	if n := strings.Count(got, "\n"); n != 100 {
		t.Errorf("%d records can be read, of 100", n)
	}
}

// TestFsckForms: every format is what the contracts say, an interruption is 130,
// and a reader that goes away hides no damage.
func TestFsckForms(t *testing.T) {
	dir, segment := filled(t)
	damage(t, segment, 5000)
	for format, begin := range map[string]string{
		"table": "FINDING", "wide": "FINDING", "csv": "finding,topic,partition,offset,to,file,byte,reason,next,error\n",
		"json": "{\n  \"apiVersion\": \"weir/v1\",\n  \"kind\": \"FsckFindings\"", "yaml": "apiVersion: weir/v1\nkind: FsckFindings\n", "name": "damage\n",
	} {
		if r := run(t.Context(), Env{}, "fsck", dir, "-O", format); r.code != ExitCondition || !strings.HasPrefix(r.out, begin) {
			t.Errorf("-O %s: code %d, printed %q", format, r.code, r.out)
		}
	}
	if r := run(t.Context(), Env{Stdout: &lines{fail: syscall.EPIPE}}, "fsck", dir); r.code != ExitCondition {
		t.Errorf("nobody reads: code %d, said %q", r.code, r.errOut)
	}
	for _, within := range []string{dir, dir + "/.", filepath.Join(dir, "in")} {
		if r := run(t.Context(), Env{}, "fsck", dir, "--salvage", within); r.code != ExitUsage || !strings.Contains(r.errOut, "elsewhere") {
			t.Errorf("--salvage %s: code %d, said %q", within, r.code, r.errOut)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := run(ctx, Env{}, "fsck", dir); r.code != ExitInterrupted || r.out != "" {
		t.Errorf("interrupted: code %d, said %q", r.code, r.errOut)
	}
	out := filepath.Join(t.TempDir(), "out")
	if r := run(ctx, Env{}, "fsck", dir, "--salvage", out); r.code != ExitInterrupted || !strings.Contains(r.errOut, out+" is not whole") {
		t.Errorf("interrupted salvage: code %d, said %q", r.code, r.errOut)
	}
}
