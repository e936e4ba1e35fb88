package storage

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestBrokenOffIsBegunAnew: a restore or a salvage that is cut off by a kill or a
// power cut at any operation leaves a directory that neither opens nor is taken for
// a good one by a check, never an empty broker; the next one into it is whole.
func TestBrokenOffIsBegunAnew(t *testing.T) {
	whole := archived(t)
	source := vfs.NewMem()
	if err := restore(t.Context(), source, bytes.NewReader(whole), "data"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		make func(fsys vfs.FS) error
	}{
		{"restore", func(fsys vfs.FS) error { return restore(t.Context(), fsys, bytes.NewReader(whole), "out") }},
		{"salvage", func(fsys vfs.FS) error {
			_, err := Salvage(t.Context(), CheckConfig{FS: fsys, Dir: "data", Catalog: &testCatalog{topics: []TopicSpec{orders}}}, "out")
			return err
		}},
	} {
		mem := killed(source)
		faulty := vfs.Inject(mem)
		var crashes []*vfs.Mem
		faulty.OnOp = func(_ vfs.Op, _ string, n int) {
			crashes = append(crashes, killed(mem), powerCut(mem, uint64(n)))
		}
		if err := c.make(faulty); err != nil {
			t.Fatal(err)
		}
		finished := 0
		for n, crashed := range crashes {
			if tellsUnfinished(t, crashed) {
				if err := c.make(crashed); err != nil {
					t.Fatalf("%s, broken off at operation %d, and done again: %v", c.name, n/2+1, err)
				}
			} else {
				finished++
			}
			cfg := smallConfig(crashed)
			cfg.Dir = "out"
			s := mustOpen(t, cfg, orders)
			if o := s.Partition(ordersID, 0).Offsets(); o.High == 0 {
				t.Errorf("%s, broken off at operation %d: opens, and is empty", c.name, n/2+1)
			}
			mustClose(t, s)
		}
		if len(crashes) < 40 || finished > 10 {
			t.Errorf("%s: %d crashes, %d after its end", c.name, len(crashes), finished)
		}
	}
}

// tellsUnfinished says whether a directory, as it must, does not open because it is
// not finished, or whether nothing was begun in it.
func tellsUnfinished(t *testing.T, crashed *vfs.Mem) bool {
	t.Helper()
	names, err := crashed.ReadDir("out")
	if errors.Is(err, fs.ErrNotExist) || len(names) == 0 || slices.Equal(names, []string{"lock"}) {
		return true
	}
	cfg := smallConfig(killed(crashed))
	cfg.Dir = "out"
	s, err := Open(cfg)
	if err == nil {
		if err := s.abandon(); err != nil {
			t.Error(err)
		}
		return false
	}
	_, cerr := Check(context.Background(), CheckConfig{FS: cfg.FS, Dir: "out", Catalog: &testCatalog{}})
	if !errors.Is(err, ErrUnfinished) || !errors.Is(cerr, ErrUnfinished) {
		t.Errorf("a directory with %v: open says %v, a check says %v", names, err, cerr)
	}
	return true
}

// TestForeignFilesAreNeverReplaced: only what a restore or a salvage made itself
// goes, and only where it was broken off.
func TestForeignFilesAreNeverReplaced(t *testing.T) {
	whole := archived(t)
	for _, names := range [][]string{{"letter"}, {"unfinished", "letter"}, {"format"}, {"checkpoint", "lock"}, {"topics/x"}} {
		mem := vfs.NewMem()
		for _, name := range names {
			name = filepath.Join("out", name)
			if err := mem.MkdirAll(filepath.Dir(name)); err != nil {
				t.Fatal(err)
			}
			f, err := mem.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		before := listing(t, mem, "out")
		if err := Restore(t.Context(), mem, bytes.NewReader(whole), "out"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over %v: %v, want a refusal", names, err)
		}
		if after := listing(t, mem, "out"); !slices.Equal(before, after) {
			t.Errorf("over %v: left %v of %v", names, after, before)
		}
	}
	mem := vfs.NewMem()
	if err := mem.MkdirAll("out"); err != nil {
		t.Fatal(err)
	}
	lock, err := mem.Lock("out/lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), mem, bytes.NewReader(whole), "out"); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("beside another one: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}
