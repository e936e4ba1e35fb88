package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/journal"
)

// formatVersion is the version of the data directory's layout.
const formatVersion = 1

// checkFormat reads Dir/format, or writes it into a new directory.
func (s *Store) checkFormat() error {
	name := filepath.Join(s.cfg.Dir, "format")
	b, err := readWhole(s.cfg.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := s.cfg.FS.Stat(filepath.Join(s.cfg.Dir, "checkpoint")); err == nil {
			return &CorruptError{File: name, Offset: -1, Reason: "it is missing, though there is a checkpoint"}
		}
		return writeDurable(s.cfg.FS, name, fmt.Appendf(nil, "weir data %d\n", formatVersion))
	}
	if err != nil {
		return fmt.Errorf("read format: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "weir data ")
	v, err := strconv.Atoi(text)
	if !ok || err != nil {
		return &CorruptError{File: name, Offset: -1, Reason: "it does not tell a format version"}
	}
	if v > formatVersion {
		return &FormatError{Dir: s.cfg.Dir, Found: v, Supported: formatVersion}
	}
	return nil
}

// readCheckpoint reads the newest checkpoint. A directory without one was never
// appended to: the first checkpoint precedes the first append.
func (s *Store) readCheckpoint() (*checkpoint, error) {
	name := filepath.Join(s.cfg.Dir, "checkpoint")
	b, err := readWhole(s.cfg.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		if topics, _ := s.cfg.FS.ReadDir(filepath.Join(s.cfg.Dir, "topics")); len(topics) > 0 {
			return nil, &CorruptError{File: name, Offset: -1, Reason: "it is missing, though there are topics"}
		}
		return &checkpoint{clean: true, durability: s.cfg.Durability}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	c, err := decodeCheckpoint(b)
	if err != nil {
		return nil, &CorruptError{File: name, Offset: -1, Reason: err.Error()}
	}
	return c, nil
}

// checkJournalFile refuses a directory without the journal file that replaying
// begins in the middle of, or without the newest one: replay would take their
// absence for the journal's end. In os mode a power cut may take a file.
func (s *Store) checkJournalFile(c *checkpoint) error {
	if c.clean || c.durability == OS {
		return nil
	}
	dir := filepath.Join(s.cfg.Dir, "journal")
	name, err := journal.CheckNewest(s.cfg.FS, dir, c.journal)
	if at := c.journal.Replay; name == "" && err == nil && at.Offset > journal.FirstFrame {
		name = filepath.Join(dir, journal.FileName(at.File))
		if _, err := s.cfg.FS.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			name = ""
		}
	}
	switch {
	case err != nil:
		return err
	case name != "":
		return &CorruptError{File: name, Offset: -1, Reason: "it is missing, though the journal goes on in it"}
	}
	return nil
}

// Recover makes the partitions of the topics that exist, as the metadata log
// says, replays the journal into them, and removes what belongs to others. It
// is called once, after Open and before any other use.
func (s *Store) Recover(topics []TopicSpec) error {
	if s.found == nil {
		return errors.New("storage is recovered already")
	}
	all := maps.Clone(*s.topics.Load())
	for _, spec := range topics {
		if spec.ID != MetadataTopic {
			all[spec.ID] = s.newTopic(spec)
		}
	}
	s.topics.Store(&all)
	if err := s.recoverTopics(func(id TopicID) bool { return id != MetadataTopic }); err != nil {
		return err
	}
	for _, spec := range topics {
		for n, start := range spec.Starts {
			if p := s.Partition(spec.ID, int32(n)); p != nil && start > 0 {
				if err := p.startAt(start); err != nil {
					return err
				}
			}
		}
	}
	s.scanned = s.scans()
	switch err := s.begin(); {
	case err == nil:
		// Not earlier: the record of a deletion may have been read from the page
		// cache of a killed process, and a power cut could still take it.
		s.removeStrangers()
		if err := s.removeStrays(); err != nil {
			return err
		}
	case noSpace(err):
		s.cfg.Logger.Error("the disk is full: only reads are served until there is space", "error", err)
		s.readOnly.Store(true)
	default:
		return err
	}
	s.found = nil
	s.ready.Store(true)
	s.limitProducers()
	s.start()
	if s.j.Live() > s.cfg.JournalFileBytes*3/2 {
		s.crowded.Store(true) // each life begins a file of the journal, however little the one before wrote
	}
	s.askCheckpoint()
	return nil
}

// begin starts the journal's new life and makes it durable before the first
// append. After sync mode the old recovery points stay: the journal still holds
// what lies behind them. After os mode all is synced and the journal left
// behind: its frames may lie behind a gap, and would fit again once the log has
// grown to their offsets. On a full disk it is tried again: see resume.
func (s *Store) begin() error {
	if s.began == nil {
		st, err := s.j.Start()
		if err != nil && noSpace(err) && s.space.met() {
			st, err = s.j.Start()
		}
		if err != nil {
			return err
		}
		s.began = &st
	}
	if s.scanned {
		return s.checkpoint(s.ctx, false)
	}
	return s.writeCheckpoint(*s.began, false)
}

// scans says whether segments may hold batches that no frame tells of.
func (s *Store) scans() bool { return !s.found.clean && s.found.durability == OS }

// recoverTopics brings the partitions of the topics that mine names to the
// state before the stop.
func (s *Store) recoverTopics(mine func(TopicID) bool) error {
	states := map[TopicID]map[int32]*partitionState{}
	for i := range s.found.partitions {
		st := &s.found.partitions[i]
		if states[st.topic] == nil {
			states[st.topic] = map[int32]*partitionState{}
		}
		states[st.topic][st.partition] = st
	}
	for id, t := range *s.topics.Load() {
		if !mine(id) {
			continue
		}
		var files map[int32][]segmentFile
		if !s.found.clean {
			var err error
			if files, err = s.segmentFiles(t); err != nil {
				return err
			}
		}
		t.made.Store(s.found.clean && len(states[id]) > 0 || files != nil)
		for _, p := range t.partitions() {
			if err := p.recover(states[id][p.number], files[p.number]); err != nil {
				return err
			}
		}
	}
	if err := s.redoAll(mine); err != nil {
		return err
	}
	if s.found.clean || s.scans() {
		return nil
	}
	for id, t := range *s.topics.Load() {
		for _, p := range t.partitions() {
			if !mine(id) || len(p.behind) == 0 && p.active() == nil {
				continue
			}
			if err := p.cut(); err != nil {
				return err
			}
		}
	}
	return nil
}

// redoAll replays the journal into the partitions of the topics that mine names.
func (s *Store) redoAll(mine func(TopicID) bool) error {
	err := s.j.Replay(func(_ journal.LSN, entries []journal.Entry) error {
		for _, e := range entries {
			id := TopicID(e.Topic)
			if !mine(id) {
				continue
			}
			p := s.Partition(id, e.Partition)
			if p == nil {
				continue
			}
			if err := p.redo(e.Batches); err != nil {
				return err
			}
		}
		return nil
	})
	if bad := (*journal.CorruptError)(nil); errors.As(err, &bad) {
		return &CorruptError{File: bad.File, Position: bad.Offset, Offset: -1,
			Reason: fmt.Sprintf("frame %d of the journal: %s; frames up to %d had been synced", bad.LSN, bad.Reason, bad.Synced)}
	}
	return err
}

// segmentFiles returns the segment files of each partition, ascending; nil if
// the topic has no directory.
func (s *Store) segmentFiles(t *topic) (map[int32][]segmentFile, error) {
	names, err := s.cfg.FS.ReadDir(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list segments of %s: %w", t.name, err)
	}
	files := map[int32][]segmentFile{}
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, ".log")
		if !ok {
			continue
		}
		n, f, ok := parseSegmentName(stem)
		if !ok {
			s.cfg.Logger.Warn("a file that is no segment", "dir", t.dir, "name", name)
			continue
		}
		files[n] = append(files[n], f)
	}
	return files, nil
}

