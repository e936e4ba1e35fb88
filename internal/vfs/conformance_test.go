package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestConformance runs one suite over every FS.
func TestConformance(t *testing.T) {
	systems := map[string]func(t *testing.T) (vfs.FS, string){
		"OS":     func(t *testing.T) (vfs.FS, string) { return vfs.OS(), t.TempDir() },
		"Mem":    func(t *testing.T) (vfs.FS, string) { return vfs.NewMem(), string(filepath.Separator) },
		"Faulty": func(t *testing.T) (vfs.FS, string) { return vfs.Inject(vfs.NewMem()), "" },
		"Clone": func(t *testing.T) (vfs.FS, string) {
			return vfs.NewMem().CrashClone(seeded(1), vfs.CrashOptions{}), "."
		},
	}
	cases := map[string]func(*testing.T, vfs.FS, func(string) string){
		"create":      testCreate,
		"open":        testOpen,
		"bytes":       testBytes,
		"truncate":    testTruncate,
		"preallocate": testPreallocate,
		"remove":      testRemove,
		"removeall":   testRemoveAll,
		"rename":      testRename,
		"directories": testDirectories,
		"handles":     testHandles,
		"lock":        testLock,
		"sync":        testSync,
		"usage":       testUsage,
	}
	for system, open := range systems {
		t.Run(system, func(t *testing.T) {
			for name, run := range cases {
				t.Run(name, func(t *testing.T) {
					f, root := open(t)
					run(t, f, func(name string) string { return filepath.Join(root, filepath.FromSlash(name)) })
				})
			}
		})
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func fails(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error", what)
	}
}

func equal(t testing.TB, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes %.40q, want %d bytes %.40q", len(got), got, len(want), want)
	}
}

func testCreate(t *testing.T, f vfs.FS, at func(string) string) {
	file := create(t, f, at("f"))
	defer file.Close()
	_, err := f.Create(at("f"))
	is(t, err, fs.ErrExist)
	_, err = f.Create(at("missing/f"))
	is(t, err, fs.ErrNotExist)
	_, err = f.Create(at("f/g"))
	fails(t, "create below a file", err)
	if size, err := file.Size(); err != nil || size != 0 {
		t.Fatalf("new file: size %d, %v", size, err)
	}
}

func testOpen(t *testing.T, f vfs.FS, at func(string) string) {
	_, err := f.Open(at("f"))
	is(t, err, fs.ErrNotExist)
	must(t, f.MkdirAll(at("d")))
	_, err = f.Open(at("d"))
	fails(t, "open a directory", err)
	must(t, create(t, f, at("f")).Close())
	first, err := f.Open(at("f"))
	must(t, err)
	second, err := f.Open(at("f"))
	must(t, err)
	writeAt(t, first, 0, []byte("shared"))
	must(t, first.Close())
	got := make([]byte, 6)
	_, err = second.ReadAt(got, 0)
	must(t, err)
	equal(t, got, []byte("shared"))
	must(t, second.Close())
}

func testBytes(t *testing.T, f vfs.FS, at func(string) string) {
	file := create(t, f, at("f"))
	defer file.Close()
	writeAt(t, file, 10_000, []byte("end"))
	equal(t, contents(t, f, at("f")), append(make([]byte, 10_000), "end"...))
	over := bytes.Repeat([]byte{1, 2, 3}, 3000)
	writeAt(t, file, 3, over)
	want := append(make([]byte, 3), over...)
	want = append(append(want, make([]byte, 10_000-len(want))...), "end"...)
	equal(t, contents(t, f, at("f")), want)

	p := make([]byte, 10)
	n, err := file.ReadAt(p, 10_001)
	is(t, err, io.EOF)
	equal(t, p[:n], []byte("nd"))
	n, err = file.ReadAt(p, 20_000)
	is(t, err, io.EOF)
	equal(t, p[:n], nil)
	writeAt(t, file, 50_000, nil)
	if size, _ := file.Size(); size != 10_003 {
		t.Fatalf("an empty write changed the size to %d", size)
	}
	_, err = file.WriteAt([]byte("x"), -1)
	fails(t, "write at -1", err)
	_, err = file.ReadAt(p, -1)
	fails(t, "read at -1", err)
}

