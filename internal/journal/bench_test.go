package journal

import (
	"fmt"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// BenchmarkAppend measures frames of one batch that 64 appenders keep in
// flight, on the file system of TMPDIR.
func BenchmarkAppend(b *testing.B) {
	for _, syncs := range []bool{true, false} {
		for _, size := range []int{1 << 10, 16 << 10, 256 << 10} {
			b.Run(fmt.Sprintf("sync=%v/%dKiB", syncs, size>>10), func(b *testing.B) {
				j, _, _ := start(b, Config{FS: vfs.OS(), Dir: b.TempDir(), Sync: syncs, Zero: true}, State{})
				entries := []Entry{newEntry(0, 0, size)}
				n := int64(len(entries[0].Batches))
				b.SetBytes(n)
				b.SetParallelism(32)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						err := j.Reserve(b.Context(), n)
						var lsn LSN
						if err == nil {
							lsn, err = j.Append(n, entries)
						}
						if err == nil {
							err = j.WaitDurable(b.Context(), lsn)
						}
						if err != nil {
							b.Error(err)
							return
						}
						if lsn%256 == 0 {
							j.Release(j.Next())
						}
					}
				})
				closed(b, j)
			})
		}
	}
}

// BenchmarkFirstFrame measures from an empty directory to a durable frame.
func BenchmarkFirstFrame(b *testing.B) {
	for b.Loop() {
		j, _, _ := start(b, Config{FS: vfs.OS(), Dir: b.TempDir(), Sync: true, Zero: true}, State{})
		durable(b, j, put(b, j, newEntry(0, 0, 100)))
		b.StopTimer()
		closed(b, j)
		b.StartTimer()
	}
}
