package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/journal"
	"github.com/weirstream/weir/internal/vfs"
)

// CheckConfig is given to Check and Salvage. All fields are required.
type CheckConfig struct {
	FS  vfs.FS
	Dir string
	// Catalog reads the metadata log, whose records storage does not know.
	Catalog Catalog
	// Restored: the directory comes from Restore, and is not finished yet.
	Restored bool
}

// Catalog folds the batches of the metadata log into the topics that exist.
type Catalog interface {
	// Apply takes the next batch of the metadata log. An error is reported as
	// damage of the log; later batches are applied all the same.
	Apply(b batch.Batch) error
	// Topics returns the topics that exist by what was applied.
	Topics() []TopicSpec
	// Adopt is called by Salvage when part of the metadata log is lost and there
	// are logs of a topic it does not tell of. It returns the topic under a name
	// made up for it; false if the topic is known to be deleted.
	Adopt(id TopicID, partitions int32) (TopicSpec, bool)
	// Rebuild returns one batch that tells all that is known, for a metadata log
	// of which part is lost. Producer ids below nextProducerID were given out.
	Rebuild(nextProducerID int64) batch.Batch
}

// Problem is one place that is not as it must be.
type Problem struct {
	File      string
	Position  int64 // byte in File; -1 if the file as a whole is meant
	Topic     string
	Partition int32 // -1 if the file belongs to no partition
	Offset    int64 // first log offset that is affected; -1 unknown
	Reason    string
	Next      string // what an operator does about it
	Harmless  bool   // no data is affected, and the broker mends it by itself
}

// Lost is a range of offsets whose records cannot be read, From ≤ offset < To.
type Lost struct {
	Topic     string
	Partition int32
	From, To  int64
}

// CheckReport is what Check found.
type CheckReport struct {
	Problems   []Problem
	Lost       []Lost
	Topics     int
	Partitions int   // that were ever written to
	Segments   int   // files
	Batches    int64 // good ones
	Bytes      int64 // of good batches
	Frames     int64 // in the journal, behind the recovery points
	Clean      bool  // the last stop was clean
}

const (
	nextSalvage  = "restore a backup, or copy what is good with weir fsck --salvage"
	nextHarmless = "nothing: it is made anew when it is next used"
)

// partitionKey names a log across topics.
type partitionKey struct {
	topic     TopicID
	partition int32
}

// checker reads one data directory that no process has open, and changes
// nothing in it.
type checker struct {
	cfg        CheckConfig
	report     CheckReport
	found      *checkpoint // nil if it cannot be read
	frames     map[partitionKey][]batch.Batch
	badJournal bool
	badMeta    bool
	maxPID     int64 // largest producer id seen
	sink       sink  // nil: only checked
}

// sink takes what is good of a partition, in the order of the offsets.
type sink interface {
	begin(spec TopicSpec, st *partitionState) error
	take(b batch.Batch) error
	lost(from, to int64) error
	end(next int64) error
}

// Check reads everything in a data directory that no broker has open and
// reports what is wrong: format, checkpoint, journal frames, every batch of
// every segment, and the indexes. It changes nothing. An error means that the
// directory could not be checked, not that something in it is wrong.
func Check(ctx context.Context, cfg CheckConfig) (*CheckReport, error) {
	c := &checker{cfg: cfg}
	lock, err := c.open()
	if err != nil {
		return nil, err
	}
	err = c.run(ctx)
	return &c.report, errors.Join(err, lock.Close())
}

