package sim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Command makes the command that serves the data directory at the address.
type Command func(dir, address string) *exec.Cmd

// WeirCommand serves with the weir binary at path.
func WeirCommand(path, durability string) Command {
	return func(dir, address string) *exec.Cmd {
		args := []string{"serve", "--data", dir, "--listen", address, "--durability", durability}
		for name, value := range Settings() {
			args = append(args, "--config", name+"="+value)
		}
		return exec.Command(path, args...)
	}
}

// Process is a broker process that is started and ended many times on one
// directory and one address. One goroutine uses it; Incarnation may be called by
// all.
type Process struct {
	Command Command
	Dir     string
	Address string                                   // "127.0.0.1:0" until the first start
	Spawn   func(start func() error) error           // optional: runs start where the process shall live
	Victim  func(cmd *exec.Cmd) (*os.Process, error) // optional: the process to signal, if it is not the command's own

	cmd    *exec.Cmd
	victim *os.Process
	ended  chan struct{}
	said   *lastWords

	mu struct {
		sync.Mutex
		incarnation int
	}
}

// startPatience bounds a start, stopPatience an end.
const (
	startPatience = 30 * time.Second
	stopPatience  = 20 * time.Second
)

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// ErrEnded: the process ended instead of listening.
var ErrEnded = errors.New("the broker ended while it started")

// Start starts the process and returns how long it took to listen.
func (p *Process) Start() (time.Duration, error) {
	begin := time.Now()
	line, err := p.Launch()
	if err != nil {
		return 0, err
	}
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case text := <-line:
		found := listening.FindStringSubmatch(text)
		if found == nil {
			p.wait(stopPatience)
			return 0, fmt.Errorf("%w with code %d: %s%s", ErrEnded, p.Code(), text, p.said)
		}
		p.Address = found[1]
		return time.Since(begin), nil
	case <-timer.C:
		_ = p.Kill()
		return 0, fmt.Errorf("the broker does not listen after %v: %s", startPatience, p.said)
	}
}

// Launch starts the process; its first line comes over the channel, an empty
// one if it ends before.
func (p *Process) Launch() (<-chan string, error) {
	cmd := p.Command(p.Dir, p.Address)
	p.said = &lastWords{}
	cmd.Stderr = p.said
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = writer
	err = p.spawn(cmd.Start)
	_ = writer.Close() // the child has its own
	if err != nil {
		_ = reader.Close()
		return nil, fmt.Errorf("start broker: %w", err)
	}
	p.cmd, p.victim, p.ended = cmd, cmd.Process, make(chan struct{})
	p.mu.Lock()
	p.mu.incarnation++
	p.mu.Unlock()
	ended, line := p.ended, make(chan string, 1)
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	go func() {
		text, _ := bufio.NewReader(reader).ReadString('\n')
		line <- text
		// It says nothing more; the pipe is kept so that it could.
		<-ended
		_ = reader.Close()
	}()
	if p.Victim != nil {
		if p.victim, err = p.Victim(cmd); err != nil {
			_ = cmd.Process.Kill() // it may have ended on its own
			return nil, errors.Join(err, p.wait(stopPatience))
		}
	}
	return line, nil
}

// spawn runs f where the process lives.
func (p *Process) spawn(f func() error) error {
	if p.Spawn == nil {
		return f()
	}
	return p.Spawn(f)
}

// Incarnation is how often the process was started.
func (p *Process) Incarnation() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.incarnation
}

// Alive says whether the process runs.
func (p *Process) Alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Code is the exit code; -1 if a signal ended it.
func (p *Process) Code() int {
	if p.Alive() {
		return -2
	}
	return p.cmd.ProcessState.ExitCode()
}

// Said is the last of what it wrote to standard error.
func (p *Process) Said() string { return p.said.String() }

// Kill is kill -9; it returns when the process has ended.
func (p *Process) Kill() error {
	_ = p.victim.Kill() // it may have ended on its own
	return p.wait(stopPatience)
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.victim.Signal(s) }

// Terminate asks the process to end and returns how long that took.
func (p *Process) Terminate() (time.Duration, error) {
	begin := time.Now()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("terminate broker: %w", err)
	}
	if err := p.wait(stopPatience); err != nil {
		_ = p.Kill()
		return stopPatience, err
	}
	return time.Since(begin), nil
}

// wait waits for the end for a while.
func (p *Process) wait(patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		return fmt.Errorf("the broker does not end in %v: %s", patience, p.said)
	}
}

// lastWords keeps the last 8 KiB of what a process says.
type lastWords struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(b)
	if over := w.buf.Len() - 8<<10; over > 0 {
		w.buf.Next(over)
	}
	return len(b), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
