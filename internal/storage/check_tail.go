package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// place is a whole batch in a segment behind the recovery point.
type place struct {
	stretch
	item
}

// tail walks what lies behind the recovery point: the journal's frames, and the
// batches in the segments where those count, because the data was written
// without frames, or because the journal is damaged.
func (l *logCheck) tail(files []segmentFile) error {
	frames := l.frames[partitionKey{l.spec.ID, l.partition}]
	behind := map[int64]place{}
	l.damaged = false
	if l.os || l.badJournal {
		if err := l.behind(files, behind); err != nil {
			return err
		}
		defer closePlaces(behind)
	}
	if l.found == nil {
		return l.takeAll(behind, frames)
	}
	if l.os {
		if err := l.takeBehind(behind); err != nil {
			return err
		}
	}
	for _, b := range frames {
		if b.BaseOffset() < l.expect {
			continue
		}
		if b.BaseOffset() > l.expect {
			if err := l.takeBehind(behind); err != nil {
				return err
			}
		}
		if b.BaseOffset() < l.expect {
			continue // the segment had it
		}
		if b.BaseOffset() > l.expect {
			if l.os && !l.badJournal {
				break // such frames are dropped at a start
			}
			l.problem("journal", -1, l.expect, "the frames of these offsets are missing")
			if err := l.lose(b.BaseOffset()); err != nil {
				return err
			}
		}
		if err := l.takeFrame(b); err != nil {
			return err
		}
	}
	if err := l.takeBehind(behind); err != nil {
		return err
	}
	return l.takeAll(behind, nil)
}

func (l *logCheck) takeFrame(b batch.Batch) error {
	l.report.Batches++
	l.report.Bytes += int64(len(b))
	l.expect, l.damaged = b.NextOffset(), false
	return l.hand(b)
}

// takeAll takes what there is in the order of the offsets, over all gaps. So it
// goes behind damage, and in a directory without a checkpoint, where nothing
// tells where a log should end.
func (l *logCheck) takeAll(behind map[int64]place, frames []batch.Batch) error {
	framed := map[int64]batch.Batch{}
	for _, b := range frames {
		framed[b.BaseOffset()] = b
	}
	bases := slices.Collect(maps.Keys(behind))
	bases = slices.AppendSeq(bases, maps.Keys(framed))
	slices.Sort(bases)
	for _, base := range bases {
		if base < l.expect {
			continue
		}
		if base > l.expect {
			if !l.damaged {
				l.problem(topicDir(l.cfg.Dir, l.spec.ID), -1, l.expect, fmt.Sprintf("no batch of these offsets, though there are some from %d on", base))
			}
			if err := l.lose(base); err != nil {
				return err
			}
		}
		var err error
		if p, ok := behind[base]; ok {
			err = l.take(p.stretch, p.item)
		} else {
			err = l.takeFrame(framed[base])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeBehind takes the batches that follow without a gap.
func (l *logCheck) takeBehind(behind map[int64]place) error {
	for {
		p, ok := behind[l.expect]
		if !ok {
			return nil
		}
		if err := l.take(p.stretch, p.item); err != nil {
			return err
		}
	}
}

// behind finds the whole batches of the segments behind the recovery point. The
// first that is not whole ends a file: it is torn.
func (l *logCheck) behind(files []segmentFile, out map[int64]place) error {
	listed := map[segmentFile]int64{} // to the bytes that were walked
	for _, s := range l.st.segments {
		listed[segmentFile{s.base, s.generation}] = s.size
	}
	for _, f := range files {
		from, known := listed[f]
		if known && f.base != l.st.segments[len(l.st.segments)-1].base || !known && f.base < l.st.next {
			continue
		}
		if !known && f.generation > 0 && l.found != nil {
			continue // left over from a cleaning that was cut short
		}
		if err := l.behindIn(f, from, out); err != nil {
			return err
		}
	}
	return nil
}

func (l *logCheck) behindIn(file segmentFile, from int64, out map[int64]place) error {
	name, base := l.fileName(file), file.base
	f, err := l.cfg.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if from == 0 {
		l.report.Segments++
	}
	size, err := f.Size()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	var head [batch.HeaderLen]byte
	s := stretch{f: f, name: name, pos: from, to: size}
	used, gap := false, l.found == nil || from == 0
	for pos, expect := from, max(base, l.expect); pos < size; {
		// Nothing else bounds an offset here, and a damaged one may be anything.
		s.end = expect + math.MaxInt32
		n, reason, err := l.batchAt(s, pos, expect, head[:])
		if err != nil {
			return errors.Join(err, f.Close())
		}
		if h := batch.Batch(head[:]); reason == "" && !gap && h.BaseOffset() != expect {
			n, reason = -n, fmt.Sprintf("the base offset is %d, and %d must follow", h.BaseOffset(), expect)
		}
		gap = l.found == nil
		if reason != "" {
			gap = true
			bad := pos
			if pos, err = l.resync(s, pos, max(n, -n), expect); err != nil {
				return errors.Join(err, f.Close())
			}
			if pos < size || l.found == nil {
				l.problem(name, bad, expect, reason+"; good batches follow, which a start would cut off")
			}
			continue // at the end of the file: a torn end
		}
		h := batch.Batch(head[:])
		out[h.BaseOffset()] = place{s, item{pos: pos, n: n, base: h.BaseOffset(), next: h.NextOffset()}}
		expect, pos, used = h.NextOffset(), pos+n, true
	}
	if !used {
		return f.Close()
	}
	return nil
}

// closePlaces closes the files, each once. They were only read.
func closePlaces(behind map[int64]place) {
	closed := map[vfs.File]bool{}
	for _, p := range behind {
		if !closed[p.f] {
			closed[p.f] = true
			_ = p.f.Close()
		}
	}
}
