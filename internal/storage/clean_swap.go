package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// cleanerState is what a partition keeps for the cleaner; Partition.mu guards it.
type cleanerState struct {
	cleaned    int64  // offset up to which the log is compacted
	generation uint32 // the newest that was used
	synced     int64  // recovery point of the newest durable checkpoint
	noted      int64  // recovery point of the checkpoint that is being written
}

func (c *cleanerState) attach(st *partitionState) {
	c.cleaned, c.synced, c.noted = st.cleaned, st.next, st.next
	for _, seg := range st.segments {
		c.generation = max(c.generation, seg.generation)
	}
}

// removeStrays removes what a cleaning that a crash ended left over: files that
// were to replace others, or those that they had replaced. It comes after the
// first checkpoint of this life, which is then the durable list of segments.
func (s *Store) removeStrays() error {
	for _, t := range *s.topics.Load() {
		for _, p := range t.partitions() {
			p.mu.Lock()
			strays := p.strays
			p.strays = nil
			p.mu.Unlock()
			if err := p.removeSegments(strays); err != nil {
				return err
			}
		}
	}
	return nil
}

// newGeneration makes the files of a segment that shall replace others. Files of
// that name could only be left over from a life that ended cleanly.
func (p *Partition) newGeneration(base int64) (*segment, error) {
	p.mu.Lock()
	p.cleaner.generation++
	seg := newSegmentFile(p, segmentFile{base, p.cleaner.generation})
	p.mu.Unlock()
	for _, f := range []*file{seg.ix.f, seg.log} {
		if err := f.set.fs.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("clean %s-%d: %w", p.topic.name, p.number, err)
		}
	}
	if err := seg.log.create(); err != nil {
		return nil, fmt.Errorf("clean %s-%d: %w", p.topic.name, p.number, err)
	}
	seg.ix.loaded.Store(true)
	return seg, nil
}

// errOvertaken: the log is not any more what the cleaner looked at.
var errOvertaken = errors.New("the segments changed meanwhile")

// swap puts repl, which is synced, in the place of old, a run of the log's
// segments; repl is nil if nothing is left of them. The files of old stay until
// a checkpoint with the new list is durable, for it alone says which segments a
// log has: until then a start takes the old ones and removes the new.
func (p *Partition) swap(old []*segment, repl *segment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	s := &p.state
	at := slices.Index(s.segments, old[0])
	if at < 0 || at+len(old) > len(s.segments) || !slices.Equal(s.segments[at:at+len(old)], old) {
		s.Unlock()
		return errOvertaken
	}
	list := slices.Clone(s.segments[:at])
	if repl != nil {
		list = append(list, repl)
	} else if at > 0 {
		list[at-1].end.Store(old[len(old)-1].end.Load()) // it holds the gap
	}
	s.segments = append(list, s.segments[at+len(old):]...)
	for i, h := range s.hints {
		if slices.Contains(old, h.seg) {
			s.hints[i] = mark{}
		}
	}
	s.Unlock()
	p.fresh = slices.DeleteFunc(p.fresh, func(seg *segment) bool { return slices.Contains(old, seg) })
	p.changed.Store(true)
	p.store.discards.add(old, p.store.cfg.Now().Add(p.topic.rules().deleteDelay))
	return nil
}
