package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/internal/storage"
)

// TestServeRefusesForeignDirectory: files of somebody else are left alone.
func TestServeRefusesForeignDirectory(t *testing.T) {
	for _, c := range []struct {
		holds string
		says  string // "": may be used
	}{
		{"", ""}, {"lost+found", ""}, {"lock format.tmp", ""}, {"format photos letters", ""},
		{"checkpoint topics", ""}, {"lock topics unfinished", ""},
		{"photos letters notes", "(it holds letters, notes, ...): choose an empty directory with --data"},
		{"lost+found photos", "(it holds photos)"},
	} {
		dir := t.TempDir()
		for _, name := range strings.Fields(c.holds) {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o := localOptions()
		o.Data = dir
		var err error
		if c.says == "" {
			err = checkForeign(dir)
		} else {
			_, err = serveWith(t, newFakeBroker(), o, func(_ string, interrupt func()) { interrupt() })
		}
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || exitCode(err) != ExitFailed) {
			t.Errorf("%q: %v, want %q", c.holds, err, c.says)
		}
	}
	if err := checkForeign(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("no directory: %v", err)
	}
}

// TestServeStopsOnAFullDisk: a checkpoint that finds no space is no failure, and
// any other reason beside it is one.
func TestServeStopsOnAFullDisk(t *testing.T) {
	full := &os.PathError{Op: "write", Path: "checkpoint", Err: syscall.ENOSPC}
	for _, c := range []struct {
		err  error
		code int
	}{
		{fmt.Errorf("checkpoint: %w", full), ExitOK},
		{errors.Join(fmt.Errorf("%w: %w", storage.ErrNoSpace, full), nil), ExitOK},
		{errors.Join(full, syscall.EIO), ExitFailed},
		{syscall.EIO, ExitFailed},
	} {
		b := newFakeBroker()
		b.shutdownErr = c.err
		said, err := serveWith(t, b, localOptions(), func(_ string, interrupt func()) { interrupt() })
		if exitCode(err) != c.code || (c.code == ExitOK) != strings.Contains(said, "nothing is lost") {
			t.Errorf("%v: %v, said %q", c.err, err, said)
		}
	}
}

// TestConfigFileIsNamed: what is wrong in the file is told of the file.
func TestConfigFileIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yaml")
	for content, says := range map[string]string{
		"config: {num.partitions: many}": file + ": config: ",
		"config: {no.such.setting: 1}":   "no.such.setting",
		"durability: maybe":              file + ": durability maybe: want",
		"listen: localhost:99999":        file + `: listen localhost:99999: port "99999": want 0 to 65535`,
		"admin: nowhere":                 file + ": admin nowhere: want host:port",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r := run(t.Context(), Env{}, "serve", "--config-file", file)
		if r.code != ExitUsage || !strings.Contains(r.errOut, says) || strings.Contains(r.errOut, "--config:") {
			t.Errorf("%q: code %d, says %q, want %q", content, r.code, r.errOut, says)
		}
	}
}