func testTruncate(t *testing.T, f vfs.FS, at func(string) string) {
	file := create(t, f, at("f"))
	defer file.Close()
	writeAt(t, file, 0, bytes.Repeat([]byte("x"), 9000))
	must(t, file.Truncate(5))
	must(t, file.Truncate(9001))
	equal(t, contents(t, f, at("f")), append([]byte("xxxxx"), make([]byte, 8996)...))
	must(t, file.Truncate(0))
	equal(t, contents(t, f, at("f")), nil)
	fails(t, "truncate to -1", file.Truncate(-1))
}

func testPreallocate(t *testing.T, f vfs.FS, at func(string) string) {
	file := create(t, f, at("f"))
	defer file.Close()
	writeAt(t, file, 0, []byte("kept"))
	must(t, file.Preallocate(0, 1<<20))
	equal(t, contents(t, f, at("f")), append([]byte("kept"), make([]byte, 1<<20-4)...))
	must(t, file.Preallocate(10, 20))
	must(t, file.Preallocate(2<<20, 0))
	if size, _ := file.Size(); size != 1<<20 {
		t.Fatalf("size %d after Preallocate within the file", size)
	}
	fails(t, "preallocate at -1", file.Preallocate(-1, 5))
	fails(t, "preallocate -1 bytes", file.Preallocate(1, -1))
}

func testRemove(t *testing.T, f vfs.FS, at func(string) string) {
	is(t, f.Remove(at("f")), fs.ErrNotExist)
	file := create(t, f, at("f"))
	writeAt(t, file, 0, []byte("still here"))
	must(t, f.Remove(at("f")))
	if exists(t, f, at("f")) {
		t.Fatal("a removed file has a name")
	}
	must(t, create(t, f, at("f")).Close())
	p := make([]byte, 10)
	_, err := file.ReadAt(p, 0)
	must(t, err)
	equal(t, p, []byte("still here"))
	must(t, file.Close())

	must(t, f.MkdirAll(at("d/e")))
	fails(t, "remove a directory that is not empty", f.Remove(at("d")))
	must(t, f.Remove(at("d/e")))
	must(t, f.Remove(at("d")))
}

func testRemoveAll(t *testing.T, f vfs.FS, at func(string) string) {
	must(t, f.RemoveAll(at("missing")))
	must(t, f.RemoveAll(at("missing/too")))
	must(t, f.MkdirAll(at("d/e")))
	must(t, create(t, f, at("d/e/f")).Close())
	must(t, create(t, f, at("d/g")).Close())
	must(t, f.RemoveAll(at("d")))
	if exists(t, f, at("d")) {
		t.Fatal("d is still there")
	}
}

func testRename(t *testing.T, f vfs.FS, at func(string) string) {
	is(t, f.Rename(at("missing"), at("b")), fs.ErrNotExist)
	must(t, f.MkdirAll(at("d")))
	for _, name := range []string{"a", "b"} {
		file := create(t, f, at(name))
		writeAt(t, file, 0, []byte(name))
		must(t, file.Close())
	}
	must(t, f.Rename(at("a"), at("b")))
	if exists(t, f, at("a")) {
		t.Fatal("a is still there")
	}
	equal(t, contents(t, f, at("b")), []byte("a"))
	must(t, f.Rename(at("b"), at("b")))
	must(t, f.Rename(at("b"), at("d/c")))
	equal(t, contents(t, f, at("d/c")), []byte("a"))
	must(t, f.Rename(at("d"), at("moved")))
	equal(t, contents(t, f, at("moved/c")), []byte("a"))
	fails(t, "rename into itself", f.Rename(at("moved"), at("moved/inner")))
	is(t, f.Rename(at("moved/c"), at("missing/c")), fs.ErrNotExist)
}

