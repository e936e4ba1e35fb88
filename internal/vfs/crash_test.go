package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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

// sectors makes a file of n sectors, all of byte b, and syncs it.
func sectors(t *testing.T, m *vfs.Mem, name string, n int, b byte) vfs.File {
	t.Helper()
	f := create(t, m, name)
	writeAt(t, f, 0, bytes.Repeat([]byte{b}, n*512))
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	return f
}

func TestPowerCutTearsUnsyncedWritesAtSectors(t *testing.T) {
	m := vfs.NewMem()
	f := sectors(t, m, "f", 20, 'o')
	writeAt(t, f, 512+100, bytes.Repeat([]byte{'n'}, 10*512))
	held, lost, late := 0, 0, 0
	outcomes(m, func(c *vfs.Mem) string {
		got := contents(t, c, "f")
		if len(got) != 20*512 {
			t.Fatalf("length %d", len(got))
		}
		before := true
		for s := range 20 {
			was, is := make([]byte, 512), got[s*512:(s+1)*512]
			old := bytes.Repeat([]byte{'o'}, 512)
			_, err := f.ReadAt(was, int64(s*512))
			must(t, err)
			switch {
			case bytes.Equal(was, old):
				if !bytes.Equal(is, old) {
					t.Fatalf("sector %d was never written and changed", s)
				}
			case bytes.Equal(is, was):
				held++
				if !before {
					late++
				}
				before = true
			case bytes.Equal(is, old):
				lost++
				before = false
			default:
				t.Fatalf("sector %d tore", s)
			}
		}
		return ""
	})
	if held < crashes || lost < crashes || late < crashes {
		t.Fatalf("%d sectors held, %d lost, %d held after a lost one", held, lost, late)
	}
}

func TestPowerCutLeavesALengthInBetween(t *testing.T) {
	m := vfs.NewMem()
	f := sectors(t, m, "f", 2, 'o')
	must(t, f.Truncate(700))
	writeAt(t, f, 700, bytes.Repeat([]byte{'n'}, 5000))
	between := 0
	seen := outcomes(m, func(c *vfs.Mem) string {
		info, err := c.Stat("f")
		must(t, err)
		switch {
		case info.Size < 700 || info.Size > 5700:
			t.Fatalf("length %d was never reached", info.Size)
		case info.Size == 1024:
			return "synced"
		case info.Size == 5700:
			return "now"
		default:
			between++
		}
		return "between"
	})
	if len(seen) != 3 || between == 0 {
		t.Fatalf("outcomes %v", seen)
	}
}

func TestPowerCutBeyondTheKeptLengthReadsZero(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "f")
	must(t, m.SyncDir("/"))
	writeAt(t, f, 0, bytes.Repeat([]byte{'n'}, 8192))
	outcomes(m, func(c *vfs.Mem) string {
		info, err := c.Stat("f")
		must(t, err)
		again, err := c.Open("f")
		must(t, err)
		must(t, again.Truncate(10_000))
		tail := contents(t, c, "f")[info.Size:]
		if bytes.ContainsRune(tail, 'n') {
			t.Fatal("bytes beyond the length came back")
		}
		return ""
	})
}

func TestPowerCutMayBringBackWhatWasCutOff(t *testing.T) {
	m := vfs.NewMem()
	f := sectors(t, m, "f", 8, 'o')
	must(t, f.Truncate(0))
	must(t, f.Preallocate(0, 8*512))
	equal(t, contents(t, m, "f"), make([]byte, 8*512))
	back := 0
	outcomes(m, func(c *vfs.Mem) string {
		back += bytes.Count(contents(t, c, "f"), bytes.Repeat([]byte{'o'}, 512))
		return ""
	})
	if back == 0 {
		t.Fatal("never")
	}
	must(t, f.Sync())
	outcomes(m, func(c *vfs.Mem) string {
		equal(t, contents(t, c, "f"), make([]byte, 8*512))
		return ""
	})
}

