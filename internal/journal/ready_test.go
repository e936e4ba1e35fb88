package journal

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/vfs"
)

// TestFramesGoOnlyIntoZeroedBlocks: no frame is written where the file was not
// zeroed and synced before, be the file new, a spare found at the start, or one
// recycled half used.
func TestFramesGoOnlyIntoZeroedBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		watch := &zeroWatch{FS: mem, t: t, files: map[string]*watchedFile{}}
		cfg := testConfig(watch)
		cfg.FileBytes, cfg.Zero, cfg.Sync = 3<<20, true, true
		var st State
		for round := range 4 {
			j, next, _ := start(t, cfg, st)
			for range 3 {
				fill(t, j, 300)
				pos := j.Next()
				st = j.StateAt(pos)
				j.Release(pos)
				synctest.Wait()
			}
			if round == 0 && next.Spans[0].Start.File != 1 {
				t.Fatalf("the first file is %d", next.Spans[0].Start.File)
			}
			closed(t, j)
			if _, _, err := replay(cfg, st); err != nil {
				t.Fatal(err)
			}
		}
		if watch.frames < 3000 {
			t.Fatalf("%d writes of frames were seen", watch.frames)
		}
	})
}

// zeroWatch knows of each file which prefix holds synced zeros or more.
type zeroWatch struct {
	vfs.FS
	t      *testing.T
	files  map[string]*watchedFile
	frames int
}

type watchedFile struct{ zeroed, synced int64 }

func (w *zeroWatch) Create(name string) (vfs.File, error) {
	f, err := w.FS.Create(name)
	w.files[name] = &watchedFile{}
	return &watchedHandle{File: f, w: w, state: w.files[name], name: name}, err
}

func (w *zeroWatch) Open(name string) (vfs.File, error) {
	f, err := w.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &watchedHandle{File: f, w: w, state: w.files[name], name: name}, nil
}

func (w *zeroWatch) Rename(from, to string) error {
	w.files[to] = w.files[from]
	return w.FS.Rename(from, to)
}

type watchedHandle struct {
	vfs.File
	w     *zeroWatch
	state *watchedFile
	name  string
}

func (h *watchedHandle) WriteAt(p []byte, off int64) (int, error) {
	switch {
	case isZero(p):
		if off <= max(h.state.zeroed, headerBlock) {
			h.state.zeroed = max(h.state.zeroed, off+int64(len(p)))
		}
	case off >= headerBlock:
		h.w.frames++
		if end := off + int64(len(p)); end > h.state.synced {
			h.w.t.Errorf("%s: a frame at %d–%d, zeroed and synced to %d", h.name, off, end, h.state.synced)
		}
	}
	return h.File.WriteAt(p, off)
}

func (h *watchedHandle) Sync() error {
	err := h.File.Sync()
	if err == nil && h.state != nil {
		h.state.synced = h.state.zeroed
	}
	return err
}

func isZero(p []byte) bool { return strings.Trim(string(p), "\x00") == "" }

// TestCutFileIsRefused: when the newest file loses its end, all that could tell
// of the frames there goes with it, but the length in its header.
func TestCutFileIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	cfg := testConfig(mem)
	j, st, _ := start(t, cfg, State{})
	for i := range 3 {
		durable(t, j, put(t, j, newEntry(0, int64(i), 3000)))
	}
	closed(t, j)
	name := j.fileName(1)
	f, err := mem.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{headerBlock + 4000, headerBlock, headerBlock - 1, 512, 36} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		var corrupt *CorruptError
		if _, _, err := replay(cfg, st); !errors.As(err, &corrupt) || corrupt.File != name || corrupt.Offset != size {
			t.Fatalf("cut to %d bytes: error is %v, want a CorruptError at the end of %s", size, err, name)
		}
	}
}
