package storage

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/internal/batch"
)

// segment is one file of a partition's log with its index. Its bytes up to size
// never change; readers pin it, so that it outlives its deletion.
type segment struct {
	p    *Partition
	base int64
	// generation is 0 for a segment as it was appended. The cleaner writes each
	// one under a generation that the partition never had, so that no file of
	// its own can be taken for another.
	generation uint32
	log        *file
	ix         index
	aborts     txnIndex

	size atomic.Int64 // bytes that are whole batches
	end  atomic.Int64 // offset behind the last batch once sealed; -1 before
	refs atomic.Int32 // pins, and one of the log itself
	gone atomic.Bool  // unlink at the last unpin

	// ownFrom is where the bytes begin that this process wrote or checked;
	// verified holds ranges before it that readers checked.
	ownFrom  int64
	ownNext  int64 // offset at ownFrom in the segment that was active, else 0
	verified ranges

	prefixesGood atomic.Bool // the cleaner compared all prefixes with the index
	spoil        badPlace

	made       int64 // when this process made or found it, ms
	first      int64 // timestamp of its first batch once firstKnown; guarded by Partition.mu
	firstKnown bool
}

// segmentName is the name, without the suffix, of the files of a segment as it
// was appended.
func segmentName(partition int32, base int64) string {
	return fmt.Sprintf("%d-%020d", partition, base)
}

// segmentFile is what a segment's name tells beside the partition.
type segmentFile struct {
	base       int64
	generation uint32
}

// name is the name of the segment's files without the suffix.
func (f segmentFile) name(partition int32) string {
	if f.generation == 0 {
		return segmentName(partition, f.base)
	}
	return fmt.Sprintf("%s-%d", segmentName(partition, f.base), f.generation)
}

// parseSegmentName is the inverse of segmentFile.name.
func parseSegmentName(stem string) (partition int32, f segmentFile, ok bool) {
	number, rest, _ := strings.Cut(stem, "-")
	base, generation, cleaned := strings.Cut(rest, "-")
	n, err1 := strconv.ParseInt(number, 10, 32)
	b, err2 := strconv.ParseInt(base, 10, 64)
	g, err3 := uint64(0), error(nil)
	if cleaned {
		g, err3 = strconv.ParseUint(generation, 10, 32)
	}
	f = segmentFile{b, uint32(g)}
	ok = err1 == nil && err2 == nil && err3 == nil && stem == f.name(int32(n))
	return int32(n), f, ok
}

func newSegment(p *Partition, base int64) *segment { return newSegmentFile(p, segmentFile{base: base}) }

func newSegmentFile(p *Partition, at segmentFile) *segment {
	name := filepath.Join(p.topic.dir, at.name(p.number))
	s := &segment{p: p, base: at.base, generation: at.generation}
	s.log = p.store.files.file(name + ".log")
	s.ix.f = p.store.files.file(name + ".index")
	s.aborts.f = p.store.files.file(name + ".txnindex")
	s.ix.every = p.store.cfg.IndexBytes
	s.ix.maxTS = minTime
	s.made = p.store.cfg.Now().UnixMilli()
	s.end.Store(-1)
	s.refs.Store(1)
	return s
}

// pin keeps the files until unpin; false if they are gone already.
func (s *segment) pin() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *segment) unpin() {
	if s.refs.Add(-1) > 0 || !s.gone.Load() {
		return
	}
	for _, f := range []*file{s.log, s.ix.f, s.aborts.f} {
		// A file that stays because of an error is removed at the next start.
		_ = f.close(false)
		_ = f.set.fs.Remove(f.name)
	}
}

// remove gives up the log's own pin.
func (s *segment) remove() {
	s.gone.Store(true)
	s.unpin()
}

func (s *segment) corrupt(pos, offset int64, reason string) error {
	return &CorruptError{s.p.topic.id, s.p.number, s.log.name, pos, offset, reason}
}

