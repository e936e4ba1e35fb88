package journal

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestNewestFileIsMissed: of a file that was begun the absence is found, whatever
// else is there; not of one that was released, and not before its first frame.
func TestNewestFileIsMissed(t *testing.T) {
	mem := vfs.NewMem()
	cfg := testConfig(mem)
	missing := func(st State, want string) {
		t.Helper()
		if got, err := CheckNewest(mem, cfg.Dir, st); err != nil || got != want {
			t.Fatalf("missing %q, %v; want %q", got, err, want)
		}
	}
	var st State
	for life := range uint64(4) {
		j, next, _ := start(t, cfg, st)
		missing(next, "")
		durable(t, j, put(t, j, newEntry(0, int64(life), 10)))
		closed(t, j)
		missing(next, "")
		name := j.fileName(life + 1)
		if err := mem.Rename(name, name+".away"); err != nil {
			t.Fatal(err)
		}
		missing(next, name)
		missing(State{Replay: Position{File: life + 2, Offset: headerBlock}}, "")
		if err := mem.Rename(name+".away", name); err != nil {
			t.Fatal(err)
		}
		st = next
	}
}

// TestNewestSurvivesDamage: a slot that is torn leaves the other one, and neither
// is needed to go on.
func TestNewestSurvivesDamage(t *testing.T) {
	mem := vfs.NewMem()
	cfg := testConfig(mem)
	var st State
	for life := range int64(2) {
		j, next, _ := start(t, cfg, st)
		durable(t, j, put(t, j, newEntry(0, life, 10)))
		closed(t, j)
		st = next
	}
	for _, seq := range []uint64{1, 2} {
		if err := mem.Remove(filepath.Join(cfg.Dir, FileName(seq))); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(cfg.Dir, newestName)
	st = State{}
	for _, step := range []struct {
		flip int64
		want uint64
	}{{8 + 7, 1}, {newestSlot + 19, 0}} {
		flip(t, mem, name, step.flip)
		want := ""
		if step.want > 0 {
			want = filepath.Join(cfg.Dir, FileName(step.want))
		}
		if got, err := CheckNewest(mem, cfg.Dir, st); err != nil || got != want {
			t.Fatalf("after byte %d was changed: missing %q, %v; want %q", step.flip, got, err, want)
		}
	}
	j, _, _ := start(t, cfg, st)
	durable(t, j, put(t, j, newEntry(0, 0, 10)))
	closed(t, j)
}

// TestNewestOnTroubledDisks: no room for the note stops nobody; a failure does,
// as any other.
func TestNewestOnTroubledDisks(t *testing.T) {
	for _, c := range []struct {
		err  error
		fail bool
	}{{syscall.ENOSPC, false}, {syscall.EIO, true}} {
		mem := vfs.NewMem()
		cfg := testConfig(mem)
		faults := vfs.Inject(mem)
		cfg.FS = faults
		j, st, _ := start(t, cfg, State{})
		faults.Add(vfs.Rule{Op: vfs.OpWrite, Path: filepath.Join(cfg.Dir, newestName), Err: c.err})
		s := put(t, j, newEntry(0, 0, 10))
		err := j.WaitDurable(t.Context(), s.lsn)
		if failed := err != nil; failed != c.fail {
			t.Errorf("%v: a frame became durable with error %v", c.err, err)
		}
		if err := j.Close(); (err != nil) != c.fail {
			t.Errorf("%v: closed with error %v", c.err, err)
		}
		if missing, err := CheckNewest(mem, cfg.Dir, st); err != nil || missing != "" {
			t.Errorf("%v: missing %q, %v", c.err, missing, err)
		}
	}
	faults := vfs.Inject(vfs.NewMem())
	if missing, err := CheckNewest(faults, "/absent", State{}); err != nil || missing != "" {
		t.Errorf("of no journal: missing %q, %v", missing, err)
	}
	faults.Add(vfs.Rule{Op: vfs.OpOpen, Path: "/absent/newest", Err: syscall.EIO})
	if _, err := CheckNewest(faults, "/absent", State{}); !errors.Is(err, syscall.EIO) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a note that cannot be read: %v", err)
	}
}
