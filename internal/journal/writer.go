package journal

import (
	"context"
	"fmt"
)

// eagerBytes: while a sync runs, fewer bytes than these are not written before
// it has ended, unless somebody waits for the write. Many small frames then
// cost one write.
const eagerBytes = 256 << 10

// group is what one turn of the writer takes: frames, and where they go.
type group struct {
	buf  []byte
	runs []run
	last LSN
	room int64 // reserved bytes to give back once it is written
}

// run is a part of a group that goes to one file with one write.
type run struct {
	start       Position
	incarnation uint32
	from, to    int // in buf
}

// notice is a partition's progress, told once lsn is durable.
type notice struct {
	lsn LSN
	who Notifier
	end int64
}

// Append enqueues one frame, copying the bytes, and never blocks; n is what was
// reserved. After a failure it returns 0 and the failure.
func (j *Journal) Append(n int64, entries []Entry) (LSN, error) {
	j.mu.Lock()
	lsn, err := j.append(n, entries)
	if err != nil {
		j.giveBack(cost(n))
	}
	idle := err == nil && j.canWrite()
	j.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if idle {
		wake(j.wakeWriter)
	}
	return lsn, nil
}

// AppendWritten is Append and WaitWritten in one. In a journal without syncs the caller
// writes the frame itself, with all that is pending, if nobody else writes just now: to
// hand it to the writer and to be woken again takes longer than the write.
func (j *Journal) AppendWritten(ctx context.Context, n int64, entries []Entry) (LSN, error) {
	if j.cfg.Sync {
		lsn, err := j.Append(n, entries)
		if err != nil {
			return 0, err
		}
		return lsn, j.WaitWritten(ctx, lsn)
	}
	j.mu.Lock()
	lsn, err := j.append(n, entries)
	if err != nil {
		j.giveBack(cost(n))
		j.mu.Unlock()
		return 0, err
	}
	mine := j.canWrite()
	if mine {
		j.take()
	}
	j.mu.Unlock()
	if mine {
		j.turn()
		j.handOver()
	}
	return lsn, j.WaitWritten(ctx, lsn)
}

// handOver has the writer look for what has come while somebody else had the turn.
func (j *Journal) handOver() {
	j.mu.Lock()
	more := j.mu.err != nil || j.mu.closing || j.canWrite()
	j.mu.Unlock()
	if more {
		wake(j.wakeWriter)
	}
}

// append encodes a frame at the next position. The caller holds mu.
func (j *Journal) append(n int64, entries []Entry) (LSN, error) {
	switch {
	case j.mu.err != nil:
		return 0, j.mu.err
	case j.mu.closing:
		return 0, ErrClosed
	case !j.mu.started:
		return 0, ErrNotStarted
	}
	var bytes int64
	for i := range entries {
		bytes += int64(len(entries[i].Batches))
	}
	size := FrameBytes(bytes, len(entries))
	if size > j.MaxFrame() {
		return 0, fmt.Errorf("%w: %d bytes, %d are possible", ErrTooLarge, size, j.MaxFrame())
	}
	pos := j.mu.next
	if pos.Offset+size > j.cfg.FileBytes {
		pos.File, pos.Offset = pos.File+1, headerBlock
	}
	incarnation := j.mu.state.Spans[len(j.mu.state.Spans)-1].Incarnation
	head := frameHead{
		length:      frameHeader + int64(len(entries))*entryHeader + bytes,
		lsn:         pos.LSN,
		synced:      j.mu.synced,
		incarnation: incarnation,
	}
	g := &j.mu.pending
	from := len(g.buf)
	var err error
	if g.buf, err = appendFrame(g.buf, head, entries); err != nil {
		return 0, fmt.Errorf("append to journal: %w", err)
	}
	if k := len(g.runs); k > 0 && g.runs[k-1].start.File == pos.File {
		g.runs[k-1].to = len(g.buf)
	} else {
		g.runs = append(g.runs, run{start: pos, incarnation: incarnation, from: from, to: len(g.buf)})
	}
	g.last = pos.LSN
	g.room += cost(n)
	j.addNotices(pos.LSN, entries)
	j.mu.next = Position{File: pos.File, Offset: pos.Offset + size, LSN: pos.LSN + 1}
	return pos.LSN, nil
}