// bad turns what a scan reports into an error with its place.
func (s *segment) bad(err error, offset int64) error {
	var b *badBatch
	if errors.As(err, &b) {
		return s.corrupt(b.pos, offset, b.reason)
	}
	return fmt.Errorf("read %s: %w", s.log.name, err)
}

// ensure reads the index at its first use, or makes it anew from the log. A
// start after a clean stop opens no partition file: this is where it happens.
func (s *segment) ensure() error {
	if s.ix.loaded.Load() {
		return nil
	}
	s.ix.loading.Lock()
	defer s.ix.loading.Unlock()
	if s.ix.loaded.Load() {
		return nil
	}
	size := s.size.Load()
	n, err := s.log.size()
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	if n < size {
		return s.corrupt(n, -1, fmt.Sprintf("the file has %d bytes, %d were made durable", n, size))
	}
	if s.end.Load() < 0 || !s.wholeIndex(size) {
		if err := s.rebuild(size); err != nil {
			return err
		}
	}
	s.ix.loaded.Store(true)
	return nil
}

// wholeIndex says whether a sealed segment's index ends as it should.
func (s *segment) wholeIndex(size int64) bool {
	n, err := s.ix.f.size()
	if err != nil || n == 0 || n%entryLen != 0 {
		return false
	}
	e, err := s.ix.read(int(n/entryLen) - 1)
	if err != nil || int64(e.pos) != size || s.base+int64(e.delta) != s.end.Load() {
		return false
	}
	s.ix.mu.Lock()
	s.ix.flushed, s.ix.tail = int(n/entryLen), nil
	s.ix.mu.Unlock()
	return true
}

// rebuild keeps the good entries of the index, cuts what follows them, and
// makes the rest from the batches.
func (s *segment) rebuild(size int64) error {
	x := &s.ix
	entries, err := x.readAll(size)
	if err != nil {
		entries = nil
	}
	if n, err := x.f.size(); err == nil && n > int64(len(entries))*entryLen {
		if err := x.f.truncate(int64(len(entries)) * entryLen); err != nil {
			return fmt.Errorf("cut %s: %w", x.f.name, err)
		}
	}
	at := indexEntry{maxTS: minTime}
	if len(entries) > 0 {
		at = entries[len(entries)-1]
	}
	x.mu.Lock()
	x.flushed, x.tail = len(entries), nil
	x.since, x.prefix, x.maxTS = 0, 0, at.maxTS
	x.mu.Unlock()
	_, err = scanHeaders(s.log, int64(at.pos), size, func(pos int64, h batch.Batch) bool {
		x.note(h, h.BaseOffset()-s.base, pos, int64(h.Len()))
		return true
	})
	if err != nil {
		return s.bad(err, s.base+int64(at.delta))
	}
	if end := s.end.Load(); end >= 0 {
		x.seal(end-s.base, size)
		// An index that cannot be written stays in memory; it is only slower to
		// be without at the next start.
		_ = x.flush(false)
	}
	return nil
}

// around is index.around that treats a damaged entry as none: the caller then
// scans from the start of the segment, and the next start makes it anew.
func (s *segment) around(before func(indexEntry) bool) (int, indexEntry, error) {
	if err := s.ensure(); err != nil {
		return 0, indexEntry{}, err
	}
	k, at, err := s.ix.around(before)
	if errors.Is(err, errIndex) {
		if err := s.heal(); err != nil {
			return 0, indexEntry{}, err
		}
		k, at, err = s.ix.around(before)
	}
	return k, at, err
}

// heal makes a damaged index anew. Its checksums of the batches' first bytes are
// then taken from the log as it stands, so damage to both at once is not found.
func (s *segment) heal() error {
	s.p.store.cfg.Logger.Warn("index damaged, made anew", "file", s.ix.f.name)
	return s.reindex()
}

