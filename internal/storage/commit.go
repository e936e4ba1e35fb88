package storage

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/journal"
)

// Commit appends to all logs named or to none, as one atomic act, and returns
// the LSN to wait for before anybody is told. An error refuses the whole.
// Commit waits (with ctx) for room in the journal's buffer, never for a sync.
//
// With durability os, a Commit to one partition writes no frame and its LSN is
// 0: a killed process loses nothing that the page cache holds. A Commit to
// several partitions has a frame in both modes. There the frame is written
// before the segments: the next start trusts whole batches that it finds in a
// segment, so a kill between two segments would otherwise tear the Commit.
func (s *Store) Commit(ctx context.Context, appends []Append) (LSN, error) {
	n := int64(0)
	for i := range appends {
		n += int64(len(appends[i].Batches))
	}
	if n == 0 {
		return 0, errors.New("empty commit")
	}
	if err := s.admit(ctx, appends, n); err != nil {
		return 0, err
	}
	framed := s.cfg.Durability == Sync || len(appends) > 1
	if framed {
		if size := journal.FrameBytes(n, len(appends)); size > s.j.MaxFrame() {
			return 0, fmt.Errorf("%w: the commit needs %d bytes, a journal file holds %d", batch.ErrTooLarge, size, s.j.MaxFrame())
		}
		if err := s.j.Reserve(ctx, n); err != nil {
			return 0, s.journalError(err)
		}
	}
	used, lsn, err := false, LSN(0), error(nil)
	if len(appends) == 1 {
		used, lsn, err = s.commitOne(&appends[0], n, framed)
	} else {
		used, lsn, err = s.commitMany(ctx, appends, n)
	}
	if framed && !used {
		s.j.Cancel(n)
	}
	if err == nil {
		s.wrote(n)
	}
	return lsn, err
}

// commitOne is Commit for one partition, as Produce uses it: nothing is allocated.
func (s *Store) commitOne(a *Append, n int64, framed bool) (used bool, lsn LSN, err error) {
	p := a.Partition
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.prepare(a); err != nil {
		return false, 0, err
	}
	if a.Duplicate {
		return false, p.LastLSN(), nil
	}
	if err := p.write(); err != nil {
		p.undo()
		return false, 0, s.segmentError(p, err)
	}
	p.publish(s.nowMillis(a.Batches), framed)
	if framed {
		p.entry[0] = p.frame()
		l, err := s.j.Append(n, p.entry[:])
		p.entry[0] = journal.Entry{} // an idle partition must not keep a request's buffer alive
		if err != nil {
			return true, 0, s.journalError(err)
		}
		lsn = LSN(l)
	}
	p.finish(lsn, !framed)
	return framed, lsn, nil
}

// commitMany is Commit for several partitions.
func (s *Store) commitMany(ctx context.Context, appends []Append, n int64) (used bool, lsn LSN, err error) {
	list := make([]*Append, len(appends))
	for i := range appends {
		list[i] = &appends[i]
	}
	slices.SortFunc(list, func(a, b *Append) int { return a.Partition.compare(b.Partition) })
	for i := range list[1:] {
		if list[i].Partition == list[i+1].Partition {
			return false, 0, errors.New("a commit names a partition twice")
		}
	}
	for _, a := range list {
		a.Partition.mu.Lock()
	}
	defer func() { // one, not one for each: those would be allocated
		for i := range appends {
			appends[i].Partition.mu.Unlock()
		}
	}()
	var duplicates LSN
	fresh := list[:0]
	for _, a := range list {
		if err := a.Partition.prepare(a); err != nil {
			return false, 0, err
		}
		if a.Duplicate {
			duplicates = max(duplicates, a.Partition.LastLSN())
			continue
		}
		fresh = append(fresh, a)
	}
	if len(fresh) == 0 {
		return false, duplicates, nil
	}
	if s.cfg.Durability == Sync {
		return s.commitSync(fresh, n)
	}
	return s.commitOS(ctx, fresh, n)
}

