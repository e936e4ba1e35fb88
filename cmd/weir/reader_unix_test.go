//go:build unix

package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestConsumeEndsWhenThePipeDoes: as with "| head -1", and no record comes.
func TestConsumeEndsWhenThePipeDoes(t *testing.T) {
	s := serve(t, "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	if out, err := exec.Command("weir", "topic", "create", "t", "-b", s.address).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	produce := exec.Command("weir", "produce", "t", "-b", s.address)
	produce.Stdin = strings.NewReader("one\n")
	if out, err := produce.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command("weir", "consume", "t", "-b", s.address)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := stdout.Close(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{}), stderr: &output{}}
	go func() { p.err = cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p.wait(t)
	if p.err != nil {
		t.Error(p.err)
	}
}

// TestTwoSignalsAtOnce are one wish, not two.
func TestTwoSignalsAtOnce(t *testing.T) {
	s := serve(t, "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	for range 20 {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			break // it has ended
		}
	}
	s.wait(t)
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("code %d: %v\n%s", code, s.err, s.stderr)
	}
}