// reindex makes the whole index anew, in memory first. Appends to an active
// segment may go on meanwhile, so its damaged entries are only left out.
func (s *segment) reindex() error {
	s.ix.loading.Lock()
	defer s.ix.loading.Unlock()
	if s.end.Load() < 0 {
		return s.corrupt(0, s.base, "the index of the active segment changed under the process")
	}
	if err := s.ix.f.openOrCreate(); err != nil {
		return err
	}
	if err := s.ix.f.truncate(0); err != nil {
		return err
	}
	return s.rebuild(s.size.Load())
}

// find returns the position of the batch that holds offset, or that follows it
// if the log has a gap there; size if all batches lie before.
func (s *segment) find(offset int64) (int64, error) {
	_, at, err := s.around(func(e indexEntry) bool { return s.base+int64(e.delta) <= offset })
	if err != nil {
		return 0, err
	}
	size, found := s.size.Load(), int64(-1)
	if int64(at.pos) >= size {
		return size, nil
	}
	_, err = scanHeaders(s.log, int64(at.pos), size, func(pos int64, h batch.Batch) bool {
		if h.NextOffset() > offset {
			found = pos
		}
		return found < 0
	})
	if err != nil {
		return 0, s.bad(err, offset)
	}
	if found < 0 {
		found = size
	}
	return found, nil
}

// cut returns where the batches that fit into [pos, pos+most) end, at least one
// and none that begins at offset end or later, and the offset that follows.
func (s *segment) cut(pos, limit int64, most int64, end int64) (stop, next int64, err error) {
	target := min(pos+most, limit)
	_, at, err := s.around(func(e indexEntry) bool {
		return int64(e.pos) <= target && s.base+int64(e.delta) <= end
	})
	if err != nil {
		return 0, 0, err
	}
	stop, next = pos, -1
	if int64(at.pos) > pos {
		stop, next = int64(at.pos), s.base+int64(at.delta)
	}
	if stop == limit {
		return stop, next, nil
	}
	_, err = scanHeaders(s.log, stop, limit, func(at int64, h batch.Batch) bool {
		if stop > pos && (at+int64(h.Len()) > target || h.BaseOffset() >= end) {
			return false
		}
		stop, next = at+int64(h.Len()), h.NextOffset()
		return true
	})
	if err != nil {
		return 0, 0, s.bad(err, next)
	}
	return stop, next, nil
}

// checkPrefixes compares bytes 0-16 of the batches from pos to limit, rounded
// out to index entries, with the checksums of the index. They lie outside the
// batches' own checksums. Behind the last entry see checkTail. A damaged index
// is made anew.
func (s *segment) checkPrefixes(pos, limit int64) error {
	err := s.comparePrefixes(pos, limit)
	if errors.Is(err, errIndex) {
		if err := s.heal(); err != nil {
			return err
		}
		err = s.comparePrefixes(pos, limit)
	}
	return err
}

func (s *segment) comparePrefixes(pos, limit int64) error {
	k, at, err := s.around(func(e indexEntry) bool { return int64(e.pos) <= pos })
	if err != nil {
		return err
	}
	var next [32]indexEntry
	for int64(at.pos) < limit {
		n, err := s.ix.from(k+1, next[:])
		if err != nil {
			return err
		}
		if n == 0 {
			return s.checkTail(at, limit)
		}
		for _, e := range next[:n] {
			if int64(at.pos) >= limit {
				break
			}
			if _, sum, err := s.scanPrefixes(at, int64(e.pos)); err != nil {
				return err
			} else if sum != e.prefix {
				return s.corrupt(int64(at.pos), s.base+int64(at.delta), "bytes 0-16 of the batches up to the next index entry differ from its checksum")
			}
			at = e
		}
		k += n
	}
	return nil
}

