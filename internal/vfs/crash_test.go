package vfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

const crashes = 200

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, f vfs.FS, name string) vfs.File {
	t.Helper()
	file, err := f.Create(name)
	must(t, err)
	return file
}

func writeAt(t testing.TB, f vfs.File, off int64, p []byte) {
	t.Helper()
	n, err := f.WriteAt(p, off)
	must(t, err)
	if n != len(p) {
		t.Fatalf("wrote %d of %d bytes", n, len(p))
	}
}

func exists(t testing.TB, f vfs.FS, name string) bool {
	t.Helper()
	_, err := f.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func contents(t testing.TB, f vfs.FS, name string) []byte {
	t.Helper()
	file, err := f.Open(name)
	must(t, err)
	defer file.Close()
	size, err := file.Size()
	must(t, err)
	p := make([]byte, size)
	n, err := file.ReadAt(p, 0)
	must(t, err)
	return p[:n]
}

// outcomes takes power cuts with many seeds and counts what describe says.
func outcomes(m *vfs.Mem, describe func(*vfs.Mem) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(crashes) {
		seen[describe(m.CrashClone(seeded(seed), vfs.CrashOptions{}))]++
	}
	return seen
}

func TestPowerCutKeepsWhatWasSynced(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("a/b"))
	f := create(t, m, "a/b/f")
	want := bytes.Repeat([]byte("weir"), 3000)
	writeAt(t, f, 0, want)
	must(t, f.Sync())
	must(t, m.SyncDir("a/b"))
	writeAt(t, f, int64(len(want)), []byte("unsynced"))
	outcomes(m, func(c *vfs.Mem) string {
		if got := contents(t, c, "a/b/f"); !bytes.HasPrefix(got, want) {
			t.Fatalf("synced bytes are gone: %d bytes are left of %d", len(got), len(want))
		}
		return ""
	})
}