// recover takes the partition to its recovery point, and behind it as far as
// whole batches go if the data was written in os mode. files is empty after a
// clean stop: then nothing is looked at.
func (p *Partition) recover(st *partitionState, files []segmentFile) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st == nil {
		st = &partitionState{topic: p.topic.id, partition: p.number}
	} else {
		p.record = appendPartition(nil, st)
	}
	p.attach(st)
	if p.store.found.clean {
		return nil
	}
	listed := map[segmentFile]bool{}
	for _, seg := range p.state.segments {
		listed[segmentFile{seg.base, seg.generation}] = true
	}
	a := p.active()
	var behind []segmentFile
	for _, f := range files {
		switch {
		case listed[f]:
		case f.generation > 0 || f.base < st.next:
			// A cleaning was cut short: its own files, or those that they replaced.
			p.strays = append(p.strays, f)
		default:
			behind = append(behind, f)
		}
	}
	if p.store.scans() {
		return p.scanTail(a, behind)
	}
	// What lies behind the recovery point is cut after the redo: mostly it is
	// what the redo would write, and comparing is cheaper.
	p.behind = behind
	if a == nil {
		return nil
	}
	return p.checkSize(a)
}

// cut ends a recovery in sync mode: what was not redone goes.
func (p *Partition) cut() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := 0
	if n := len(p.state.segments); n > 0 {
		first = n - 1
	}
	var strangers []segmentFile
	for _, f := range p.behind {
		k := sort.Search(len(p.state.segments), func(i int) bool { return p.state.segments[i].base >= f.base })
		if k == len(p.state.segments) || p.state.segments[k].base != f.base {
			strangers = append(strangers, f)
		}
	}
	for first > 0 && p.state.segments[first].size.Load() > p.state.segments[first].ownFrom && p.state.segments[first].ownFrom == 0 {
		first-- // made or taken over by the redo, and the one before it was active
	}
	for _, seg := range p.state.segments[first:] {
		if err := p.cutTo(seg, seg.size.Load()); err != nil {
			return err
		}
	}
	p.behind = nil
	return p.removeSegments(strangers)
}

