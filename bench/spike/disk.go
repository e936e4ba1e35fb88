package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// disk counts syncs, and makes them as slow as on another disk. One flush runs
// at a time, and all syncs that come meanwhile share the next one, as Linux
// merges them. What a growing file costs a file system's own journal is left
// out, which flatters the ways that sync growing files.
type disk struct {
	fs        vfs.FS
	flushTime time.Duration
	syncs     atomic.Int64

	mu   sync.Mutex // held while a flush runs
	next struct {
		sync.Mutex
		flush *sync.Once
	}
}

func (d *disk) sync(f vfs.File) {
	check(f.Sync())
	d.flush()
}

func (d *disk) syncAll(dir string) {
	check(d.fs.SyncAll(dir))
	d.flush()
}

func (d *disk) flush() {
	d.syncs.Add(1)
	if d.flushTime == 0 {
		return
	}
	d.next.Lock()
	if d.next.flush == nil {
		d.next.flush = new(sync.Once)
	}
	mine := d.next.flush
	d.next.Unlock()
	mine.Do(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.next.Lock()
		d.next.flush = nil // who comes from now on needs another one
		d.next.Unlock()
		time.Sleep(d.flushTime)
	})
}
