package vfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestReadingOS: what is there is read, also without a right to write, and stays
// as it is; a lock excludes others.
func TestReadingOS(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("content"), 0o400); err != nil {
		t.Fatal(err)
	}
	reading := vfs.ReadingOS()
	f, err := reading.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 7)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "content" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := f.WriteAt(b, 0); err == nil {
		t.Error("a write was done")
	}
	lock, err := vfs.OS().Lock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reading.Lock(filepath.Join(dir, "lock")); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}
