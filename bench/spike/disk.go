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

	turn chan struct{} // holds one: the flush that runs
	mu   sync.Mutex
	next chan struct{} // closed at the end of the flush that waits for its turn
}

func newDisk(fs vfs.FS, flushTime time.Duration) *disk {
	return &disk{fs: fs, flushTime: flushTime, turn: make(chan struct{}, 1)}
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
	d.mu.Lock()
	if mine := d.next; mine != nil {
		d.mu.Unlock()
		<-mine
		return
	}
	mine := make(chan struct{})
	d.next = mine
	d.mu.Unlock()

	d.turn <- struct{}{}
	d.mu.Lock()
	d.next = nil // who comes from now on needs another one
	d.mu.Unlock()
	time.Sleep(d.flushTime)
	<-d.turn
	close(mine)
}
