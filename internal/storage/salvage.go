package storage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// Salvage is Check that copies all good batches into the new data directory
// out, which must not exist or be empty. Offsets stay what they were: a range
// that is lost is filled with batches without records, so that no offset is ever
// given twice. The copy is as after a clean stop. A salvage that was interrupted
// leaves a directory that does not open, and that the next one begins anew.
func Salvage(ctx context.Context, cfg CheckConfig, out string) (*CheckReport, error) {
	c := &checker{cfg: cfg}
	lock, err := c.open()
	if err != nil {
		return nil, err
	}
	err = c.salvage(ctx, out)
	return &c.report, errors.Join(err, lock.Close())
}

func (c *checker) salvage(ctx context.Context, out string) (err error) {
	lock, err := beginDirectory(c.cfg.FS, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	s := &salvager{fs: c.cfg.FS, dir: out}
	if c.found != nil {
		s.epoch = c.found.epoch
	}
	c.sink = s
	if err := c.run(ctx); err != nil {
		return err
	}
	if c.badMeta || c.found == nil {
		if err := s.replaceMetadata(c.cfg.Catalog.Rebuild(c.maxPID + 1)); err != nil {
			return err
		}
	}
	return s.finish()
}

// adopt finds logs of topics that the damaged metadata log does not tell of.
func (c *checker) adopt(known []TopicSpec, states map[partitionKey]*partitionState) ([]TopicSpec, error) {
	partitions := map[TopicID]int32{}
	for key := range states {
		partitions[key.topic] = max(partitions[key.topic], key.partition+1)
	}
	for key := range c.frames {
		partitions[key.topic] = max(partitions[key.topic], key.partition+1)
	}
	names, err := c.cfg.FS.ReadDir(filepath.Join(c.cfg.Dir, "topics"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for _, name := range names {
		b, err := hex.DecodeString(name)
		if err != nil || len(b) != len(TopicID{}) {
			continue
		}
		files, err := c.listFiles(TopicID(b))
		if err != nil {
			return nil, err
		}
		for n := range files {
			partitions[TopicID(b)] = max(partitions[TopicID(b)], n+1)
		}
	}
	delete(partitions, MetadataTopic)
	for _, t := range known {
		delete(partitions, t.ID)
	}
	var out []TopicSpec
	for id, n := range partitions {
		if spec, ok := c.cfg.Catalog.Adopt(id, n); ok {
			out = append(out, spec)
		}
	}
	return out, nil
}

// salvageSegment is the size in bytes above which a copy goes on in a new segment.
const salvageSegment = 1 << 30

// salvager writes logs into a new data directory, one after another.
type salvager struct {
	fs      vfs.FS
	dir     string
	epoch   int32
	records [][]byte
	meta    int // place of the metadata log in records

	st    *partitionState
	from  int64 // the recovery point in the old directory; what lies behind changes the state
	ended int64 // offset behind what was written
	txns  txnScan
	file  vfs.File
	buf   []byte
	pos   int64 // of buf in the file
}

var _ sink = (*salvager)(nil)

func (s *salvager) begin(_ TopicSpec, st *partitionState) error {
	copied := *st
	copied.segments = nil
	s.st, s.from, s.ended, s.txns = &copied, st.next, st.start, txnScan{}
	if len(st.segments) > 0 {
		s.ended = st.segments[0].base
	}
	return nil
}

func (s *salvager) take(b batch.Batch) error {
	if b.BaseOffset() >= s.from {
		s.note(b)
	}
	return s.write(b)
}

// note moves the producers' windows and the epoch history as an append does.
func (s *salvager) note(b batch.Batch) {
	if b.ProducerID() >= 0 {
		if s.st.producers == nil {
			s.st.producers = producers{}
		}
		s.st.producers.add(b, b.MaxTimestamp())
	}
	if es := s.st.epochs; len(es) == 0 || es[len(es)-1].epoch < b.LeaderEpoch() {
		s.st.epochs = append(es, epochStart{b.LeaderEpoch(), b.BaseOffset()})
	}
	s.epoch = max(s.epoch, b.LeaderEpoch())
}

// lost fills a range with batches without records, as compaction leaves them.
func (s *salvager) lost(from, to int64) error {
	epoch := int32(0)
	if es := s.st.epochs; len(es) > 0 {
		epoch = es[0].epoch
	}
	for from = max(from, s.ended); from < to; {
		n := min(to-from, math.MaxInt32)
		if err := s.write(emptyBatch(from, n, epoch)); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// emptyBatch is a batch over n offsets that has no records.
func emptyBatch(base, n int64, epoch int32) batch.Batch {
	b := make(batch.Batch, batch.HeaderLen)
	b.SetBaseOffset(base)
	be.PutUint32(b[8:], batch.HeaderLen-12)
	b.SetLeaderEpoch(epoch)
	b[16] = 2
	be.PutUint32(b[23:], uint32(n-1))
	for k := 27; k < 57; k++ {
		b[k] = 0xff // no timestamps, no producer
	}
	be.PutUint32(b[17:], crc32c(b[21:]))
	return b
}

func (s *salvager) write(b batch.Batch) error {
	k := len(s.st.segments) - 1
	if s.file != nil {
		seg := &s.st.segments[k]
		if seg.size+int64(len(b)) > salvageSegment || b.NextOffset()-seg.base > math.MaxInt32 {
			if err := s.closeFile(); err != nil {
				return err
			}
		}
	}
	if s.file == nil {
		// It begins where the one before ended, so that no offset lies between them.
		if err := s.openFile(min(s.ended, b.BaseOffset())); err != nil {
			return err
		}
		k = len(s.st.segments) - 1
	}
	s.buf = append(s.buf, b...)
	s.st.segments[k].size += int64(len(b))
	s.st.segments[k].maxTS = max(s.st.segments[k].maxTS, b.MaxTimestamp())
	if _, aborted := s.txns.take(b); aborted {
		s.st.segments[k].aborted++ // the index itself is made at its first use
	}
	s.ended = b.NextOffset()
	if len(s.buf) >= 1<<20 {
		return s.flush()
	}
	return nil
}

func (s *salvager) openFile(base int64) error {
	dir := topicDir(s.dir, s.st.topic)
	if err := s.fs.MkdirAll(dir); err != nil {
		return err
	}
	f, err := s.fs.Create(filepath.Join(dir, segmentName(s.st.partition, base)+".log"))
	if err != nil {
		return err
	}
	s.file, s.pos, s.buf = f, 0, s.buf[:0]
	s.st.segments = append(s.st.segments, segmentState{base: base, maxTS: minTime})
	return nil
}

func (s *salvager) flush() error {
	_, err := s.file.WriteAt(s.buf, s.pos)
	s.pos += int64(len(s.buf))
	s.buf = s.buf[:0]
	return err
}

func (s *salvager) closeFile() error {
	err := s.flush()
	if err == nil {
		err = s.file.Sync()
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}

// end completes a partition whose log ends at offset next.
func (s *salvager) end(next int64) error {
	if s.file != nil {
		if err := s.closeFile(); err != nil {
			return err
		}
	}
	s.st.next = max(next, s.ended)
	if len(s.st.segments) == 0 {
		if err := s.openFile(s.st.next); err != nil {
			return err
		}
		if err := s.closeFile(); err != nil {
			return err
		}
	}
	if err := s.fs.SyncDir(topicDir(s.dir, s.st.topic)); err != nil {
		return err
	}
	if s.st.topic == MetadataTopic {
		s.meta = len(s.records)
	}
	s.records = append(s.records, appendPartition(nil, s.st))
	return nil
}

// replaceMetadata writes the metadata log anew as one batch.
func (s *salvager) replaceMetadata(b batch.Batch) error {
	dir := topicDir(s.dir, MetadataTopic)
	if err := s.fs.RemoveAll(dir); err != nil {
		return err
	}
	if s.meta < len(s.records) {
		s.records[s.meta] = nil
	}
	b.SetBaseOffset(0)
	b.SetLeaderEpoch(0)
	if err := s.begin(TopicSpec{}, &partitionState{topic: MetadataTopic}); err != nil {
		return err
	}
	if err := s.take(b); err != nil {
		return err
	}
	return s.end(b.NextOffset())
}

// finish makes the directory one that opens.
func (s *salvager) finish() error {
	var records [][]byte
	for _, r := range s.records {
		if r != nil {
			records = append(records, r)
		}
	}
	if err := writeDurable(s.fs, filepath.Join(s.dir, "format"), fmt.Appendf(nil, "weir data %d\n", formatVersion)); err != nil {
		return err
	}
	// A later epoch tells clients that they must look where their offsets stand.
	c := &checkpoint{clean: true, epoch: s.epoch + 1}
	if err := writeDurable(s.fs, filepath.Join(s.dir, "checkpoint"), encodeCheckpoint(c, records)); err != nil {
		return err
	}
	return Finish(s.fs, s.dir)
}