func (s *Store) commitSync(list []*Append, n int64) (used bool, lsn LSN, err error) {
	for i, a := range list {
		if err := a.Partition.write(); err != nil {
			return false, 0, s.undo(list[:i+1], err)
		}
	}
	for _, a := range list {
		a.Partition.publish(s.nowMillis(a.Batches), true)
	}
	l, err := s.j.Append(n, frames(list))
	if err != nil {
		return true, 0, s.journalError(err)
	}
	for _, a := range list {
		a.Partition.finish(LSN(l), false)
	}
	return true, LSN(l), nil
}

// commitOS reserves room, has the frame written, and only then writes the
// segments. It waits for the write of the journal under the partitions' locks,
// which is a write to the page cache like the segments' own.
func (s *Store) commitOS(ctx context.Context, list []*Append, n int64) (used bool, lsn LSN, err error) {
	for i, a := range list {
		if err := a.Partition.reserve(); err != nil {
			return false, 0, s.undo(list[:i+1], err)
		}
	}
	// The frame cannot be taken back, so the caller's context does not end this.
	l, err := s.j.AppendWritten(context.WithoutCancel(ctx), n, frames(list))
	if err != nil {
		return true, 0, s.journalError(err)
	}
	for _, a := range list {
		if err := a.Partition.write(); err != nil {
			return true, 0, s.fail(fmt.Errorf("write segment behind its frame: %w", err))
		}
	}
	for _, a := range list {
		a.Partition.publish(s.nowMillis(a.Batches), false)
		a.Partition.finish(LSN(l), true)
	}
	return true, LSN(l), nil
}

func frames(list []*Append) []journal.Entry {
	entries := make([]journal.Entry, len(list))
	for i, a := range list {
		entries[i] = a.Partition.frame()
	}
	return entries
}

// undo cuts back what was written of a refused Commit.
func (s *Store) undo(list []*Append, err error) error {
	at := list[len(list)-1].Partition
	for _, a := range list {
		a.Partition.undo()
	}
	return s.segmentError(at, err)
}

// segmentError turns a failed segment write into what Commit returns: a full
// disk and a lack of file descriptors refuse this append, a damaged log those to
// its partition until its records are deleted, anything else ends the store.
func (s *Store) segmentError(p *Partition, err error) error {
	err = fmt.Errorf("append %s-%d: %w", p.topic.name, p.number, err)
	if noSpace(err) {
		s.space.met()
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if noDescriptor(err) {
		return fmt.Errorf("%w: %w", ErrNoDescriptor, err)
	}
	if corrupt := (*CorruptError)(nil); errors.As(err, &corrupt) || errors.Is(err, ErrHeld) {
		return err
	}
	return s.fail(err)
}

// compare gives the order in which partitions are locked.
func (p *Partition) compare(q *Partition) int {
	return cmp.Or(bytes.Compare(p.topic.id[:], q.topic.id[:]), cmp.Compare(p.number, q.number))
}

// nowMillis asks the clock only if a batch has a producer, whose last use is kept.
func (s *Store) nowMillis(b []byte) int64 {
	if len(b) < batch.HeaderLen || batch.Batch(b).ProducerID() < 0 {
		return 0
	}
	return s.cfg.Now().UnixMilli()
}

// admit refuses what must not be appended now, and waits while checkpoints are
// far behind, so that the journal stays bounded.
func (s *Store) admit(ctx context.Context, appends []Append, n int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.space.low.Load() && !fromReserve(appends) {
		return ErrNoSpace
	}
	if s.sinceCheckpoint.Load() < 8*s.cfg.CheckpointBytes {
		return nil
	}
	return s.awaitCheckpoint(ctx)
}

// fromReserve: what the broker itself writes goes on while the disk is almost
// full, so that topics can be deleted and groups can read and commit.
func fromReserve(appends []Append) bool {
	for i := range appends {
		if appends[i].Partition.topic.reserve {
			return true
		}
	}
	return false
}
