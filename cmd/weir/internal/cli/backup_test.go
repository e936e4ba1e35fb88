package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker"
)

func openAt(t *testing.T, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Dir: dir, JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Shutdown(context.Background()) }) // some stop it themselves
	return b
}

func clientOf(t *testing.T, b *broker.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.DialContext))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestBackupUnderLoad archives a broker while it is written to and a group
// commits, and restores it. A ledger says what must be there: each record that
// was acknowledged before, in the order it was sent, and no offset of the group
// behind the end of a log.
func TestBackupUnderLoad(t *testing.T) {
	tmp := t.TempDir()
	b := openAt(t, filepath.Join(tmp, "data"))
	server := httptest.NewServer(b.Handler())
	defer server.Close()
	mustRun(t, Env{Dial: b.DialContext}, "topic create orders -p 3")
	cl := clientOf(t, b, kgo.DefaultProduceTopic("orders"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	adm := kadm.NewClient(cl)
	ctx, stop := context.WithCancel(t.Context())
	var acked [3]atomic.Int64
	done, under := make(chan struct{}, 3), make(chan struct{}, 3)
	for n := range acked {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := int64(0); ctx.Err() == nil; i++ {
				r := &kgo.Record{Partition: int32(n), Value: []byte(strings.Repeat("x", int(i%300)))}
				if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil || r.Offset != i {
					t.Errorf("record %d of partition %d: offset %d, %v", i, n, r.Offset, err)
					return
				}
				acked[n].Store(i + 1)
				if i == 20 {
					under <- struct{}{}
				}
				if i%7 == 0 {
					offsets := kadm.Offsets{}
					offsets.AddOffset("orders", int32(n), i+1, -1)
					if err := adm.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
						t.Error(err)
						return
					}
				}
			}
		}()
	}
	for range acked {
		<-under
	}
	admin := strings.TrimPrefix(server.URL, "http://")
	for round := range 3 {
		var before [3]int64
		for n := range acked {
			before[n] = acked[n].Load()
		}
		archive := filepath.Join(tmp, "archive"+string(rune('0'+round)))
		if r := run(t.Context(), Env{}, "backup", "--admin", admin, archive); r.code != ExitOK || !strings.Contains(r.errOut, "bytes") {
			t.Fatalf("backup: code %d, said %q", r.code, r.errOut)
		}
		verifyRestored(t, archive, filepath.Join(tmp, "restored"+string(rune('0'+round))), before)
	}
	stop()
	for range acked {
		<-done
	}
}

func verifyRestored(t *testing.T, archive, dir string, before [3]int64) {
	t.Helper()
	if r := run(t.Context(), Env{}, "restore", archive, dir); r.code != ExitOK || !strings.Contains(r.errOut, "weir serve --data "+dir) {
		t.Fatalf("restore: code %d, said %q", r.code, r.errOut)
	}
	b := openAt(t, dir)
	adm := kadm.NewClient(clientOf(t, b))
	ends, err := adm.ListEndOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	committed, err := adm.FetchOffsets(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for n := range before {
		end, _ := ends.Lookup("orders", int32(n))
		if end.Offset < before[n] {
			t.Errorf("partition %d ends at %d, %d were acknowledged before", n, end.Offset, before[n])
		}
		if c, ok := committed.Lookup("orders", int32(n)); !ok || c.At > end.Offset || c.At < before[n]-14 {
			t.Errorf("partition %d: committed %d, end %d, %d were acknowledged before", n, c.At, end.Offset, before[n])
		}
		total += end.Offset
	}
	cl := clientOf(t, b, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var next [3]int64
	for got := int64(0); got < total; {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] || len(r.Value) != int(r.Offset%300) {
				t.Errorf("partition %d: offset %d with %d bytes, want offset %d", r.Partition, r.Offset, len(r.Value), next[r.Partition])
			}
			next[r.Partition], got = r.Offset+1, got+1
		})
	}
	if err := b.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestBackupOffline archives a directory on which no broker runs, by way of a
