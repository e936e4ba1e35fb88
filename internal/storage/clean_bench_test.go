package storage

import (
	"context"
	"fmt"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// BenchmarkClean compacts a log of 32 MiB on a real disk: batches of 16 records
// of 1 KiB, of which three quarters go. Bytes are those of the log.
func BenchmarkClean(b *testing.B) {
	value := make([]byte, 1000)
	for b.Loop() {
		b.StopTimer()
		s := mustOpen(b, Config{FS: vfs.OS(), Dir: b.TempDir(), Durability: OS, SegmentBytes: 4 << 20, CleanInterval: -1, BallastBytes: -1}, compacted())
		p := s.Partition(ordersID, 0)
		for i := range 2 << 10 {
			rs := make([]batch.Record, 16)
			for k := range rs {
				rs[k] = batch.Record{Timestamp: 1000, Key: fmt.Append(nil, "key ", (i*16+k)*7919%8192), Value: value}
			}
			put(b, s, p, batch.Build(batch.BuildOptions{}, rs...))
		}
		checkpointed(s)
		b.SetBytes(32 << 20)
		b.StartTimer()
		if err := s.CleanNow(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		mustClose(b, s)
		b.StartTimer()
	}
}
