package storage

import (
	"cmp"
	"errors"
	"slices"

	"github.com/weirstream/weir/internal/batch"
)

// Aborted lists the aborted transactions that have records at or behind offset
// from and before offset to, in the order of their first offsets: what a
// read_committed fetch of these offsets must tell its client. to is at most the
// last stable offset; behind it nothing is decided.
//
// It reads the entries of markers from offset from on, until one says that no
// other transaction before to was open: those of a few kilobytes, unless some
// transaction stays open for long while many others are aborted.
func (p *Partition) Aborted(from, to int64) ([]AbortedTxn, error) {
	for {
		list, err := p.aborted(from, to)
		if err != errReplaced {
			return list, err
		}
	}
}

func (p *Partition) aborted(from, to int64) (list []AbortedTxn, err error) {
	if from >= to {
		return nil, nil
	}
	p.state.Lock()
	segs, deleted, closed := p.state.segments, p.state.deleted, p.state.closed
	p.state.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case deleted:
		return nil, ErrDeleted
	case len(segs) == 0:
		return nil, nil
	}
	first := max(slices.Index(segs, segmentAt(segs, from)), 0)
	for _, seg := range segs[first:] {
		if seg.aborts.count() == 0 {
			continue
		}
		if !seg.pin() {
			return nil, p.vanished()
		}
		done := false
		list, done, err = seg.abortedIn(from, to, list)
		seg.unpin()
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
	}
	slices.SortFunc(list, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return list, nil
}

// abortedIn searches the segment's transaction index, which is made anew first if
// it is damaged. The segment is pinned.
func (s *segment) abortedIn(from, to int64, list []AbortedTxn) ([]AbortedTxn, bool, error) {
	n, done := len(list), false
	err := s.withTxnIndex(func() (err error) {
		list, done, err = s.aborts.search(from, to, list[:n])
		return err
	})
	return list, done, err
}

// allAborted returns all entries of the segment's transaction index.
func (s *segment) allAborted() (list []AbortedTxn, err error) {
	err = s.withTxnIndex(func() (err error) {
		list, err = s.aborts.all()
		return err
	})
	return list, err
}

// withTxnIndex reads the segment's transaction index, and once more when it had to be
// made anew.
func (s *segment) withTxnIndex(read func() error) error {
	err := read()
	if !errors.Is(err, errTxnIndex) {
		return err
	}
	if err := s.repairTxnIndex(); err != nil {
		return err
	}
	return read()
}

// repairTxnIndex makes the segment's transaction index anew from the log. That of
// the active segment is made with the partition locked, so that no entry is added
// meanwhile.
func (s *segment) repairTxnIndex() error {
	s.aborts.repairing.Lock()
	defer s.aborts.repairing.Unlock()
	if _, err := s.aborts.all(); !errors.Is(err, errTxnIndex) {
		return err // somebody else repaired it
	}
	s.p.store.cfg.Logger.Warn("transaction index absent or damaged, made anew", "file", s.aborts.f.name)
	s.p.mu.Lock()
	if s.end.Load() >= 0 {
		s.p.mu.Unlock()
	} else {
		defer s.p.mu.Unlock()
	}
	return s.rescanTxns()
}

// rescanTxns walks the headers of the log from its first segment to the end of
// this one: a transaction may have begun in any of them.
func (s *segment) rescanTxns() error {
	s.p.state.Lock()
	segs := s.p.state.segments
	s.p.state.Unlock()
	var scan txnScan
	var list []AbortedTxn
	for _, seg := range segs {
		if seg.base > s.base {
			break
		}
		own := seg == s
		if !seg.pin() {
			return s.p.vanished()
		}
		err := seg.eachTxnBatch(func(b batch.Batch) {
			if t, ok := scan.take(b); ok && own {
				list = append(list, t)
			}
		})
		seg.unpin()
		if err != nil {
			return err
		}
	}
	return s.aborts.replace(list)
}

// told is what a batch at pos with the header h tells of transactions: of a control
// batch that stands in its record, so it is read whole.
func (s *segment) told(pos int64, h batch.Batch) (batch.Batch, error) {
	if !h.Control() {
		return h, nil
	}
	return s.batchAt(pos, int64(h.Len()))
}

// eachTxnBatch shows the headers of all batches, and control batches whole.
func (s *segment) eachTxnBatch(f func(batch.Batch)) error {
	size := s.size.Load()
	var failed error
	_, err := scanHeaders(s.log, 0, size, func(pos int64, h batch.Batch) bool {
		var b batch.Batch
		if b, failed = s.told(pos, h); failed == nil {
			f(b)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return s.bad(err, -1)
	}
	return nil
}
