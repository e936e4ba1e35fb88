package sim

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Injected wraps a command so that strace lets a system call of it fail: from
// the when-th call of each thread on, once if when has no "+".
func Injected(inner Command, syscalls, errno, when string) Command {
	return func(dir, address string) *exec.Cmd {
		cmd := inner(dir, address)
		args := []string{"-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=" + syscalls,
			"-e", fmt.Sprintf("inject=%s:error=%s:when=%s", syscalls, errno, when), cmd.Path}
		traced := exec.Command("strace", append(args, cmd.Args[1:]...)...)
		traced.Env = cmd.Env
		return traced
	}
}

// traced finds the process that strace has started.
func traced(cmd *exec.Cmd) (*os.Process, error) {
	until := time.Now().Add(startPatience)
	name := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	for time.Now().Before(until) {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("strace has ended: %w", err)
		}
		// Its first children are probes that end at once.
		for _, word := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(word)
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			if err == nil && filepath.Base(exe) != "strace" {
				return os.FindProcess(pid)
			}
		}
		pause(context.Background(), 5*time.Millisecond)
	}
	return nil, fmt.Errorf("strace started no process in %v", startPatience)
}

// FailingDisk lets writes or syncs of the broker fail, and starts it again when
// it has ended, which has to be with code 74. plain is the command without
// failures.
func (r *Run) FailingDisk(ctx context.Context, plain Command, episodes int) error {
	faults := []struct{ syscalls, errno string }{
		{"fdatasync", "EIO"}, {"fsync,fdatasync", "EIO"}, {"fdatasync", "EIO"}, {"pwrite64", "EIO"}, {"pwrite64,pwritev", "ENOSPC"},
	}
	for range episodes {
		f := faults[r.Random.IntN(len(faults))]
		when := strconv.Itoa(1 + r.Random.IntN(60))
		if r.Random.IntN(2) == 0 {
			when += "+" // and for ever after
		}
		// The broker runs without failures: end it, and start it with them.
		if err := r.Process.Kill(); err != nil {
			return err
		}
		r.Process.Command, r.Process.Victim = Injected(plain, f.syscalls, f.errno, when), traced
		r.Report.Fault(f.syscalls + " " + f.errno)
		if err := r.failing(ctx, f.errno); err != nil {
			return err
		}
		r.Process.Command, r.Process.Victim = plain, nil
		if err := r.restart(ctx); err != nil {
			return err
		}
		r.awaitAcks(ctx, 200, 10*time.Second)
	}
	return nil
}

// failing runs the broker until the failure has ended it. A full disk need not
// end it.
func (r *Run) failing(ctx context.Context, errno string) error {
	began := time.Now()
	_, err := r.Process.Start()
	if err == nil {
		timer := time.NewTimer(5 * time.Second)
		defer timer.Stop()
		select {
		case <-r.Process.Ended():
		case <-timer.C:
			r.Log("alive %v after %s was injected", time.Since(began).Round(time.Millisecond), errno)
			r.Report.Fault("not hit")
			return r.Process.Kill()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if code := r.Process.Code(); code != 74 && (code != 1 || errno != "ENOSPC") {
		r.broken(Ended, "code %d when a system call failed with %s: %v %s", code, errno, err, r.Process.Said())
	}
	if r.Process.Alive() {
		return r.Process.Signal(syscall.SIGKILL)
	}
	return nil
}
