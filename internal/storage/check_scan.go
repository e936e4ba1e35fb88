package storage

import (
	"fmt"
	"hash/crc32"
	"math"
	"strings"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// stretch is a part of a segment between two index entries.
type stretch struct {
	f        vfs.File
	name     string
	pos, to  int64
	end      int64   // no offset in it is this high or higher
	prefixes *uint32 // checksum of bytes 0-16 of its batches, if it is known
}

// index returns the stretches of a segment up to size, by the good entries of
// its index. Those of an active segment are never synced, so that only those of
// a sealed one can be damaged.
func (l *logCheck) index(s segmentState, size, end int64, sealed bool) []stretch {
	whole := []stretch{{to: size, end: end}}
	name := strings.TrimSuffix(l.fileName(segmentFile{s.base, s.generation}), ".log") + ".index"
	f, err := l.cfg.FS.Open(name)
	if err != nil {
		return whole
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil || n > size { // an entry stands for more than 24 bytes
		return whole
	}
	b := make([]byte, n/entryLen*entryLen)
	if err := readFull(f, b, 0); err != nil {
		return whole
	}
	var out []stretch
	last := indexEntry{}
	for at := 0; at < len(b); at += entryLen {
		e, ok := decodeEntry(b[at:])
		if !ok || e.pos <= last.pos || e.delta <= last.delta || int64(e.pos) > size || s.base+int64(e.delta) > end {
			if sealed {
				l.checker.problem(Problem{File: name, Position: int64(at), Topic: l.spec.Name, Partition: l.partition,
					Offset: s.base + int64(last.delta), Reason: "the entry is damaged", Next: nextHarmless, Harmless: true})
			}
			break
		}
		prefixes := e.prefix
		out = append(out, stretch{to: int64(e.pos), end: s.base + int64(e.delta), prefixes: &prefixes})
		last = e
	}
	if int64(last.pos) < size {
		out = append(out, stretch{to: size, end: end})
	}
	return out
}

// item is a good batch of a stretch.
type item struct {
	pos, n, base, next int64
	behind             bool // behind a bad one
}

// scanned is what was found in a stretch.
type scanned struct {
	items []item
	bad   []Problem
	order bool   // an offset is not what must follow
	sum   uint32 // of bytes 0-16 of the items
}

// stretch walks the batches up to the next index entry and hands on the good
// ones. Bytes 0-16 lie outside the batches' own checksums; so where they or the
// order of the offsets are wrong, a gap that compaction might have made counts as
// damage of the batch behind it.
func (l *logCheck) stretch(s stretch) error {
	found, err := l.scan(s, false)
	if err != nil {
		return err
	}
	mismatch := len(found.bad) == 0 && s.prefixes != nil && found.sum != *s.prefixes
	if found.order || mismatch {
		if found, err = l.scan(s, true); err != nil {
			return err
		}
		if mismatch && len(found.bad) == 0 {
			found.bad = []Problem{{Position: s.pos, Offset: l.expect, Reason: "bytes 0-16 of the batches up to the next index entry differ from its checksum"}}
		}
	}
	for _, p := range found.bad {
		l.problem(s.name, p.Position, p.Offset, p.Reason)
	}
	l.damaged = false
	for _, it := range found.items {
		l.damaged = it.behind
		if err := l.take(s, it); err != nil {
			return err
		}
	}
	l.damaged = len(found.bad) > 0
	if l.damaged && s.end < math.MaxInt64 {
		return l.gap(s.end)
	}
	return nil
}

// scan finds the good batches of a stretch. When it is strict, each must follow
// the one before without a gap.
func (l *logCheck) scan(s stretch, strict bool) (out scanned, err error) {
	expect, behind := l.expect, l.damaged
	var head [batch.HeaderLen]byte
	for pos := s.pos; pos < s.to; {
		n, reason, err := l.batchAt(s, pos, expect, head[:])
		if err != nil {
			return out, err
		}
		h := batch.Batch(head[:])
		switch {
		case reason == "" && strict && !behind && h.BaseOffset() != expect:
			reason = fmt.Sprintf("the base offset is %d, and %d must follow", h.BaseOffset(), expect)
		case reason == "":
			out.sum = crc32.Update(out.sum, castagnoli, head[:prefixLen])
			out.items = append(out.items, item{pos, n, h.BaseOffset(), h.NextOffset(), behind})
			expect, pos, behind = h.NextOffset(), pos+n, false
			continue
		case n < 0:
			out.order, n = true, -n
		}
		out.bad = append(out.bad, Problem{Position: pos, Offset: expect, Reason: reason})
		if pos, err = l.resync(s, pos, n, expect); err != nil {
			return out, err
		}
		behind = true
	}
	return out, nil
}

// batchAt checks the batch at pos: its header, the order of the offsets, its
// checksum. n is its length if the header tells one, else 0; it is negative if
// only the offsets are wrong.
func (l *logCheck) batchAt(s stretch, pos, expect int64, head []byte) (n int64, reason string, err error) {
	if s.to-pos < batch.HeaderLen {
		return 0, fmt.Sprintf("%d bytes are left, a header has %d", s.to-pos, batch.HeaderLen), nil
	}
	if err := readFull(s.f, head, pos); err != nil {
		return 0, "it cannot be read: " + err.Error(), nil
	}
	h := batch.Batch(head)
	n, reason = checkHeader(h, s.to-pos)
	switch {
	case reason != "":
		return 0, reason, nil
	case h.BaseOffset() < expect:
		return -n, fmt.Sprintf("the base offset is %d, before the end %d of the batch before", h.BaseOffset(), expect), nil
	case h.NextOffset() > s.end:
		return -n, fmt.Sprintf("the last offset is %d, and %d must follow at the latest", h.LastOffset(), s.end), nil
	}
	crc := crc32c(head[prefixLen+4:])
	if l.buf == nil {
		l.buf = make([]byte, 256<<10)
	}
	for at := int64(batch.HeaderLen); at < n; {
		c := min(int64(len(l.buf)), n-at)
		if err := readFull(s.f, l.buf[:c], pos+at); err != nil {
			return n, "it cannot be read: " + err.Error(), nil
		}
		crc = crc32.Update(crc, castagnoli, l.buf[:c])
		at += c
	}
	if crc != h.CRC() {
		return n, fmt.Sprintf("checksum of the batch is %08x, its header says %08x", crc, h.CRC()), nil
	}
	return n, "", nil
}

// resync finds the next good batch behind a bad one. If the bad one's header is
// plausible and a good batch, or nothing, follows it, that is the place.
// Otherwise every byte is tried that the disk gives.
func (l *logCheck) resync(s stretch, bad, n, expect int64) (int64, error) {
	var head [batch.HeaderLen]byte
	if n > 0 {
		if bad+n == s.to {
			return s.to, nil
		}
		if _, reason, err := l.batchAt(s, bad+n, expect, head[:]); reason == "" || err != nil {
			return bad + n, err
		}
	}
	const most, least = 64 << 10, 4 << 10
	window := make([]byte, most+batch.HeaderLen)
	step := int64(most)
	for from := bad + 1; from+batch.HeaderLen <= s.to; from += step {
		have := min(step+batch.HeaderLen, s.to-from)
		if err := readFull(s.f, window[:have], from); err != nil {
			if step > least {
				from, step = from-least, least // the same place again, in small pieces
			}
			continue
		}
		for k := int64(0); k < step && k+batch.HeaderLen <= have; k++ {
			if h := batch.Batch(window[k : k+batch.HeaderLen]); h[16] != 2 || h.BaseOffset() < expect || h.NextOffset() > s.end {
				continue
			}
			if _, reason, err := l.batchAt(s, from+k, expect, head[:]); reason == "" || err != nil {
				return from + k, err
			}
		}
	}
	return s.to, nil
}