// scanPrefixes goes over the batches from an index entry to limit. It returns the
// offset behind them and the checksum of their bytes 0-16.
func (s *segment) scanPrefixes(at indexEntry, limit int64) (next int64, sum uint32, err error) {
	next = s.base + int64(at.delta)
	bad, reason := int64(-1), ""
	_, err = scanHeaders(s.log, int64(at.pos), limit, func(pos int64, h batch.Batch) bool {
		switch epoch := s.p.epochAt(h.BaseOffset()); {
		case h.BaseOffset() < next:
			bad, reason = pos, "the base offset lies before the end of the batch before"
			return false
		case epoch >= 0 && epoch != h.LeaderEpoch():
			bad, reason = pos, fmt.Sprintf("the leader epoch is %d, the log was in epoch %d there", h.LeaderEpoch(), epoch)
			return false
		}
		sum = crc32.Update(sum, castagnoli, h[:prefixLen])
		next = h.NextOffset()
		return true
	})
	switch {
	case err != nil:
		return 0, 0, s.bad(err, s.base+int64(at.delta))
	case bad >= 0:
		return 0, 0, s.corrupt(bad, next, reason)
	}
	return next, sum, nil
}

// checkTail looks at the batches behind the last index entry, which no checksum
// covers: their order, epochs, and the offset that the checkpoint tells for the
// end. The length of each is checked by its own checksum.
func (s *segment) checkTail(at indexEntry, limit int64) error {
	next, _, err := s.scanPrefixes(at, limit)
	if err == nil && limit == s.ownFrom && s.ownNext > 0 && next != s.ownNext {
		err = s.corrupt(int64(at.pos), s.base+int64(at.delta), fmt.Sprintf("the batches end at offset %d, the checkpoint says %d", next, s.ownNext))
	}
	return err
}

// checkBatch verifies the checksum of the batch at pos, reading it in pieces.
func (s *segment) checkBatch(pos, limit int64) (int64, error) {
	w := windows.Get().(*window)
	defer windows.Put(w)
	if limit-pos < batch.HeaderLen {
		return 0, s.corrupt(pos, -1, "the batch ends inside its header")
	}
	if err := readFull(s.log, w.b[:batch.HeaderLen], pos); err != nil {
		return 0, s.bad(err, -1)
	}
	h := batch.Batch(w.b[:batch.HeaderLen])
	n, reason := checkHeader(h, limit-pos)
	if reason != "" {
		return 0, s.corrupt(pos, -1, reason)
	}
	offset, want := h.BaseOffset(), h.CRC()
	crc := crc32c(h[prefixLen+4:])
	for at := int64(batch.HeaderLen); at < n; {
		c := min(int64(len(w.b)), n-at)
		if err := readFull(s.log, w.b[:c], pos+at); err != nil {
			return 0, s.bad(err, offset)
		}
		crc = crc32.Update(crc, castagnoli, w.b[:c])
		at += c
	}
	if crc != want {
		return 0, s.corrupt(pos, offset, fmt.Sprintf("checksum of the batch is %08x, its header says %08x", crc, want))
	}
	return n, nil
}

// readFull reads len(b) bytes; the end of the file inside them is a badBatch.
func readFull(r io.ReaderAt, b []byte, pos int64) error {
	n, err := r.ReadAt(b, pos)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &badBatch{pos + int64(n), "the file ends inside a batch"}
	}
	return err
}

// ranges remembers which bytes were verified: at most maxRanges runs, sorted
// and apart. When it is full, new runs are forgotten and verified again.
type ranges struct {
	sync.Mutex
	runs [][2]int64
}

const maxRanges = 64

// covered returns the end of the run that holds pos, or pos.
func (r *ranges) covered(pos int64) int64 {
	r.Lock()
	defer r.Unlock()
	for _, run := range r.runs {
		if run[0] <= pos && pos < run[1] {
			return run[1]
		}
	}
	return pos
}

func (r *ranges) add(from, to int64) {
	r.Lock()
	defer r.Unlock()
	out := r.runs[:0:0]
	for _, run := range r.runs {
		if run[1] < from || run[0] > to {
			out = append(out, run)
			continue
		}
		from, to = min(from, run[0]), max(to, run[1])
	}
	if len(out) >= maxRanges {
		return
	}
	r.runs = append(out, [2]int64{from, to})
}
