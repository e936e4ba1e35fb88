package main

import (
	"fmt"
	"path/filepath"
	"sync"

	"github.com/weirstream/weir/internal/vfs"
)

const (
	journalFiles    = 4
	checkpointEvery = 64_000_000
	groupLimit      = 4 << 20 // bytes of one group write
	headerSize      = 64
)

func open(fs vfs.FS, dir, name string, partitions int, s settings, d *disk) way {
	files := make([]*segment, partitions)
	for i := range files {
		f, err := fs.Create(filepath.Join(dir, fmt.Sprintf("p%d", i)))
		check(err)
		files[i] = &segment{file: f, reserve: s.reserve, disk: d}
		files[i].done.L = &files[i].mu
	}
	switch name {
	case "file":
		return fileWay(files)
	case "journal":
		return journalWay{newJournal(fs, dir, s, files, d)}
	case "reference":
		return referenceWay{newJournal(fs, dir, s, files, d)}
	}
	check(fmt.Errorf("no way %q: file, journal, reference", name))
	return nil
}

// segment is the file of one partition.
type segment struct {
	file    vfs.File
	disk    *disk
	reserve int64

	write sync.Mutex // the order of appends
	end   int64
	have  int64 // preallocated up to here

	mu      sync.Mutex // group commit
	done    sync.Cond
	written int64
	synced  int64
	syncing bool
	dirty   bool
}

func (s *segment) add(batch []byte) (end int64) {
	s.write.Lock()
	defer s.write.Unlock()
	if s.reserve > 0 && s.end+int64(len(batch)) > s.have {
		check(s.file.Preallocate(s.have, s.reserve))
		s.have += s.reserve
	}
	_, err := s.file.WriteAt(batch, s.end)
	check(err)
	s.end += int64(len(batch))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written, s.dirty = s.end, true
	return s.end
}

// wait returns when the file is durable up to end; one of those who wait syncs
// for all that was written before.
func (s *segment) wait(end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.synced < end {
		if s.syncing {
			s.done.Wait()
			continue
		}
		s.syncing, s.dirty = true, false
		covers := s.written
		s.mu.Unlock()
		s.disk.sync(s.file)
		s.mu.Lock()
		s.syncing, s.synced = false, covers
		s.done.Broadcast()
	}
}

type fileWay []*segment

func (w fileWay) append(p int, batch []byte) { w[p].wait(w[p].add(batch)) }
func (w fileWay) finish()                    { closeAll(w) }

func closeAll(files []*segment) {
	for _, s := range files {
		check(s.file.Close())
	}
}

type journalWay struct{ *journal }

func (w journalWay) append(p int, batch []byte) {
	s := w.segments[p]
	s.add(batch)
	<-w.enqueue(batch)
}

type referenceWay struct{ *journal }

func (w referenceWay) append(p int, batch []byte) {
	s := w.segments[p]
	s.wait(s.add(batch))
	<-w.enqueue(nil)
}

// group is what one write takes to the journal, and who waits for it.
type group struct {
	bytes []byte
	done  chan struct{}
}

type journal struct {
	dir          string
	segments     []*segment
	syncAllAbove int
	disk         *disk
	fileSize     int64
	files        [journalFiles]vfs.File

	mu    sync.Mutex
	room  sync.Cond
	fill  *group // takes frames
	kick  chan struct{}
	spare chan []byte // one group fills, one is being written, one syncs

	written    chan written  // from writer to syncer
	checkpoint chan int      // from syncer: this many files are full
	free       chan struct{} // one for each file that may be written again
	stopped    chan struct{}
}

type written struct {
	*group
	file int
	full bool
}

func newJournal(fs vfs.FS, dir string, s settings, segments []*segment, d *disk) *journal {
	j := &journal{dir: dir, segments: segments, syncAllAbove: s.syncAllAbove, fileSize: s.journalFile, disk: d,
		fill: &group{done: make(chan struct{})}, kick: make(chan struct{}, 1), spare: make(chan []byte, 3),
		written: make(chan written), checkpoint: make(chan int, journalFiles),
		free: make(chan struct{}, journalFiles), stopped: make(chan struct{})}
	j.room.L = &j.mu
	for range cap(j.spare) {
		j.spare <- make([]byte, 0, 2*groupLimit)
	}
	j.fill.bytes = <-j.spare
	zeros := make([]byte, 1<<20)
	for i := range j.files {
		f, err := fs.Create(filepath.Join(dir, fmt.Sprintf("journal%d", i)))
		check(err)
		for off := int64(0); off < s.journalFile; off += int64(len(zeros)) {
			_, err := f.WriteAt(zeros, off)
			check(err)
		}
		j.files[i] = f
		if i > 0 {
			j.free <- struct{}{}
		}
	}
	go j.write()
	go j.sync()
	go j.checkpoints()
	return j
}

// enqueue adds a frame and returns what is closed when it is durable.
func (j *journal) enqueue(batch []byte) <-chan struct{} {
	var header [headerSize]byte
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.fill.bytes) > 0 && len(j.fill.bytes)+headerSize+len(batch) > groupLimit {
		j.room.Wait()
	}
	j.fill.bytes = append(append(j.fill.bytes, header[:]...), batch...)
	select {
	case j.kick <- struct{}{}:
	default:
	}
	return j.fill.done
}

func (j *journal) take() *group {
	empty := <-j.spare
	j.mu.Lock()
	defer j.mu.Unlock()
	g := j.fill
	j.fill = &group{bytes: empty, done: make(chan struct{})}
	j.room.Broadcast()
	return g
}

func (j *journal) write() {
	file, off, since := 0, int64(0), int64(0)
	for range j.kick {
		g := j.take()
		if len(g.bytes) == 0 {
			j.spare <- g.bytes
			continue
		}
		full := off+int64(len(g.bytes)) > j.fileSize || since > checkpointEvery
		if full {
			<-j.free
			file, off, since = (file+1)%journalFiles, 0, 0
		}
		_, err := j.files[file].WriteAt(g.bytes, off)
		check(err)
		off += int64(len(g.bytes))
		since += int64(len(g.bytes))
		j.written <- written{g, file, full}
	}
	close(j.written)
}

func (j *journal) sync() {
	for w := range j.written {
		j.disk.sync(j.files[w.file])
		close(w.done)
		j.spare <- w.bytes[:0]
		if w.full {
			j.checkpoint <- 1
		}
	}
	close(j.checkpoint)
}

func (j *journal) checkpoints() {
	for range j.checkpoint {
		j.syncSegments()
		j.free <- struct{}{}
	}
	j.syncSegments()
	close(j.stopped)
}

func (j *journal) syncSegments() {
	var dirty []*segment
	for _, s := range j.segments {
		s.mu.Lock()
		if s.dirty {
			dirty = append(dirty, s)
			s.dirty = false
		}
		s.mu.Unlock()
	}
	if len(dirty) > j.syncAllAbove {
		j.disk.syncAll(j.dir)
		return
	}
	for _, s := range dirty {
		j.disk.sync(s.file)
	}
}

func (j *journal) finish() {
	close(j.kick)
	<-j.stopped
	for _, f := range j.files {
		check(f.Close())
	}
	closeAll(j.segments)
}