func TestPowerCutKeepsOrLosesNames(t *testing.T) {
	setup := func() *vfs.Mem {
		m := vfs.NewMem()
		must(t, m.MkdirAll("d"))
		sectors(t, m, "old", 1, 'o')
		return m
	}
	cases := map[string]struct {
		change func(m *vfs.Mem)
		want   []string // every outcome that must appear; nothing else may
	}{
		"created": {func(m *vfs.Mem) { create(t, m, "new") }, []string{"old", "old new"}},
		"removed": {func(m *vfs.Mem) { must(t, m.Remove("old")) }, []string{"old", ""}},
		"renamed": {func(m *vfs.Mem) { must(t, m.Rename("old", "new")) }, []string{"old", "new"}},
		"renamed to another directory": {func(m *vfs.Mem) { must(t, m.Rename("old", "d/moved")) },
			[]string{"old", "d/moved"}},
		"created, then renamed": {func(m *vfs.Mem) {
			create(t, m, "new")
			must(t, m.Rename("new", "d/moved"))
		}, []string{"old", "old new", "old d/moved"}},
		"two created": {func(m *vfs.Mem) {
			create(t, m, "new")
			create(t, m, "d/moved")
		}, []string{"old", "old new", "old d/moved", "old new d/moved"}},
		"created, renamed, target directory synced": {func(m *vfs.Mem) {
			create(t, m, "new")
			must(t, m.Rename("new", "d/moved"))
			must(t, m.SyncDir("d"))
		}, []string{"old d/moved"}},
		"removed with SyncAll": {func(m *vfs.Mem) {
			must(t, m.Remove("old"))
			must(t, m.SyncAll("/"))
		}, []string{""}},
		"another directory synced": {func(m *vfs.Mem) {
			create(t, m, "new")
			must(t, m.SyncDir("d"))
		}, []string{"old", "old new"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := setup()
			c.change(m)
			seen := outcomes(m, func(c *vfs.Mem) string {
				var there []string
				for _, name := range []string{"old", "new", "d/moved"} {
					if exists(t, c, name) {
						there = append(there, name)
					}
				}
				return strings.Join(there, " ")
			})
			for _, want := range c.want {
				if seen[want] == 0 {
					t.Errorf("never %q", want)
				}
				delete(seen, want)
			}
			if len(seen) > 0 {
				t.Errorf("impossible: %v", seen)
			}
		})
	}
}

func TestPowerCutAfterRenameOverASyncedFileLeavesOneOfBoth(t *testing.T) {
	m := vfs.NewMem()
	sectors(t, m, "f", 1, 'o')
	sectors(t, m, "tmp", 1, 'n')
	must(t, m.Rename("tmp", "f"))
	seen := outcomes(m, func(c *vfs.Mem) string { return string(contents(t, c, "f")[:1]) })
	if len(seen) != 2 || seen["o"] == 0 || seen["n"] == 0 {
		t.Fatalf("outcomes %v", seen)
	}
}

func TestPowerCutKeepsDirectories(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("a/b/c"))
	must(t, m.RemoveAll("a/b"))
	must(t, m.MkdirAll("a/b"))
	outcomes(m, func(c *vfs.Mem) string {
		if !exists(t, c, "a/b") || exists(t, c, "a/b/c") {
			t.Fatal("the new a/b is not what is left")
		}
		return ""
	})
	must(t, m.RemoveAll("a"))
	seen := outcomes(m, func(c *vfs.Mem) string {
		return map[bool]string{true: "kept", false: "gone"}[exists(t, c, "a/b")]
	})
	if len(seen) != 2 {
		t.Fatalf("outcomes %v", seen)
	}
}

func TestSyncDoesNotSyncTheName(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "f")
	writeAt(t, f, 0, []byte("x"))
	must(t, f.Sync())
	seen := outcomes(m, func(c *vfs.Mem) string {
		if !exists(t, c, "f") {
			return "gone"
		}
		equal(t, contents(t, c, "f"), []byte("x"))
		return "kept"
	})
	if len(seen) != 2 {
		t.Fatalf("outcomes %v", seen)
	}
}

func TestSyncAllCoversFilesAndNamesBelow(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("d/e"))
	writeAt(t, create(t, m, "d/e/f"), 0, []byte("in"))
	create(t, m, "beside")
	must(t, m.SyncAll("d"))
	seen := outcomes(m, func(c *vfs.Mem) string {
		equal(t, contents(t, c, "d/e/f"), []byte("in"))
		return map[bool]string{true: "beside", false: "none"}[exists(t, c, "beside")]
	})
	if len(seen) != 2 {
		t.Fatalf("outcomes %v", seen)
	}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	m := vfs.NewMem()
	sectors(t, m, "old", 1, 'o')
	writeAt(t, create(t, m, "new"), 0, []byte("unsynced"))
	must(t, m.Rename("old", "renamed"))
	_, err := m.Lock("lock")
	must(t, err)

	killed := m.CrashClone(nil, vfs.CrashOptions{KeepUnsynced: true})
	equal(t, contents(t, killed, "new"), []byte("unsynced"))
	if exists(t, killed, "old") || !exists(t, killed, "renamed") {
		t.Fatal("the rename is lost")
	}
	lock, err := killed.Lock("lock")
	must(t, err)
	must(t, lock.Close())
	seen := outcomes(killed, func(c *vfs.Mem) string {
		return map[bool]string{true: "kept", false: "gone"}[exists(t, c, "new")]
	})
	if len(seen) != 2 {
		t.Fatalf("a power cut after the kill: %v", seen)
	}
}