// attach makes the segments that a checkpoint tells of.
func (p *Partition) attach(st *partitionState) {
	p.windows = st.producers
	p.store.producers.Add(int64(len(p.windows)))
	p.cleaner.attach(st)
	p.state.Lock()
	defer p.state.Unlock()
	p.state.start, p.state.end = st.start, st.next
	p.state.epochs = st.epochs
	p.state.segments = make([]*segment, 0, len(st.segments))
	for k, ss := range st.segments {
		seg := newSegmentFile(p, segmentFile{ss.base, ss.generation})
		seg.size.Store(ss.size)
		seg.ownFrom = ss.size
		seg.ix.maxTS = ss.maxTS
		seg.aborts.attach(int(ss.aborted))
		if k+1 < len(st.segments) {
			seg.end.Store(st.segments[k+1].base)
		}
		p.state.segments = append(p.state.segments, seg)
	}
	p.state.high = mark{offset: st.next}
	if a := p.active(); a != nil {
		p.state.high.seg, p.state.high.pos = a, a.size.Load()
		a.ownNext = st.next
	}
	p.attachTxns()
}

// checkSize refuses a file that is shorter than what was synced.
func (p *Partition) checkSize(seg *segment) error {
	info, err := p.store.cfg.FS.Stat(seg.log.name)
	if errors.Is(err, fs.ErrNotExist) {
		return seg.corrupt(0, seg.base, "the file is missing")
	}
	if err != nil {
		return fmt.Errorf("recover %s-%d: %w", p.topic.name, p.number, err)
	}
	if size := seg.size.Load(); info.Size < size {
		return seg.corrupt(info.Size, -1, fmt.Sprintf("the file has %d bytes, %d were made durable", info.Size, size))
	}
	return nil
}

// cutTo makes the segment's file as long as size says.
func (p *Partition) cutTo(seg *segment, size int64) error {
	info, err := p.store.cfg.FS.Stat(seg.log.name)
	if err != nil {
		return fmt.Errorf("recover %s-%d: %w", p.topic.name, p.number, err)
	}
	switch {
	case info.Size < size:
		return seg.corrupt(info.Size, -1, fmt.Sprintf("the file has %d bytes, %d were made durable", info.Size, size))
	case info.Size > size:
		if err := seg.log.truncate(size); err != nil {
			return fmt.Errorf("recover %s-%d: %w", p.topic.name, p.number, err)
		}
	}
	return nil
}

func (p *Partition) removeSegments(files []segmentFile) error {
	for _, f := range files {
		name := filepath.Join(p.topic.dir, f.name(p.number))
		for _, suffix := range []string{".txnindex", ".index", ".log"} {
			if err := p.store.cfg.FS.Remove(name + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("recover %s-%d: %w", p.topic.name, p.number, err)
			}
		}
	}
	return nil
}

// scanTail takes in whole batches behind the recovery point, in the segment
// that was active there and in those that follow it, and cuts at the first
// that is not whole.
func (p *Partition) scanTail(a *segment, behind []segmentFile) error {
	for {
		if a != nil {
			whole, err := p.scanSegment(a)
			if err != nil {
				return err
			}
			if !whole {
				break
			}
		}
		if len(behind) == 0 || behind[0].base != p.state.end {
			break
		}
		next := newSegment(p, behind[0].base)
		behind = behind[1:]
		next.ix.loaded.Store(true)
		for _, f := range []*file{next.ix.f, next.aborts.f} {
			if err := p.store.cfg.FS.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("recover %s-%d: %w", p.topic.name, p.number, err)
			}
		}
		if a != nil {
			if err := p.seal(a, next.base); err != nil {
				return err
			}
		}
		p.state.Lock()
		p.state.segments = append(p.state.segments, next)
		p.state.Unlock()
		p.newFile = true
		a = next
	}
	return p.removeSegments(behind)
}