// open takes the lock and reads format and checkpoint.
func (c *checker) open() (io.Closer, error) {
	if err := c.isDataDirectory(); err != nil {
		return nil, err
	}
	if !c.cfg.Restored {
		if err := checkFinished(c.cfg.FS, c.cfg.Dir); err != nil {
			return nil, err
		}
	}
	lock, err := c.cfg.FS.Lock(filepath.Join(c.cfg.Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", c.cfg.Dir, err)
	}
	if err := c.readHead(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// isDataDirectory keeps a mistyped path from getting a lock file.
func (c *checker) isDataDirectory() error {
	for _, name := range []string{"format", "checkpoint", "topics", unfinishedName} {
		_, err := c.cfg.FS.Stat(filepath.Join(c.cfg.Dir, name))
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("check %s: %w", c.cfg.Dir, err)
		}
	}
	return fmt.Errorf("check %s: there is no data of weir: %w", c.cfg.Dir, fs.ErrNotExist)
}

func (c *checker) readHead() error {
	s := &Store{cfg: Config{FS: c.cfg.FS, Dir: c.cfg.Dir}}
	var corrupt *CorruptError
	name := filepath.Join(c.cfg.Dir, "format")
	if _, err := c.cfg.FS.Stat(name); errors.Is(err, fs.ErrNotExist) {
		c.problem(Problem{File: name, Reason: "it is missing", Next: nextSalvage})
	} else if err := s.checkFormat(); errors.As(err, &corrupt) {
		c.problem(Problem{File: name, Reason: corrupt.Reason, Next: nextSalvage})
	} else if err != nil {
		return err
	}
	found, err := s.readCheckpoint()
	if errors.As(err, &corrupt) {
		c.problem(Problem{File: corrupt.File, Reason: corrupt.Reason, Next: nextSalvage})
		return nil
	}
	if err != nil {
		return err
	}
	c.found, c.report.Clean = found, found.clean
	if err := s.checkJournalFile(found); errors.As(err, &corrupt) {
		c.problem(Problem{File: corrupt.File, Reason: corrupt.Reason, Next: nextSalvage})
		c.badJournal = true // the segments may have what stood in it
	}
	return nil
}

// problem notes what is wrong with a file as a whole, or at a place of a log.
func (c *checker) problem(p Problem) {
	if p.Topic == "" {
		p.Partition, p.Offset = -1, -1
		if p.Position == 0 {
			p.Position = -1
		}
	}
	c.report.Problems = append(c.report.Problems, p)
}

func (c *checker) run(ctx context.Context) error {
	if err := c.readJournal(); err != nil {
		return err
	}
	states := map[partitionKey]*partitionState{}
	if c.found != nil {
		for i := range c.found.partitions {
			st := &c.found.partitions[i]
			states[partitionKey{st.topic, st.partition}] = st
		}
	}
	meta := TopicSpec{ID: MetadataTopic, Name: "__cluster_metadata", Partitions: 1}
	if err := c.checkTopic(ctx, meta, states); err != nil {
		return err
	}
	topics := c.cfg.Catalog.Topics()
	if c.badMeta && c.sink != nil {
		adopted, err := c.adopt(topics, states)
		if err != nil {
			return err
		}
		topics = append(topics, adopted...)
	}
	slices.SortFunc(topics, func(a, b TopicSpec) int { return strings.Compare(a.Name, b.Name) })
	c.report.Topics = len(topics)
	for _, t := range topics {
		if err := c.checkTopic(ctx, t, states); err != nil {
			return err
		}
	}
	return nil
}

// readJournal keeps the frames behind the recovery points. They are no more
// than a start would redo.
func (c *checker) readJournal() error {
	c.frames = map[partitionKey][]batch.Batch{}
	cfg := journal.Config{FS: c.cfg.FS, Dir: filepath.Join(c.cfg.Dir, "journal")}
	if c.found == nil {
		c.badJournal = true
		return c.scavenge(cfg, 0)
	}
	err := journal.Inspect(cfg, c.found.journal, func(_ journal.LSN, entries []journal.Entry) error {
		c.report.Frames++
		return c.keepFrame(entries)
	})
	var corrupt *journal.CorruptError
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, &corrupt):
		c.problem(Problem{File: corrupt.File, Position: corrupt.Offset, Next: nextSalvage,
			Reason: fmt.Sprintf("frame %d: %s; frames up to %d had been synced", corrupt.LSN, corrupt.Reason, corrupt.Synced)})
		c.badJournal = true
		clear(c.frames)
		return c.scavenge(cfg, c.found.journal.Replay.LSN)
	}
	return fmt.Errorf("check journal: %w", err)
}

func (c *checker) keepFrame(entries []journal.Entry) error {
	for _, e := range entries {
		key := partitionKey{e.Topic, e.Partition}
		for rest := slices.Clone(e.Batches); len(rest) > 0; {
			b, more, err := batch.Split(rest)
			if err != nil {
				return err // the frame was checked, so this cannot be
			}
			c.frames[key] = append(c.frames[key], b)
			rest = more
		}
	}
	return nil
}

// scavenge takes every good frame from LSN first on. Where two lives wrote the
// same LSN, the later one counts.
func (c *checker) scavenge(cfg journal.Config, first journal.LSN) error {
	newest := map[journal.LSN]uint32{}
	note := func(lsn journal.LSN, incarnation uint32, _ []journal.Entry) error {
		newest[lsn] = max(newest[lsn], incarnation)
		return nil
	}
	if err := journal.Scavenge(cfg, note); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("check journal: %w", err)
	}
	err := journal.Scavenge(cfg, func(lsn journal.LSN, incarnation uint32, entries []journal.Entry) error {
		if lsn < first || incarnation != newest[lsn] {
			return nil
		}
		c.report.Frames++
		return c.keepFrame(entries)
	})
	for _, list := range c.frames {
		slices.SortStableFunc(list, func(a, b batch.Batch) int { return cmp.Compare(a.BaseOffset(), b.BaseOffset()) })
	}
	return err
}

// listFiles returns a topic's segment files by partition, ascending.
func (c *checker) listFiles(id TopicID) (map[int32][]segmentFile, error) {
	names, err := c.cfg.FS.ReadDir(topicDir(c.cfg.Dir, id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	files := map[int32][]segmentFile{}
	for _, name := range names {
		if stem, ok := strings.CutSuffix(name, ".log"); ok {
			if n, f, ok := parseSegmentName(stem); ok {
				files[n] = append(files[n], f)
			}
		}
	}
	return files, nil
}
