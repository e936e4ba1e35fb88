package vfs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

func TestRuleFailsTheNthOperation(t *testing.T) {
	f := vfs.Inject(vfs.NewMem(), vfs.Rule{Op: vfs.OpWrite, Path: "*.log", From: 2, Count: 2, Err: syscall.EIO})
	log, other := create(t, f, "a.log"), create(t, f, "a.txt")
	var got []bool
	for range 5 {
		writeAt(t, other, 0, []byte("x"))
		_, err := log.WriteAt([]byte("x"), 0)
		got = append(got, errors.Is(err, syscall.EIO))
	}
	if want := []bool{false, true, true, false, false}; !slices.Equal(got, want) {
		t.Fatalf("failed %v, want %v", got, want)
	}
}

func TestRuleWithoutCountFailsForGood(t *testing.T) {
	f := vfs.Inject(vfs.NewMem(), vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
	file := create(t, f, "f")
	for range 3 {
		is(t, file.Sync(), syscall.EIO)
	}
	f.Clear()
	must(t, file.Sync())
	f.Add(vfs.Rule{Op: vfs.OpSync, From: 2, Err: syscall.EIO})
	must(t, file.Sync())
	is(t, file.Sync(), syscall.EIO)
}

func TestRuleMatchesNames(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("d"))
	f := vfs.Inject(m,
		vfs.Rule{Op: vfs.OpRename, Path: "to", Err: syscall.ENOSPC},
		vfs.Rule{Op: vfs.OpCreate, Path: "d/*", Err: syscall.ENOSPC},
		vfs.Rule{Match: func(name string) bool { return strings.Contains(name, "odd") }, Err: syscall.EIO})
	create(t, f, "from")
	is(t, f.Rename("from", "to"), syscall.ENOSPC)
	if !exists(t, f, "from") {
		t.Fatal("a failed rename happened")
	}
	_, err := f.Create("d/f")
	is(t, err, syscall.ENOSPC)
	_, err = f.Create("oddity")
	is(t, err, syscall.EIO)
	if exists(t, m, "oddity") {
		t.Fatal("a failed create happened")
	}
}

func TestShortRuleDoesItsWorkFirst(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.Inject(m,
		vfs.Rule{Op: vfs.OpWrite, Err: syscall.ENOSPC, Short: true},
		vfs.Rule{Op: vfs.OpCreate, Path: "late", Err: syscall.EIO, Short: true})
	file := create(t, f, "f")
	n, err := file.WriteAt([]byte("12345"), 0)
	is(t, err, syscall.ENOSPC)
	if n != 2 {
		t.Fatalf("wrote %d bytes", n)
	}
	equal(t, contents(t, m, "f"), []byte("12"))
	_, err = f.Create("late")
	is(t, err, syscall.EIO)
	if !exists(t, m, "late") {
		t.Fatal("late was not made")
	}
}

// everyOp runs each operation once and says which fail.
func everyOp(f vfs.FS, file vfs.File) map[vfs.Op]error {
	out := map[vfs.Op]error{}
	_, out[vfs.OpCreate] = f.Create("new")
	_, out[vfs.OpOpen] = f.Open("f")
	out[vfs.OpMkdirAll] = f.MkdirAll("d/e")
	_, out[vfs.OpReadDir] = f.ReadDir("/")
	_, out[vfs.OpStat] = f.Stat("f")
	out[vfs.OpSyncDir] = f.SyncDir("/")
	out[vfs.OpSyncAll] = f.SyncAll("/")
	_, out[vfs.OpLock] = f.Lock("lock")
	_, out[vfs.OpUsage] = f.Usage("/")
	_, out[vfs.OpWrite] = file.WriteAt([]byte("x"), 0)
	_, out[vfs.OpRead] = file.ReadAt(make([]byte, 1), 0)
	out[vfs.OpPreallocate] = file.Preallocate(0, 2)
	out[vfs.OpTruncate] = file.Truncate(1)
	out[vfs.OpSync] = file.Sync()
	_, out[vfs.OpSize] = file.Size()
	out[vfs.OpClose] = file.Close()
	out[vfs.OpRename] = f.Rename("f", "g")
	out[vfs.OpRemove] = f.Remove("g")
	out[vfs.OpRemoveAll] = f.RemoveAll("d")
	return out
}

func TestEveryOperationIsCountedAndCanFail(t *testing.T) {
	f := vfs.Inject(vfs.NewMem())
	ran := everyOp(f, create(t, f, "f"))
	counts := f.Counts()
	for op, err := range ran {
		must(t, err)
		want := 1
		if op == vfs.OpCreate {
			want = 2
		}
		if counts[op] != want || f.Count(op) != want {
			t.Errorf("%v counted %d times, want %d", op, counts[op], want)
		}
	}
	if counts[vfs.OpAny] != len(ran)+1 {
		t.Errorf("%d operations counted, want %d", counts[vfs.OpAny], len(ran)+1)
	}
	for op := range ran {
		f := vfs.Inject(vfs.NewMem(), vfs.Rule{Op: op, From: 1 + counts[op] - 1, Err: syscall.EIO})
		if err := everyOp(f, create(t, f, "f"))[op]; !errors.Is(err, syscall.EIO) {
			t.Errorf("%v: %v", op, err)
		}
	}
}

func TestHookSeesEveryChange(t *testing.T) {
	f := vfs.Inject(vfs.NewMem())
	var got []string
	f.OnOp = func(op vfs.Op, path string, n int) { got = append(got, fmt.Sprintf("%d %v %s", n, op, path)) }
	everyOp(f, create(t, f, "f"))
	want := []string{"1 create f", "2 create new", "3 mkdirall d/e", "4 syncdir /", "5 syncall /", "6 lock lock",
		"7 write f", "8 preallocate f", "9 truncate f", "10 sync f", "11 rename g", "12 remove g", "13 removeall d"}
	if !slices.Equal(got, want) {
		t.Fatalf("hook saw\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHookMayCrash(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.Inject(m)
	var states []string
	f.OnOp = func(vfs.Op, string, int) {
		c := m.CrashClone(nil, vfs.CrashOptions{KeepUnsynced: true})
		states = append(states, string(contents(t, c, "f")))
	}
	file := create(t, f, "f")
	writeAt(t, file, 0, []byte("a"))
	writeAt(t, file, 1, []byte("b"))
	if want := []string{"", "a", "ab"}; !slices.Equal(states, want) {
		t.Fatalf("states %q, want %q", states, want)
	}
}

func TestInjectRefusesRulesThatCannotFire(t *testing.T) {
	for _, r := range []vfs.Rule{{Op: vfs.OpWrite}, {Path: "[", Err: syscall.EIO}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was accepted", r)
				}
			}()
			vfs.Inject(vfs.NewMem(), r)
		}()
	}
}
