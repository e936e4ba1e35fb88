//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/cmd/weir/internal/cli"
)

// TestServeUnwritable needs a user whom permissions bind: run as root, it runs
// the broker as nobody.
func TestServeUnwritable(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "closed", "data")
	if err := os.Mkdir(filepath.Dir(dir), 0o555); err != nil {
		t.Fatal(err)
	}
	cmd := serveCommand("--data", dir, "--listen", "127.0.0.1:0")
	if os.Geteuid() == 0 {
		cmd.Path = openCopy(t, parent, cmd.Path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = parent
	}
	code, says := refused(t, cmd)
	if code != cli.ExitFailed || !strings.Contains(says, dir+" cannot be written") || !strings.Contains(says, "--data") {
		t.Errorf("exit code %d, says %q", code, says)
	}
}

// openCopy copies the program to where any user can run it.
func openCopy(t *testing.T, dir, program string) string {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Skipf("nobody cannot reach %s: %v", d, err)
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	name := filepath.Join(dir, "weir")
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}
