//go:build unix

package interop

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds each wait for another program; it is long because the Java
// virtual machines of a loaded machine are slow, and no figure is taken from it.
const patience = 60 * time.Second

// longest bounds a program that is run to its end.
const longest = 4 * time.Minute

// process is a program that runs beside the test, line by line.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{} // closed when its output ended

	ended bool // it was waited for; its id may belong to another by now

	taken func(line string) bool

	mu struct {
		sync.Mutex
		lines []string
		grown chan struct{} // closed at each line
	}
}

// start runs a program until the test ends; env is added to the test's own.
func start(t *testing.T, name string, env []string, path string, args ...string) *process {
	t.Helper()
	return startTaken(t, name, func(string) bool { return false }, env, path, args...)
}

// startTaken is start with somebody who is shown each line: what is taken is
// not kept.
func startTaken(t *testing.T, name string, taken func(line string) bool, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(path, args...), done: make(chan struct{}), taken: taken}
	p.mu.grown = make(chan struct{})
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	w.Close()
	go p.read(out)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, p.output())
		}
	})
	return p
}

func (p *process) read(out *os.File) {
	defer close(p.done)
	defer out.Close()
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if p.taken(sc.Text()) {
			continue
		}
		p.mu.Lock()
		p.mu.lines = append(p.mu.lines, sc.Text())
		close(p.mu.grown)
		p.mu.grown = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.mu.lines, "\n")
}

// until waits until ok says so of the lines printed so far.
func (p *process) until(what string, ok func(lines []string) bool) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		fine, grown := ok(p.mu.lines), p.mu.grown
		p.mu.Unlock()
		if fine {
			return
		}
		select {
		case <-grown:
		case <-p.done:
			p.mu.Lock()
			fine := ok(p.mu.lines)
			p.mu.Unlock()
			if !fine {
				p.t.Fatalf("%s ended before %s; it printed:\n%s", p.name, what, p.output())
			}
			return
		case <-deadline:
			p.t.Fatalf("%s: no %s within %v; it printed:\n%s", p.name, what, patience, p.output())
		}
	}
}

// says waits for a line that contains text.
func (p *process) says(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("line with %q", text), func(lines []string) bool { return countLines(lines, text) > 0 })
}

// finish waits for the end and wants exit code 0.
func (p *process) finish() string {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(longest):
		p.t.Fatalf("%s did not end within %v; it printed:\n%s", p.name, longest, p.output())
	}
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("%s: %v; it printed:\n%s", p.name, err, p.output())
	}
	return p.output()
}

// kill ends the process group that start made, at once.
func (p *process) kill() {
	if p.ended {
		return
	}
	p.ended = true
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
	_ = p.cmd.Wait()
}

// terminate asks the process to end, and waits until it has. A Java virtual
// machine then tells of the signal in its exit code, so nobody looks at that.
func (p *process) terminate() {
	p.t.Helper()
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end within %v of SIGTERM; it printed:\n%s", p.name, patience, p.output())
	}
	p.ended = true
	_ = p.cmd.Wait()
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, name string, env []string, stdin string, path string, args ...string) string {
	t.Helper()
	p := start(t, name, env, path, args...)
	if _, err := io.WriteString(p.in, stdin); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p.in.Close()
	return p.finish()
}

func countLines(lines []string, text string) (n int) {
	for _, l := range lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}
