package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/weirstream/weir/internal/journal"
	"github.com/weirstream/weir/internal/vfs"
)

// syncAllAbove is the number of dirty files above which the file system is
// synced as a whole.
const syncAllAbove = 64

// snapshot is what a checkpoint collects before it syncs.
type snapshot struct {
	files   []*file
	dirs    []string
	pins    []*segment
	changed []*Partition
}

// checkpoint makes all durable that was appended before it began, writes that
// down, and lets the journal recycle what lies before. One runs at a time: in the
// goroutine of keepCheckpoints, or before it begins, or after it has ended.
//
// Why no frame is lost between journal and segments: a Commit writes its
// segments, then enqueues its frame, both under the locks of its partitions. The
// position is taken first and each partition is locked after it. A frame below
// the position was enqueued by a Commit that either has given the locks back,
// or holds them, and then the snapshot waits for it: the snapshot has its bytes.
// Frames behind the position may be in the snapshot too; redoing compares
// offsets and skips those.
//
// Why no Commit is torn: a snapshot may hold one partition's part of a Commit
// and not the other's. The checkpoint is written only after the journal is
// durable up to the newest frame that any snapshot can hold, so redoing brings
// the other part.
func (s *Store) checkpoint(ctx context.Context, clean bool) error {
	turn := s.discards.begin()
	counted := s.sinceCheckpoint.Load()
	pos := s.j.Next()
	snap, err := s.collect()
	defer snap.unpin()
	if err != nil {
		return err
	}
	if newest := s.j.Next().LSN; newest > 1 {
		if err := s.j.WaitDurable(ctx, newest-1); err != nil {
			snap.again()
			return err
		}
	}
	if err := s.syncFiles(&snap); err != nil {
		// Never tried again, not even when the disk was full: the kernel may have
		// dropped what it could not write, and the next sync would say nothing.
		return s.fail(err)
	}
	if err := s.Err(); err != nil {
		return err
	}
	if err := s.writeCheckpoint(s.j.StateAt(pos), clean); err != nil {
		snap.again()
		return err
	}
	snap.done()
	s.j.Release(pos)
	s.sinceCheckpoint.Add(-counted)
	s.discards.covered(turn)
	s.signalCheckpoint()
	return nil
}

// collect takes the snapshot of every partition that changed.
func (s *Store) collect() (snapshot, error) {
	var snap snapshot
	dirs := map[string]bool{}
	for _, t := range *s.topics.Load() {
		for _, p := range t.partitions() {
			if !p.changed.Load() {
				continue
			}
			if err := p.snapshot(&snap, dirs); err != nil {
				return snap, err
			}
		}
	}
	for d := range dirs {
		snap.dirs = append(snap.dirs, d)
	}
	return snap, nil
}

func (p *Partition) snapshot(snap *snapshot, dirs map[string]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	deleted := p.state.deleted
	p.state.Unlock()
	if deleted {
		return nil
	}
	if a := p.active(); a != nil && a.ix.loaded.Load() {
		if err := p.flushIndex(a); err != nil {
			return fmt.Errorf("write index: %w", err)
		}
	}
	// Those of sealed segments are in memory only if there was no room for them.
	for _, seg := range p.fresh {
		if made, err := seg.aborts.flush(); err != nil && !noSpace(err) && !noDescriptor(err) {
			return fmt.Errorf("write transaction index: %w", err)
		} else if made {
			p.newFile = true
		}
	}
	now := p.store.cfg.Now().UnixMilli()
	p.forgetWhere(func(w *producer) bool { return p.store.idle(w, now) })
	p.changed.Store(false)
	st := p.current()
	p.cleaner.noted = st.next
	p.record = appendPartition(p.record[:0:0], &st)
	for _, seg := range p.fresh {
		if !seg.pin() {
			continue
		}
		snap.pins = append(snap.pins, seg)
		snap.files = append(snap.files, seg.log)
		if seg.end.Load() >= 0 {
			snap.files = append(snap.files, seg.ix.f)
		}
		snap.files = append(snap.files, seg.aborts.f) // clean, and skipped, if there is none
	}
	p.fresh = nil
	if p.newFile {
		dirs[p.topic.dir] = true
		p.newFile = false
	}
	snap.changed = append(snap.changed, p)
	return nil
}

// current describes the partition as it is; mu is held.
func (p *Partition) current() partitionState {
	p.state.Lock()
	defer p.state.Unlock()
	st := partitionState{
		topic: p.topic.id, partition: p.number, start: p.state.start, next: p.state.end,
		epochs: p.state.epochs, producers: p.windows, cleaned: p.cleaner.cleaned,
	}
	for _, seg := range p.state.segments {
		seg.ix.mu.Lock()
		st.segments = append(st.segments, segmentState{seg.base, seg.size.Load(), seg.ix.maxTS, seg.generation, uint32(seg.aborts.count())})
		seg.ix.mu.Unlock()
	}
	return st
}