func (j *Journal) addNotices(lsn LSN, entries []Entry) {
	for i := range entries {
		e := &entries[i]
		if e.Notify == nil {
			continue
		}
		j.mu.notices = append(j.mu.notices, notice{lsn: lsn, who: e.Notify, end: e.End})
	}
}

// write is the writer: it takes all that is pending and writes it at once.
func (j *Journal) write() {
	defer func() {
		j.mu.Lock()
		j.mu.writerDone = true
		j.mu.Unlock()
		wake(j.wakeSyncer)
	}()
	for j.awaitTurn() {
		j.turn()
	}
}

// awaitTurn waits until there is something to write, and takes it. False ends the
// writer.
func (j *Journal) awaitTurn() bool {
	for {
		j.mu.Lock()
		if !j.mu.writing && (j.mu.err != nil || j.mu.closing && len(j.mu.pending.runs) == 0) {
			j.mu.Unlock()
			return false
		}
		if j.mu.err == nil && j.canWrite() {
			j.take()
			j.mu.Unlock()
			return true
		}
		j.mu.Unlock()
		<-j.wakeWriter
	}
}

// take makes what is pending the group that is written next, by who calls this. The
// caller holds mu.
func (j *Journal) take() {
	j.group, j.mu.pending = j.mu.pending, group{buf: j.group.buf[:0], runs: j.group.runs[:0]}
	j.mu.writing = true
}

// turn writes the group that was taken, and ends the turn.
func (j *Journal) turn() {
	g := &j.group
	for _, r := range g.runs {
		if err := j.writeRun(r, g.buf[r.from:r.to]); err != nil {
			j.fail(err)
			j.endTurn()
			return
		}
	}
	j.groupWritten(g)
}

func (j *Journal) endTurn() {
	j.mu.Lock()
	j.mu.writing = false
	j.mu.Unlock()
}

// canWrite decides whether the writer's turn has come. The caller holds mu.
func (j *Journal) canWrite() bool {
	if len(j.mu.pending.runs) == 0 || j.mu.writing || j.mu.unsynced >= j.unsyncedLimit() {
		return false
	}
	return !j.mu.syncing || j.mu.closing ||
		len(j.mu.pending.buf) >= eagerBytes || len(j.mu.writtenQueue) > 0 || len(j.mu.reserveQueue) > 0
}

// unsyncedLimit bounds what is written ahead of a slow sync, and with it the
// notices that are kept and the length of a torn tail.
func (j *Journal) unsyncedLimit() int64 { return 4 * j.cfg.BufferBytes }

// writeRun writes a run, into the next file if it begins there.
func (j *Journal) writeRun(r run, b []byte) error {
	f := j.mu.current // only who writes changes it
	if f.seq != r.start.File || f.File == nil {
		var err error
		if f, err = j.useFile(r.start.File, r.incarnation); err != nil {
			return err
		}
		if err := j.setCurrent(f); err != nil {
			return err
		}
	}
	if end := r.start.Offset + int64(len(b)); j.cfg.Zero && end > f.ready {
		if err := j.makeReady(&f, end); err != nil {
			return err
		}
		j.mu.Lock()
		j.mu.current.ready = f.ready
		j.mu.Unlock()
	}
	_, err := f.WriteAt(b, r.start.Offset)
	return err
}

// setCurrent makes f the file that is written. The one before is closed, by the
// syncer if there is one, after its last sync.
func (j *Journal) setCurrent(f openFile) error {
	j.mu.Lock()
	before := j.mu.current
	j.mu.current = f
	j.mu.files = append(j.mu.files, f.seq)
	if before.File != nil {
		j.mu.ready[before.seq] = before.ready
	}
	if before.File != nil && j.cfg.Sync {
		j.mu.old = append(j.mu.old, before)
	}
	j.mu.Unlock()
	var err error
	if before.File != nil && !j.cfg.Sync {
		err = before.Close()
	}
	wake(j.wakePrepare)
	return err
}