func TestWriteBackShowsOlderVersions(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(crashes) {
		m := vfs.NewMem()
		f := sectors(t, m, "f", 1, '0')
		for _, b := range "123" {
			writeAt(t, f, 0, bytes.Repeat([]byte{byte(b)}, 512))
			m.WriteBack(seeded(seed + uint64(b)))
		}
		equal(t, contents(t, m, "f")[:1], []byte("3"))
		c := m.CrashClone(seeded(seed), vfs.CrashOptions{})
		seen[string(contents(t, c, "f")[:1])]++
	}
	if len(seen) != 4 {
		t.Fatalf("versions %v", seen)
	}
}

func TestCloneIsIndependentAndSeeded(t *testing.T) {
	m := vfs.NewMem()
	f := sectors(t, m, "f", 100, 'o')
	writeAt(t, f, 0, bytes.Repeat([]byte{'n'}, 100*512))
	for i := range 20 {
		writeAt(t, create(t, m, fmt.Sprint("g", i)), 0, make([]byte, 5000))
	}
	first := m.CrashClone(seeded(7), vfs.CrashOptions{})
	want := contents(t, first, "f")
	writeAt(t, f, 0, bytes.Repeat([]byte{'m'}, 100*512))
	must(t, f.Sync())
	equal(t, contents(t, first, "f"), want)

	inClone, err := first.Open("f")
	must(t, err)
	writeAt(t, inClone, 0, bytes.Repeat([]byte{'c'}, 100*512))
	equal(t, contents(t, m, "f"), bytes.Repeat([]byte{'m'}, 100*512))

	writeAt(t, f, 0, bytes.Repeat([]byte{'k'}, 100*512))
	a, b := m.CrashClone(seeded(9), vfs.CrashOptions{}), m.CrashClone(seeded(9), vfs.CrashOptions{})
	equal(t, contents(t, a, "f"), contents(t, b, "f"))
	namesA, err := a.ReadDir("/")
	must(t, err)
	namesB, err := b.ReadDir("/")
	must(t, err)
	if !slices.Equal(namesA, namesB) {
		t.Fatalf("one seed, two outcomes: %v and %v", namesA, namesB)
	}
	for _, name := range namesA {
		equal(t, contents(t, a, name), contents(t, b, name))
	}

	killed := m.CrashClone(nil, vfs.CrashOptions{KeepUnsynced: true})
	writeAt(t, f, 0, []byte("later"))
	equal(t, contents(t, killed, "f"), bytes.Repeat([]byte{'k'}, 100*512))
}

func TestClonesMayBeUsedAtOnce(t *testing.T) {
	m := vfs.NewMem()
	f := sectors(t, m, "f", 64, 'o')
	var wg sync.WaitGroup
	for i := range 8 {
		c := m.CrashClone(seeded(uint64(i)), vfs.CrashOptions{KeepUnsynced: i%2 == 0})
		wg.Go(func() {
			g, err := c.Open("f")
			if err != nil {
				t.Error(err)
				return
			}
			for s := range 64 {
				if _, err := g.WriteAt([]byte{byte(i)}, int64(s*512)); err != nil {
					t.Error(err)
				}
				if err := g.Sync(); err != nil {
					t.Error(err)
				}
			}
		})
		writeAt(t, f, int64(i), []byte{'m'})
	}
	wg.Wait()
	equal(t, contents(t, m, "f")[8:], bytes.Repeat([]byte{'o'}, 64*512-8))
}

func TestCloningIsCheap(t *testing.T) {
	m := vfs.NewMem()
	for i := range 4 {
		f := create(t, m, fmt.Sprint("journal", i))
		must(t, f.Preallocate(0, 64<<20))
		must(t, f.Sync())
	}
	f := create(t, m, "segment")
	writeAt(t, f, 0, make([]byte, 8<<20))
	must(t, f.Sync())
	rng := seeded(1)
	allocs := testing.AllocsPerRun(10, func() { m.CrashClone(rng, vfs.CrashOptions{}) })
	if allocs > 200 {
		t.Fatalf("%v allocations for a clone of five files and 2,048 pages", allocs)
	}
}