// syncLog makes durable what was appended to one partition, also what a checkpoint
// that is at work has taken and not synced yet. The checkpoint that comes next does
// not know of it and finds nothing dirty.
func (p *Partition) syncLog() error {
	p.state.Lock()
	segments := p.state.segments
	p.state.Unlock()
	for _, seg := range segments {
		if err := seg.log.sync(); err != nil {
			return err
		}
	}
	return p.store.cfg.FS.SyncDir(p.topic.dir)
}

func (n *snapshot) unpin() {
	for _, seg := range n.pins {
		seg.unpin()
	}
}

// again lets the next checkpoint take the same partitions: their records speak
// of bytes that are not known to be synced.
func (n *snapshot) again() {
	for _, p := range n.changed {
		p.mu.Lock()
		for _, seg := range n.pins {
			if seg.p == p {
				p.fresh = append(p.fresh, seg)
			}
		}
		p.newFile = true
		p.mu.Unlock()
		p.changed.Store(true)
	}
}

// done lets the cleaner go up to what the checkpoint holds.
func (n *snapshot) done() {
	for _, p := range n.changed {
		p.mu.Lock()
		p.cleaner.synced = p.cleaner.noted
		p.mu.Unlock()
	}
}

// syncFiles makes the files of the snapshot durable, and then the directories
// that name them.
func (s *Store) syncFiles(snap *snapshot) error {
	dirty := snap.files[:0:0]
	for _, f := range snap.files {
		if f.unsynced() {
			dirty = append(dirty, f)
		}
	}
	if len(dirty) > syncAllAbove {
		// The marks go first: who writes meanwhile sets them again.
		for _, f := range dirty {
			f.syncing.Lock()
			defer f.syncing.Unlock()
			if err := f.intact(); err != nil {
				return fmt.Errorf("sync %s: %w", f.name, err)
			}
			f.dirty.Store(false)
		}
		err := s.cfg.FS.SyncAll(s.cfg.Dir)
		for _, f := range dirty {
			_ = f.note(err)
		}
		return err
	}
	for _, f := range dirty {
		if err := f.sync(); err != nil {
			return fmt.Errorf("sync %s: %w", f.name, err)
		}
	}
	for _, d := range snap.dirs {
		if err := s.cfg.FS.SyncDir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync %s: %w", d, err)
		}
	}
	return nil
}

// writeCheckpoint replaces the checkpoint file by one with the records that
// the partitions hold. A full disk gives up the ballast for it.
func (s *Store) writeCheckpoint(st journal.State, clean bool) error {
	var records [][]byte
	for _, t := range *s.topics.Load() {
		for _, p := range t.partitions() {
			p.mu.Lock()
			if len(p.record) > 0 {
				records = append(records, p.record)
			}
			p.mu.Unlock()
		}
	}
	b := encodeCheckpoint(&checkpoint{clean: clean, durability: s.cfg.Durability, epoch: s.epoch, journal: st}, records)
	name := filepath.Join(s.cfg.Dir, "checkpoint")
	err := writeDurable(s.cfg.FS, name, b)
	if err != nil && noSpace(err) && s.space.met() {
		err = writeDurable(s.cfg.FS, name, b)
	}
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// writeDurable replaces a file as one atomic, durable act.
func writeDurable(fsys vfs.FS, name string, b []byte) error {
	tmp := name + ".tmp"
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// readWhole reads a file that is small by nature.
func readWhole(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	return b, readFull(f, b, 0)
}

// wrote counts bytes and asks for a checkpoint when it is time; it also keeps the
// number of producers down.
func (s *Store) wrote(n int64) {
	if s.sinceCheckpoint.Add(n) >= s.cfg.CheckpointBytes {
		s.askCheckpoint()
	}
	s.limitProducers()
}

func (s *Store) askCheckpoint() {
	select {
	case s.want <- struct{}{}:
	default:
	}
}

// awaitCheckpoint waits until checkpoints have caught up.
func (s *Store) awaitCheckpoint(ctx context.Context) error {
	for {
		s.done.Lock()
		ch := s.done.ch
		s.done.Unlock()
		if s.sinceCheckpoint.Load() < 8*s.cfg.CheckpointBytes {
			return nil
		}
		s.askCheckpoint()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.failed:
			return s.Err()
		case <-s.closing:
			return ErrClosed
		}
	}
}

func (s *Store) signalCheckpoint() {
	s.done.Lock()
	close(s.done.ch)
	s.done.ch = make(chan struct{})
	s.done.Unlock()
}

// keepCheckpoints is the goroutine that writes checkpoints until Close.
func (s *Store) keepCheckpoints() {
	defer s.running.Done()
	if s.readOnly.Load() && !s.resume() {
		return
	}
	for {
		select {
		case <-s.closing:
			return
		case <-s.failed:
			return
		case <-s.want:
		}
		if s.sinceCheckpoint.Load() < s.cfg.CheckpointBytes && !s.crowded.Swap(false) && !s.discards.wanted.Swap(false) {
			continue // one that had just ended covered it
		}
		if err := s.checkpoint(s.ctx, false); err != nil {
			if noSpace(err) {
				s.cfg.Logger.Warn("no checkpoint: the disk is full", "error", err)
				s.space.met()
				continue
			}
			if s.ctx.Err() == nil {
				_ = s.fail(err)
			}
			continue
		}
		s.space.look()
	}
}
