package vfs_test

import (
	"fmt"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// BenchmarkPowerCut is one clone of what a crash test of a broker has: a few
// preallocated journal files and some segments with a little unsynced data.
func BenchmarkPowerCut(b *testing.B) {
	m := vfs.NewMem()
	for i := range 4 {
		f := create(b, m, fmt.Sprint("journal", i))
		must(b, f.Preallocate(0, 64<<20))
		must(b, f.Sync())
	}
	for i := range 20 {
		f := create(b, m, fmt.Sprint("segment", i))
		writeAt(b, f, 0, make([]byte, 64<<10))
		must(b, f.Sync())
		writeAt(b, f, 64<<10, make([]byte, 2000))
	}
	must(b, m.SyncDir("/"))
	rng := seeded(1)
	b.ReportAllocs()
	for b.Loop() {
		m.CrashClone(rng, vfs.CrashOptions{})
	}
}
