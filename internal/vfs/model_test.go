package vfs_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirstream/weir/internal/vfs"
)

// model is what TestMemAgainstModel compares a Mem with: files as plain bytes,
// and what a power cut must keep.
type model struct {
	files map[string]*modelFile
	// named has the files whose names were durable at the last SyncDir and
	// have not been touched since.
	named map[string]*modelFile
}

type modelFile struct {
	now     []byte
	synced  []byte
	touched []bool // by sector, since the last sync
	resized bool
	handle  vfs.File
}

func (f *modelFile) touch(from, to int) {
	for s := from / 512; s*512 < to; s++ {
		for len(f.touched) <= s {
			f.touched = append(f.touched, false)
		}
		f.touched[s] = true
	}
}

func (f *modelFile) resize(size int) {
	if size == len(f.now) {
		return
	}
	f.resized = true
	if size < len(f.now) {
		f.touch(size, max(len(f.now), len(f.synced)))
		f.now = slices.Clone(f.now[:size])
		return
	}
	f.now = append(f.now, make([]byte, size-len(f.now))...)
}

// TestMemAgainstModel runs random operations and, after each, compares what
// programs see, what a killed process leaves, and what a power cut may leave.
func TestMemAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := vfs.NewMem()
		mod := &model{files: map[string]*modelFile{}, named: map[string]*modelFile{}}
		names := []string{"a", "b", "c"}
		name := rapid.SampledFrom(names)
		seed := rapid.Uint64()
		existing := func(t *rapid.T) (string, *modelFile) {
			if len(mod.files) == 0 {
				t.Skip("no file")
			}
			n := rapid.SampledFrom(slices.Sorted(maps.Keys(mod.files))).Draw(t, "file")
			return n, mod.files[n]
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				n := name.Draw(t, "name")
				h, err := m.Create(n)
				if (err == nil) != (mod.files[n] == nil) {
					t.Fatalf("create %s: %v", n, err)
				}
				if err == nil {
					mod.files[n] = &modelFile{handle: h}
					delete(mod.named, n)
				}
			},
			"write": func(t *rapid.T) {
				_, f := existing(t)
				off := rapid.IntRange(0, 9000).Draw(t, "off")
				p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(1, 6000).Draw(t, "len"))
				if _, err := f.handle.WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
				if end := off + len(p); end > len(f.now) {
					f.resize(end)
				}
				copy(f.now[off:], p)
				f.touch(off, off+len(p))
			},
			"truncate": func(t *rapid.T) {
				_, f := existing(t)
				size := rapid.IntRange(0, 15000).Draw(t, "size")
				if err := f.handle.Truncate(int64(size)); err != nil {
					t.Fatal(err)
				}
				f.resize(size)
			},
			"sync": func(t *rapid.T) {
				_, f := existing(t)
				if err := f.handle.Sync(); err != nil {
					t.Fatal(err)
				}
				f.synced, f.touched, f.resized = slices.Clone(f.now), nil, false
			},
			"syncdir": func(t *rapid.T) {
				if err := m.SyncDir("/"); err != nil {
					t.Fatal(err)
				}
				mod.named = maps.Clone(mod.files)
			},
			"rename": func(t *rapid.T) {
				from, f := existing(t)
				to := name.Draw(t, "to")
				if err := m.Rename(from, to); err != nil {
					t.Fatal(err)
				}
				if from == to {
					return
				}
				mod.files[to] = f
				delete(mod.files, from)
				delete(mod.named, from)
				delete(mod.named, to)
			},
			"remove": func(t *rapid.T) {
				n, _ := existing(t)
				if err := m.Remove(n); err != nil {
					t.Fatal(err)
				}
				delete(mod.files, n)
				delete(mod.named, n)
			},
			"writeback": func(t *rapid.T) { m.WriteBack(seeded(seed.Draw(t, "seed"))) },
			"reboot": func(t *rapid.T) {
				if len(mod.files) > 0 && rapid.IntRange(0, 9).Draw(t, "often") > 0 {
					return
				}
				m = m.CrashClone(seeded(seed.Draw(t, "seed")), vfs.CrashOptions{})
				mod.reopen(t, m)
			},
			"": func(t *rapid.T) {
				killed := m.CrashClone(nil, vfs.CrashOptions{KeepUnsynced: true})
				mod.compare(t, m)
				mod.compare(t, killed)
				mod.survives(t, killed.CrashClone(seeded(seed.Draw(t, "seed")), vfs.CrashOptions{}))
			},
		})
	})
}

// compare demands that a file system shows what programs have written.
func (mod *model) compare(t *rapid.T, m *vfs.Mem) {
	names, err := m.ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Sorted(maps.Keys(mod.files)); !slices.Equal(names, want) {
		t.Fatalf("names %v, want %v", names, want)
	}
	for name, f := range mod.files {
		if !bytes.Equal(read(t, m, name), f.now) {
			t.Fatalf("%s differs", name)
		}
	}
}

// survives demands that a power cut kept what it must.
func (mod *model) survives(t *rapid.T, m *vfs.Mem) {
	for name, f := range mod.named {
		got := read(t, m, name)
		if !f.resized && len(got) != len(f.synced) {
			t.Fatalf("%s has %d bytes, %d were synced", name, len(got), len(f.synced))
		}
		for s := 0; s*512 < min(len(got), len(f.synced)); s++ {
			if s < len(f.touched) && f.touched[s] {
				continue
			}
			end := min((s+1)*512, len(got), len(f.synced))
			if !bytes.Equal(got[s*512:end], f.synced[s*512:end]) {
				t.Fatalf("%s lost synced sector %d", name, s)
			}
		}
	}
}

// reopen makes the model know what a power cut left.
func (mod *model) reopen(t *rapid.T, m *vfs.Mem) {
	names, err := m.ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	mod.files = map[string]*modelFile{}
	for _, name := range names {
		h, err := m.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		p := read(t, m, name)
		mod.files[name] = &modelFile{now: p, synced: slices.Clone(p), handle: h}
	}
	mod.named = maps.Clone(mod.files)
}

func read(t *rapid.T, m *vfs.Mem, name string) []byte {
	f, err := m.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, size)
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}
