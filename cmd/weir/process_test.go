package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a process; a healthy one needs far less.
const patience = time.Minute

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// process is a "weir serve" of its own.
type process struct {
	cmd     *exec.Cmd
	address string // where it listens
	ended   chan struct{}
	err     error // of Wait, once ended is closed
	stderr  *output
}

// output keeps what a process says, while it says it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// spawn starts the process and does not wait for anything.
func spawn(t *testing.T, cmd *exec.Cmd) (*process, *bufio.Reader) {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{}), stderr: &output{}}
	cmd.Stderr = p.stderr
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close() // the child has its own
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill(t)
		_ = reader.Close()
	})
	return p, bufio.NewReader(reader)
}

// serve starts a broker and waits for the line that says where it listens.
func serve(t *testing.T, args ...string) *process {
	t.Helper()
	p, stdout := spawn(t, exec.Command("weir", append([]string{"serve"}, args...)...))
	line := make(chan string, 1)
	go func() {
		text, _ := stdout.ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		found := listening.FindStringSubmatch(text)
		if found == nil {
			<-p.ended
			t.Fatalf("serve %s did not start: %v\n%s%s", strings.Join(args, " "), p.err, text, p.stderr)
		}
		p.address = found[1]
	case <-time.After(patience):
		t.Fatalf("serve %s did not start in %v\n%s", strings.Join(args, " "), patience, p.stderr)
	}
	return p
}

// kill ends the process as a power button would, by its own pid.
func (p *process) kill(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Kill() // it may have ended on its own
	p.wait(t)
}

// terminate asks the process to end and returns how long it took.
func (p *process) terminate(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
	return time.Since(begin)
}

func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("process %d does not end\n%s", p.cmd.Process.Pid, p.stderr)
	}
}

// refused runs a serve that must not start, and returns its code and words.
func refused(t *testing.T, cmd *exec.Cmd) (code int, says string) {
	t.Helper()
	p, _ := spawn(t, cmd)
	p.wait(t)
	return p.cmd.ProcessState.ExitCode(), p.stderr.String()
}

func serveCommand(args ...string) *exec.Cmd {
	return exec.Command("weir", append([]string{"serve"}, args...)...)
}

// deadline is a context for the questions a test asks.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
