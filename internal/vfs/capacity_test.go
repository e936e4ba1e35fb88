package vfs_test

import (
	"syscall"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

const pageBytes = 4096

func free(t testing.TB, f vfs.FS) int64 {
	t.Helper()
	u, err := f.Usage("/")
	must(t, err)
	return u.Free
}

func TestFullDiskWritesWhatFits(t *testing.T) {
	m := vfs.NewMem()
	m.SetCapacity(3 * pageBytes)
	f := create(t, m, "f")
	n, err := f.WriteAt(make([]byte, 5*pageBytes), 100)
	is(t, err, syscall.ENOSPC)
	if n != 3*pageBytes-100 {
		t.Fatalf("wrote %d bytes", n)
	}
	if size, _ := f.Size(); size != 3*pageBytes || free(t, m) != 0 {
		t.Fatalf("size %d, free %d", size, free(t, m))
	}
	writeAt(t, f, 0, make([]byte, 3*pageBytes))
	must(t, f.Truncate(pageBytes+1))
	if got := free(t, m); got != pageBytes {
		t.Fatalf("free %d after Truncate", got)
	}
}

func TestReservedSpaceNeverRunsOut(t *testing.T) {
	m := vfs.NewMem()
	m.SetCapacity(4 * pageBytes)
	f := create(t, m, "f")
	must(t, f.Preallocate(0, 3*pageBytes))
	other := create(t, m, "other")
	is(t, other.Preallocate(0, 2*pageBytes), syscall.ENOSPC)
	if size, _ := other.Size(); size != 0 {
		t.Fatalf("a refused reservation left %d bytes", size)
	}
	writeAt(t, other, 0, []byte("the last page"))
	_, err := other.WriteAt([]byte("x"), pageBytes)
	is(t, err, syscall.ENOSPC)
	writeAt(t, f, 0, make([]byte, 3*pageBytes))
}

func TestSpaceComesBackWithTheLastHandle(t *testing.T) {
	m := vfs.NewMem()
	m.SetCapacity(4 * pageBytes)
	f := create(t, m, "f")
	writeAt(t, f, 0, make([]byte, 3*pageBytes))
	must(t, m.Remove("f"))
	if got := free(t, m); got != pageBytes {
		t.Fatalf("free %d while a handle is open", got)
	}
	must(t, f.Close())
	if got := free(t, m); got != 4*pageBytes {
		t.Fatalf("free %d after the last Close", got)
	}
	for _, name := range []string{"a", "b"} {
		g := create(t, m, name)
		writeAt(t, g, 0, make([]byte, pageBytes))
		must(t, g.Close())
	}
	must(t, m.Rename("a", "b"))
	if got := free(t, m); got != 3*pageBytes {
		t.Fatalf("free %d after a rename over a file", got)
	}
}

func TestCloneCountsItsOwnSpace(t *testing.T) {
	m := vfs.NewMem()
	m.SetCapacity(10 * pageBytes)
	f := create(t, m, "f")
	must(t, f.Preallocate(0, 4*pageBytes))
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	writeAt(t, create(t, m, "lost"), 0, make([]byte, pageBytes))
	seen := map[int64]bool{}
	outcomes(m, func(c *vfs.Mem) string {
		seen[free(t, c)/pageBytes] = true
		return ""
	})
	if len(seen) != 2 || !seen[5] || !seen[6] {
		t.Fatalf("free pages %v, want 5 or 6", seen)
	}
}

func TestPowerCutGivesBackWhatWasNotSynced(t *testing.T) {
	m := vfs.NewMem()
	m.SetCapacity(10 * pageBytes)
	f := sectors(t, m, "f", 8, 'o')
	must(t, f.Preallocate(0, 4*pageBytes))
	outcomes(m, func(c *vfs.Mem) string {
		info, err := c.Stat("f")
		must(t, err)
		if pages := (info.Size + pageBytes - 1) / pageBytes; free(t, c) != (10-pages)*pageBytes {
			t.Fatalf("a file of %d bytes leaves %d free", info.Size, free(t, c))
		}
		return ""
	})
	must(t, f.Sync())
	must(t, f.Truncate(0))
	seen := map[int64]bool{}
	outcomes(m, func(c *vfs.Mem) string {
		seen[free(t, c)/pageBytes] = true
		return ""
	})
	if !seen[9] || !seen[10] {
		t.Fatalf("free pages %v: the old page may come back, and then it counts", seen)
	}
}

func TestPreallocatedFileCostsNothing(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "f")
	allocs := testing.AllocsPerRun(1, func() {
		must(t, f.Preallocate(0, 64<<20))
		writeAt(t, f, 32<<20, []byte("x"))
		must(t, f.Sync())
	})
	if allocs > 100 {
		t.Fatalf("%v allocations", allocs)
	}
}