// groupWritten tells everybody that a group was handed to the operating system. Without
// syncs it is durable thereby, and the turn ends only when all have been told: they are
// told in the order of LSNs.
func (j *Journal) groupWritten(g *group) {
	j.mu.Lock()
	j.mu.fresh = true
	j.written.Store(uint64(g.last))
	j.mu.writtenQueue = j.wakeWaiters(j.mu.writtenQueue, g.last)
	j.giveBack(g.room)
	if j.cfg.Sync {
		j.mu.unsynced += int64(len(g.buf))
		j.mu.writing = false
	}
	g.room = 0
	j.mu.Unlock()
	r := g.runs[len(g.runs)-1]
	if at := j.spareFrom(); r.start.Offset < at && r.start.Offset+int64(r.to-r.from) >= at {
		wake(j.wakePrepare)
	}
	if int64(cap(g.buf)) > 2*j.cfg.BufferBytes {
		g.buf = nil // after a frame larger than the buffer
	}
	if j.cfg.Sync {
		wake(j.wakeSyncer)
		return
	}
	j.publish(g.last)
	j.endTurn()
}

// sync is the syncer: it makes durable what was written, while the writer
// writes the next group.
func (j *Journal) sync() {
	var files []openFile
	for {
		target, covered, ok := j.takeSync(&files)
		if !ok {
			return
		}
		for i, f := range files {
			err := f.Sync()
			if err == nil && i < len(files)-1 {
				err = f.Close()
			}
			if err != nil {
				j.fail(err)
				return
			}
		}
		j.syncEnded(target, covered, len(files)-1)
		j.publish(target)
	}
}

// takeSync waits until there is something to sync. The files are those with
// unsynced bytes, oldest first; the last one stays open. False ends the syncer.
func (j *Journal) takeSync(files *[]openFile) (target LSN, covered int64, ok bool) {
	for {
		j.mu.Lock()
		if j.mu.err != nil || j.mu.writerDone && j.mu.unsynced == 0 {
			j.mu.Unlock()
			return 0, 0, false
		}
		// After a sync, the writer's turn comes first, so that the next sync
		// covers what gathered meanwhile.
		if idle := len(j.mu.pending.runs) == 0 && !j.mu.writing; j.mu.unsynced > 0 && (j.mu.fresh || idle || j.mu.unsynced >= j.unsyncedLimit()) {
			*files = append(append((*files)[:0], j.mu.old...), j.mu.current)
			target, covered = LSN(j.written.Load()), j.mu.unsynced
			j.mu.syncing = true
			j.mu.Unlock()
			return target, covered, true
		}
		j.mu.Unlock()
		<-j.wakeSyncer
	}
}

// syncEnded lets the writer go on. closed is the number of old files that were
// synced to their end and closed.
func (j *Journal) syncEnded(target LSN, covered int64, closed int) {
	j.mu.Lock()
	j.mu.syncing, j.mu.fresh = false, false
	j.mu.synced = target
	j.mu.unsynced -= covered
	j.mu.old = append(j.mu.old[:0], j.mu.old[closed:]...)
	j.mu.Unlock()
	wake(j.wakeWriter)
	if closed > 0 {
		wake(j.wakePrepare)
	}
}

// publish tells partitions first, then those who wait: whoever is answered
// must be able to read what he wrote.
func (j *Journal) publish(lsn LSN) {
	j.mu.Lock()
	due := 0
	for due < len(j.mu.notices) && j.mu.notices[due].lsn <= lsn {
		due++
	}
	told := append(j.told[:0], j.mu.notices[:due]...)
	left := copy(j.mu.notices, j.mu.notices[due:])
	clear(j.mu.notices[left:])
	j.mu.notices = j.mu.notices[:left]
	j.mu.Unlock()
	for i, n := range told {
		if i+1 == len(told) || told[i+1].who != n.who {
			n.who.DurableTo(n.end)
		}
	}
	clear(told)
	j.told = told
	j.mu.Lock()
	j.durable.Store(uint64(lsn))
	j.mu.durableQueue = j.wakeWaiters(j.mu.durableQueue, lsn)
	j.mu.Unlock()
}
