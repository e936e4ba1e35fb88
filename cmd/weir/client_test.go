package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/cmd/weir/internal/cli"
)

// fresh starts a broker with a topic t that holds these values.
func fresh(t *testing.T, values ...string) (*process, *kgo.Client) {
	t.Helper()
	p := serve(t, "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0")
	cl := client(t, p, kgo.DefaultProduceTopic("t"))
	if _, err := kadm.NewClient(cl).CreateTopic(deadline(t), 1, -1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := cl.ProduceSync(deadline(t), kgo.StringRecord(v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return p, cl
}

// TestConsumeInterruptedCommits: Ctrl-C ends consume -g with 130, after it has
// committed what it printed.
func TestConsumeInterruptedCommits(t *testing.T) {
	p, cl := fresh(t, "1", "2", "3")
	consumer, stdout := spawn(t, exec.Command("weir", "consume", "t", "-g", "g", "-b", p.address))
	for _, want := range []string{"1\n", "2\n", "3\n"} {
		if line, err := stdout.ReadString('\n'); line != want {
			t.Fatalf("printed %q, want %q (%v)\n%s", line, want, err, consumer.stderr)
		}
	}
	if err := consumer.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	consumer.wait(t)
	if code := consumer.cmd.ProcessState.ExitCode(); code != cli.ExitInterrupted {
		t.Errorf("exit code %d, want %d\n%s", code, cli.ExitInterrupted, consumer.stderr)
	}
	admin := kadm.NewClient(cl)
	offsets, err := admin.FetchOffsets(deadline(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("t", 0); !ok || o.At != 3 {
		t.Errorf("committed %d, want 3", o.At)
	}
	// It has left, too: nobody waits for its session to time out.
	groups, err := admin.DescribeGroups(deadline(t), "g")
	if err != nil || len(groups["g"].Members) != 0 {
		t.Errorf("members left in the group: %v, %v", groups["g"].Members, err)
	}
}

// TestConsumeBrokenPipe: a reader that goes away is no failure.
func TestConsumeBrokenPipe(t *testing.T) {
	p, cl := fresh(t, "1")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("weir", "consume", "t", "-b", p.address)
	said := &output{}
	cmd.Stdout, cmd.Stderr = writer, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	consumer := &process{cmd: cmd, ended: make(chan struct{}), stderr: said}
	go func() {
		consumer.err = cmd.Wait()
		close(consumer.ended)
	}()
	t.Cleanup(func() { consumer.kill(t) })
	_ = writer.Close()
	if _, err := io.ReadFull(reader, make([]byte, 2)); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(deadline(t), kgo.StringRecord("2")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	consumer.wait(t)
	if code := cmd.ProcessState.ExitCode(); code != cli.ExitOK || said.String() != "" {
		t.Errorf("exit code %d, said %q; want a quiet end", code, said)
	}
}

// TestProduceBrokerGone: what is not acknowledged is counted and told.
func TestProduceBrokerGone(t *testing.T) {
	p, cl := fresh(t)
	stdin, lines := io.Pipe()
	cmd := exec.Command("weir", "produce", "t", "-b", p.address, "--delivery-timeout", "2s", "--timeout", "2s")
	cmd.Stdin = stdin
	producer, _ := spawn(t, cmd)
	if _, err := io.WriteString(lines, "kept\n"); err != nil {
		t.Fatal(err)
	}
	cl.AddConsumeTopics("t")
	if got := cl.PollFetches(deadline(t)).NumRecords(); got != 1 {
		t.Fatalf("%d records arrived, want 1\n%s", got, producer.stderr)
	}
	// That it can be read is not yet that its producer has heard of it: a broker that
	// is asked to end answers first.
	p.terminate(t)
	if _, err := io.WriteString(lines, "lost\n"); err != nil {
		t.Fatal(err)
	}
	_ = lines.Close()
	producer.wait(t)
	says := producer.stderr.String()
	if code := producer.cmd.ProcessState.ExitCode(); code != cli.ExitUnreachable ||
		!strings.Contains(says, "1 record to t") || !strings.Contains(says, "1 record not acknowledged") {
		t.Errorf("exit code %d, says %q", code, says)
	}
}

// TestTail begins at the end and prints what comes.
func TestTail(t *testing.T) {
	p, cl := fresh(t, "old")
	tail, stdout := spawn(t, exec.Command("weir", "tail", "t", "-n", "1", "-b", p.address))
	line := make(chan string, 1)
	go func() {
		text, _ := stdout.ReadString('\n')
		line <- text
	}()
	// It may look the end up at any moment from now: go on until it has.
	for {
		if err := cl.ProduceSync(deadline(t), kgo.StringRecord("new")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-line:
			if got != "new\n" {
				t.Errorf("printed %q\n%s", got, tail.stderr)
			}
			tail.wait(t)
			return
		default:
		}
	}
}