// scanSegment takes in the whole batches behind the segment's size. whole says
// that they reach the end of the file.
func (p *Partition) scanSegment(seg *segment) (whole bool, err error) {
	if err := seg.ensure(); err != nil {
		return false, err
	}
	size, err := seg.log.size()
	if err != nil {
		return false, err
	}
	expect, now := p.state.end, p.store.cfg.Now().UnixMilli()
	var unread error
	_, err = scanHeaders(seg.log, seg.size.Load(), size, func(at int64, h batch.Batch) bool {
		if h.BaseOffset() != expect {
			return false
		}
		n, err := seg.checkBatch(at, size)
		if err != nil {
			return false
		}
		var b batch.Batch
		if b, unread = seg.told(at, h); unread != nil {
			return false
		}
		seg.ix.note(h, h.BaseOffset()-seg.base, at, n)
		p.took(seg, b, longAgo, now)
		expect = h.NextOffset()
		seg.size.Store(at + n)
		return true
	})
	if unread != nil {
		return false, unread
	}
	var bad *badBatch
	if err != nil && !errors.As(err, &bad) {
		return false, fmt.Errorf("recover %s-%d: %w", p.topic.name, p.number, err)
	}
	pos := seg.size.Load()
	if pos < size {
		p.store.cfg.Logger.Warn("cut a torn end", "file", seg.log.name, "at", pos, "bytes", size-pos)
		if err := seg.log.truncate(pos); err != nil {
			return false, fmt.Errorf("recover %s-%d: %w", p.topic.name, p.number, err)
		}
	}
	p.state.Lock()
	p.state.end = expect
	p.state.high = mark{expect, seg, pos}
	p.moved(0)
	p.state.Unlock()
	// What an earlier process wrote is not known to be synced.
	if _, err := seg.log.acquire(); err != nil {
		return false, err
	}
	seg.log.dirty.Store(true)
	seg.log.release()
	p.fresh = append(p.fresh, seg)
	p.changed.Store(true)
	return pos == size, nil
}

// redo takes the batches of a frame that the log does not have yet.
func (p *Partition) redo(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.state.end
	for len(b) > 0 {
		first, rest, err := batch.Split(b)
		if err != nil {
			return fmt.Errorf("redo %s-%d: %w", p.topic.name, p.number, err)
		}
		if first.BaseOffset() >= end {
			break
		}
		b = rest // the log has it
	}
	if len(b) == 0 {
		return nil
	}
	base, next := batch.Batch(b).BaseOffset(), int64(0)
	if base > end {
		if p.store.found.durability == OS {
			p.store.cfg.Logger.Warn("dropped a frame behind the end of a log", "topic", p.topic.name, "partition", p.number, "offset", base, "end", end)
			return nil
		}
		return &CorruptError{p.topic.id, p.number, "journal", 0, end, fmt.Sprintf("the next frame of the partition begins at offset %d", base)}
	}
	for rest := b; len(rest) > 0; {
		one, more, err := batch.Split(rest)
		if err != nil {
			return fmt.Errorf("redo %s-%d: %w", p.topic.name, p.number, err)
		}
		next, rest = one.NextOffset(), more
	}
	p.staged = staged{batches: b, base: base, next: next}
	err := p.write()
	for err != nil && noSpace(err) && p.store.makeRoom() {
		err = p.write()
	}
	if err != nil {
		return fmt.Errorf("redo %s-%d: %w", p.topic.name, p.number, err)
	}
	p.publish(p.store.cfg.Now().UnixMilli(), false)
	p.finish(0, true)
	p.store.sinceCheckpoint.Add(int64(len(b)))
	return nil
}

// removeStrangers removes the directories of topics that do not exist. One that
// cannot be removed wastes space and does no harm.
func (s *Store) removeStrangers() {
	root := filepath.Join(s.cfg.Dir, "topics")
	names, err := s.cfg.FS.ReadDir(root)
	if err != nil {
		return
	}
	known := map[string]bool{}
	for id := range *s.topics.Load() {
		known[filepath.Base(topicDir(s.cfg.Dir, id))] = true
	}
	for _, name := range names {
		if known[name] {
			continue
		}
		if err := s.cfg.FS.RemoveAll(filepath.Join(root, name)); err != nil {
			s.cfg.Logger.Warn("cannot remove the directory of a deleted topic", "name", name, "error", err)
		}
	}
}