// pipe, and refuses what it should.
func TestBackupOffline(t *testing.T) {
	dir, segment := filled(t)
	r := run(t.Context(), Env{}, "backup", "--data", dir, "-")
	if r.code != ExitOK || len(r.out) < 20_000 {
		t.Fatalf("code %d, %d bytes, said %q", r.code, len(r.out), r.errOut)
	}
	out := filepath.Join(t.TempDir(), "out")
	if r := run(t.Context(), Env{Stdin: strings.NewReader(r.out)}, "restore", "-", out); r.code != ExitOK {
		t.Fatalf("restore: code %d, said %q", r.code, r.errOut)
	}
	if r := run(t.Context(), Env{Stdin: strings.NewReader(r.out)}, "restore", "-", out); r.code != ExitFailed || !strings.Contains(r.errOut, "not empty") {
		t.Errorf("over data: code %d, said %q", r.code, r.errOut)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if r := run(t.Context(), Env{Stdin: strings.NewReader(r.out[:len(r.out)/2])}, "restore", "-", bad); r.code != ExitFailed || !strings.Contains(r.errOut, "not a whole backup") {
		t.Errorf("half an archive: code %d, said %q", r.code, r.errOut)
	}
	flipped := bytes.Replace([]byte(r.out), []byte("valuevalue"), []byte("valueValue"), 1)
	bad = filepath.Join(t.TempDir(), "bad")
	if r := run(t.Context(), Env{Stdin: bytes.NewReader(flipped)}, "restore", "-", bad); r.code != ExitFailed || !strings.Contains(r.errOut, "checksum") {
		t.Errorf("a damaged archive: code %d, said %q", r.code, r.errOut)
	}
	if _, err := broker.Open(t.Context(), broker.Config{Dir: bad}); err == nil {
		t.Error("what was refused opens")
	}
	archive := filepath.Join(t.TempDir(), "archive")
	damage(t, segment, 5000)
	if r := run(t.Context(), Env{}, "backup", "--data", dir, archive); r.code != ExitStorage || !strings.Contains(r.errOut, "weir fsck") {
		t.Errorf("damaged data: code %d, said %q", r.code, r.errOut)
	}
	if left, err := filepath.Glob(archive + "*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := os.WriteFile(archive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t.Context(), Env{}, "backup", "--data", dir, archive); r.code != ExitFailed || !strings.Contains(r.errOut, "exists") {
		t.Errorf("over a file: code %d, said %q", r.code, r.errOut)
	}
	if r := run(t.Context(), Env{}, "backup", "--data", t.TempDir(), archive+"2"); r.code != ExitFailed || !strings.Contains(r.errOut, "no data of weir") {
		t.Errorf("an empty directory: code %d, said %q", r.code, r.errOut)
	}
	if r := run(t.Context(), Env{}, "backup", "--admin", "127.0.0.1:1", archive+"2"); r.code != ExitUnreachable || !strings.Contains(r.errOut, "weir serve --admin") {
		t.Errorf("no broker: code %d, said %q", r.code, r.errOut)
	}
}

// TestBackupBrokenOff: damage found midway ends the stream so that the client
// knows, and no archive is left.
func TestBackupBrokenOff(t *testing.T) {
	dir, segment := filled(t)
	damage(t, segment, 5000)
	b := openAt(t, dir)
	server := httptest.NewServer(b.Handler())
	defer server.Close()
	archive := filepath.Join(t.TempDir(), "archive")
	r := run(t.Context(), Env{}, "backup", "--admin", strings.TrimPrefix(server.URL, "http://"), archive)
	if r.code != ExitFailed || !strings.Contains(r.errOut, "broke off") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
	if left, err := filepath.Glob(archive + "*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestBackupRefused: a broker whose storage has failed says so, and what can be
// done is told.
func TestBackupRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "storage failed: input/output error", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	r := run(t.Context(), Env{}, "backup", "--admin", strings.TrimPrefix(server.URL, "http://"), filepath.Join(t.TempDir(), "archive"))
	if r.code != ExitFailed || !strings.Contains(r.errOut, "storage failed: input/output error: once it has ended, archive its directory with --data") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}

// TestBackupInterrupted: Ctrl-C is 130, and leaves nothing under the archive's name.
func TestBackupInterrupted(t *testing.T) {
	dir, _ := filled(t)
	asked := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer silent.Close()
	archive := filepath.Join(t.TempDir(), "archive")
	ctx, interrupt := context.WithCancel(t.Context())
	go func() { <-asked; interrupt() }()
	for _, args := range [][]string{ // the first interrupts, and the context stays so
		{"backup", archive, "--admin", strings.TrimPrefix(silent.URL, "http://")},
		{"backup", archive, "--data", dir},
		{"backup", "-", "--data", dir},
	} {
		if r := run(ctx, Env{}, args...); r.code != ExitInterrupted {
			t.Errorf("weir %v: code %d, said %q", args, r.code, r.errOut)
		}
	}
	if left, err := filepath.Glob(archive + "*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestRestoreInterrupted: also when the archive comes by a pipe that is silent.
func TestRestoreInterrupted(t *testing.T) {
	from, _ := filled(t)
	whole := run(t.Context(), Env{}, "backup", "--data", from, "-").out
	silent, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	asked := &once{asked: make(chan struct{})} // for more, when all before was taken
	half := io.MultiReader(strings.NewReader(whole[:len(whole)/2]), asked, silent)
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan result, 1)
	dir := filepath.Join(t.TempDir(), "dir")
	go func() { done <- run(ctx, Env{Stdin: half}, "restore", "-", dir) }()
	<-asked.asked
	interrupt()
	if r := <-done; r.code != ExitInterrupted || !strings.Contains(r.errOut, dir+" is not whole") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
	for _, args := range [][]string{{"serve", "--data", dir, "--listen", "localhost:0"}, {"fsck", dir}} {
		if r := run(t.Context(), Env{}, args...); r.code != ExitFailed || !strings.Contains(r.errOut, dir) || !strings.Contains(r.errOut, "was broken off: run that again") {
			t.Errorf("weir %v: code %d, said %q", args, r.code, r.errOut)
		}
	}
	if r := run(t.Context(), Env{Stdin: strings.NewReader(whole)}, "restore", "-", dir); r.code != 0 {
		t.Errorf("restored again: code %d, said %q", r.code, r.errOut)
	}
	if r := run(t.Context(), Env{}, "backup", "--data", dir, "-"); r.code != 0 || len(r.out) != len(whole) {
		t.Errorf("backed up again: code %d, %d bytes of %d, said %q", r.code, len(r.out), len(whole), r.errOut)
	}
}

// once is an empty reader that tells when it is read.
type once struct{ asked chan struct{} }

func (o *once) Read([]byte) (int, error) {
	close(o.asked)
	return 0, io.EOF
}

// TestBackupReaderGone: an archive that nobody took whole is none, whatever the
// reader's reason.
func TestBackupReaderGone(t *testing.T) {
	dir, _ := filled(t)
	for _, gone := range []error{syscall.EPIPE, syscall.ENOSPC} {
		r := run(t.Context(), Env{Stdout: &lines{fail: gone}}, "backup", "-", "--data", dir)
		if r.code != ExitFailed || !strings.Contains(r.errOut, "the archive is not whole") {
			t.Errorf("%v: code %d, said %q", gone, r.code, r.errOut)
		}
	}
	if r := run(t.Context(), Env{StdoutTTY: true}, "backup", "-", "--data", dir); r.code != ExitUsage {
		t.Errorf("to a terminal: code %d, said %q", r.code, r.errOut)
	}
}

// TestBackupOfADirectoryInUse says how to ask the broker instead.
func TestBackupOfADirectoryInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	openAt(t, dir)
	r := run(t.Context(), Env{}, "backup", "-", "--data", dir)
	if r.code != ExitFailed || !strings.Contains(r.errOut, "--admin") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}
