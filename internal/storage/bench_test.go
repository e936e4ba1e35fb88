package storage

import (
	"context"
	"fmt"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

var sizes = []struct {
	name  string
	bytes int
}{{"1KiB", 1 << 10}, {"16KiB", 16 << 10}, {"256KiB", 256 << 10}}

func filler(bytes int) batch.Batch {
	return batch.Build(batch.BuildOptions{}, batch.Record{Value: make([]byte, bytes-80)})
}

// TestAppendAllocatesNothing: in steady state Commit to one partition leaves
// nothing to the garbage collector, with a producer id or without.
func TestAppendAllocatesNothing(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			s := mustOpen(t, Config{FS: vfs.OS(), Dir: t.TempDir(), Durability: mode, BallastBytes: -1, JournalFileBytes: 16 << 20}, orders)
			defer mustClose(t, s)
			p := s.Partition(ordersID, 0)
			plain, sequence := filler(1<<10), int32(0)
			as := []Append{{Partition: p}}
			appendOnce := func(b []byte) {
				as[0].Batches = b
				lsn, err := s.Commit(context.Background(), as)
				if err == nil {
					err = s.Wait(context.Background(), lsn, Durable)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			var idem [120]batch.Batch
			for i := range idem {
				idem[i] = produced(7, 0, sequence, 1)
				sequence++
			}
			for range 400 { // windows, queues and the index tail find their size
				appendOnce(plain)
			}
			for _, b := range idem[:10] {
				appendOnce(b)
			}
			if n := testing.AllocsPerRun(100, func() { appendOnce(plain) }); n >= 1 {
				t.Errorf("%v allocations for a plain batch", n)
			}
			next := 10
			if n := testing.AllocsPerRun(100, func() { appendOnce(idem[next]); next++ }); n >= 1 {
				t.Errorf("%v allocations for an idempotent batch", n)
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, mode := range []struct {
		name string
		d    Durability
	}{{"sync", Sync}, {"os", OS}} {
		for _, size := range sizes {
			b.Run(mode.name+"/"+size.name, func(b *testing.B) {
				s := mustOpen(b, Config{FS: vfs.OS(), Dir: b.TempDir(), Durability: mode.d, BallastBytes: -1}, orders)
				defer mustClose(b, s)
				data := filler(size.bytes)
				as := []Append{{Partition: s.Partition(ordersID, 0), Batches: data}}
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				var lsn LSN
				for b.Loop() {
					var err error
					if lsn, err = s.Commit(context.Background(), as); err != nil {
						b.Fatal(err)
					}
				}
				if err := s.Wait(context.Background(), lsn, Durable); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			s := mustOpen(b, Config{FS: vfs.OS(), Dir: b.TempDir(), Durability: OS, BallastBytes: -1}, orders)
			defer mustClose(b, s)
			p := s.Partition(ordersID, 0)
			data := filler(size.bytes)
			n := int64(64<<20) / int64(len(data))
			for range n {
				put(b, s, p, data)
			}
			buf := make([]byte, 1<<20)
			at := int64(0)
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				e, err := p.Read(at, 1<<20, n)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.ReadAt(buf[:e.Len()], 0); err != nil {
					b.Fatal(err)
				}
				at += int64(e.Len() / len(data))
				if at+int64(1<<20/len(data)) > n {
					at = 0
				}
				e.Release()
			}
		})
	}
}
