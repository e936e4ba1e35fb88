//go:build unix

package sim

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is a broker that is a shell script.
func shell(script string) Command {
	return func(string, string) *exec.Cmd { return exec.Command("sh", "-c", script) }
}

func TestProcess(t *testing.T) {
	p := &Process{Command: shell("echo listening on 127.0.0.1:17; exec tail -f /dev/null"), Address: "127.0.0.1:0"}
	for i := 1; i <= 2; i++ {
		if _, err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if p.Address != "127.0.0.1:17" || p.Incarnation() != i || !p.Alive() {
			t.Errorf("address %s, incarnation %d, alive %v", p.Address, p.Incarnation(), p.Alive())
		}
		if err := p.Kill(); err != nil || p.Alive() || p.Code() != -1 {
			t.Errorf("killed: %v, alive %v, code %d", err, p.Alive(), p.Code())
		}
	}
}

func TestProcessThatDoesNotStart(t *testing.T) {
	p := &Process{Command: shell("echo no disk >&2; exit 74")}
	_, err := p.Start()
	if !errors.Is(err, ErrEnded) || p.Code() != 74 || !strings.Contains(p.Said(), "no disk") {
		t.Errorf("%v, code %d, said %q", err, p.Code(), p.Said())
	}
}

func TestProcessThatIsAskedToEnd(t *testing.T) {
	p := &Process{Command: shell("trap 'exit 3' TERM; echo listening on 127.0.0.1:17; while :; do sleep 0.01; done")}
	if _, err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Terminate(); err != nil || p.Code() != 3 {
		t.Errorf("%v, code %d", err, p.Code())
	}
}

// TestLastWords keeps the end of what is said, not the beginning.
func TestLastWords(t *testing.T) {
	w := &lastWords{}
	for range 100 {
		if n, err := w.Write([]byte(strings.Repeat("x", 1000))); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = w.Write([]byte("the end"))
	if s := w.String(); len(s) != 8<<10 || !strings.HasSuffix(s, "xthe end") {
		t.Errorf("%d bytes kept, ending in %q", len(s), s[max(0, len(s)-20):])
	}
}

func TestShort(t *testing.T) {
	long := "begin" + strings.Repeat("x", 10000) + "end"
	if s := short(long); len(s) > 800 || !strings.HasPrefix(s, "begin") || !strings.HasSuffix(s, "end") {
		t.Errorf("%d bytes", len(s))
	}
	if short("as it is") != "as it is" {
		t.Error("a short text was changed")
	}
}

// TestSettingsReachTheBroker: with the standard ones a dead member would keep its
// partitions for longer than most of a run.
func TestSettingsReachTheBroker(t *testing.T) {
	args := WeirCommand("weir", "sync")("/data", "127.0.0.1:0").Args
	given := map[string]bool{}
	for i, arg := range args[1:] {
		if args[i] == "--config" {
			given[arg] = true
		}
	}
	for name, value := range Settings() {
		if !given[name+"="+value] {
			t.Errorf("%s=%s is not in %v", name, value, args)
		}
	}
}

// TestProcessThatEndsBeforeItsVictimIsFound: its code is known at once, though what it
// started still holds its standard error.
func TestProcessThatEndsBeforeItsVictimIsFound(t *testing.T) {
	p := &Process{Command: shell("sleep 0.2 >/dev/null & exit 74"), Victim: func(cmd *exec.Cmd) (*os.Process, error) {
		for cmd.Process.Signal(syscall.Signal(0)) == nil {
			pause(t.Context(), time.Millisecond)
		}
		return nil, errors.New("gone")
	}}
	if _, err := p.Start(); err == nil || p.Alive() || p.Code() != 74 {
		t.Errorf("%v, code %d", err, p.Code())
	}
}
