package broker

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/storage"
)

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// putEverywhere appends one batch of so many bytes to each partition.
func putEverywhere(t *testing.T, b *Broker, topic string, size int) {
	t.Helper()
	for n, p := range b.metadata.topic(topic).partitions {
		one := batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: 1, Value: make([]byte, size)})
		lsn, err := b.store.Commit(context.Background(), []storage.Append{{Partition: p, Batches: one}})
		if err != nil {
			t.Fatalf("partition %d: %v", n, err)
		}
		// One after the other: what waits in the journal's buffers is not measured.
		if err := b.store.Wait(context.Background(), lsn, storage.Written); err != nil {
			t.Fatal(err)
		}
	}
}

// segmentFiles counts the files of partitions but those of the metadata's own log.
func segmentFiles(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "topics", "*", "[1-9]*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestManyPartitionsAreCheap: ten thousand are created at once and take little;
// writing to them leaves nothing of the requests in memory.
func TestManyPartitionsAreCheap(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(context.Background(), Config{Dir: dir, JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	before := heap()
	files := segmentFiles(t, dir)
	begun := time.Now()
	if _, _, err := b.metadata.create(context.Background(), "wide", 10_000, nil); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	each := (heap() - before) / 10_000
	t.Logf("created in %v, %d bytes for each partition", took, each)
	if made := segmentFiles(t, dir) - files; made > 0 {
		t.Errorf("%d files were made for partitions that nobody wrote to", made)
	}
	if each > 4<<10 {
		t.Errorf("%d bytes for each partition", each)
	}
	if _, _, err := b.metadata.create(context.Background(), "written", 500, nil); err != nil {
		t.Fatal(err)
	}
	before = heap()
	putEverywhere(t, b, "written", 60_000)
	each = (heap() - before) / 500
	t.Logf("%d bytes for each partition written to", each)
	if each > 4<<10 {
		t.Errorf("%d bytes for each partition written to", each)
	}
}