func testDirectories(t *testing.T, f vfs.FS, at func(string) string) {
	must(t, f.MkdirAll(at("d/e/f")))
	must(t, f.MkdirAll(at("d/e")))
	for _, name := range []string{"z", "a", "m"} {
		must(t, create(t, f, at("d/"+name)).Close())
	}
	names, err := f.ReadDir(at("d"))
	must(t, err)
	if want := []string{"a", "e", "m", "z"}; !slices.Equal(names, want) {
		t.Fatalf("names %v, want %v", names, want)
	}
	fails(t, "mkdir over a file", f.MkdirAll(at("d/a")))
	fails(t, "mkdir below a file", f.MkdirAll(at("d/a/b")))
	_, err = f.ReadDir(at("missing"))
	is(t, err, fs.ErrNotExist)
	_, err = f.ReadDir(at("d/a"))
	fails(t, "read a file as a directory", err)

	info, err := f.Stat(at("d"))
	if err != nil || info != (vfs.Info{IsDir: true}) {
		t.Fatalf("directory: %+v, %v", info, err)
	}
	file := create(t, f, at("d/sized"))
	writeAt(t, file, 0, []byte("12345"))
	must(t, file.Close())
	if info, err := f.Stat(at("d/sized")); err != nil || info != (vfs.Info{Size: 5}) {
		t.Fatalf("file: %+v, %v", info, err)
	}
}

func testHandles(t *testing.T, f vfs.FS, at func(string) string) {
	file := create(t, f, at("f"))
	must(t, f.Rename(at("f"), at("g")))
	writeAt(t, file, 0, []byte("by the old handle"))
	equal(t, contents(t, f, at("g")), []byte("by the old handle"))
	must(t, file.Close())
	is(t, file.Close(), fs.ErrClosed)
	_, err := file.ReadAt(make([]byte, 1), 0)
	is(t, err, fs.ErrClosed)
	_, err = file.WriteAt(make([]byte, 1), 0)
	is(t, err, fs.ErrClosed)
	is(t, file.Truncate(0), fs.ErrClosed)
	is(t, file.Sync(), fs.ErrClosed)
	is(t, file.Preallocate(0, 1), fs.ErrClosed)
	_, err = file.Size()
	fails(t, "size of a closed file", err)
}

func testLock(t *testing.T, f vfs.FS, at func(string) string) {
	_, err := f.Lock(at("missing/lock"))
	is(t, err, fs.ErrNotExist)
	lock, err := f.Lock(at("lock"))
	must(t, err)
	_, err = f.Lock(at("lock"))
	is(t, err, vfs.ErrLocked)
	other, err := f.Lock(at("other"))
	must(t, err)
	must(t, other.Close())
	must(t, lock.Close())
	lock, err = f.Lock(at("lock"))
	must(t, err)
	must(t, lock.Close())
}

func testSync(t *testing.T, f vfs.FS, at func(string) string) {
	must(t, f.MkdirAll(at("d")))
	file := create(t, f, at("d/f"))
	writeAt(t, file, 0, []byte("x"))
	must(t, file.Sync())
	must(t, file.Close())
	must(t, f.SyncDir(at("d")))
	must(t, f.SyncAll(at("d")))
	is(t, f.SyncDir(at("missing")), fs.ErrNotExist)
	is(t, f.SyncAll(at("missing")), fs.ErrNotExist)
}

func testUsage(t *testing.T, f vfs.FS, at func(string) string) {
	u, err := f.Usage(at("."))
	must(t, err)
	if u.Total <= 0 || u.Free < 0 || u.Free > u.Total || u.Block < 0 || u.Block > u.Total {
		t.Fatalf("usage %+v", u)
	}
	_, err = f.Usage(at("missing"))
	is(t, err, fs.ErrNotExist)
}
