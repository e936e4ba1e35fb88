package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// TopicID is a topic's unique id; logs, directories and journal frames are
// keyed by it, never by name.
type TopicID [16]byte

// MetadataTopic is the id of __cluster_metadata (Kafka gives it the same one).
var MetadataTopic = TopicID{15: 1}

// Durability says what an acknowledgement with acks=all survives.
type Durability uint8

const (
	Sync Durability = iota // power loss: answered after the covering fdatasync
	OS                     // a killed process: answered after the write, as Apache Kafka does
)

// LSN is the sequence number of a journal frame. 0 waits for nothing.
type LSN uint64

// Level is how far an LSN must have come.
type Level uint8

const (
	Written Level = iota // handed to the operating system: survives a killed process
	Durable              // as Config.Durability says
)

// Config is given to Open. The zero value of each optional field works.
type Config struct {
	FS               vfs.FS // required
	Dir              string // required: the data directory
	Durability       Durability
	Logger           *slog.Logger     // optional
	Now              func() time.Time // optional
	JournalFileBytes int64            // optional: 64 MiB; size of one recycled journal file
	CheckpointBytes  int64            // optional: 64 MiB; journal written between checkpoints
	SegmentBytes     int64            // optional: 1 GiB; default of TopicSpec.SegmentBytes
	IndexBytes       int64            // optional: 4 KiB; log between two index entries
	MaxOpenFiles     int              // optional: 1,000; twice as many while none can be closed without a sync
	BallastBytes     int64            // optional: 64 MiB, at most a tenth of the file system; negative: none
	ProducerExpiry   time.Duration    // optional: 24 hours; producer.id.expiration.ms
	MaxProducers     int64            // optional: 100,000 in all partitions; the longest idle ones are forgotten first

	// Compaction: how often logs are looked at (optional: 15 s; negative: only
	// when CleanNow asks), the memory for keys (optional: 32 MiB) and the bytes
	// that may be read and written in a second (optional: no limit).
	CleanInterval       time.Duration
	CleanMapBytes       int64
	CleanBytesPerSecond int64
}

func (c *Config) validate() error {
	if c.FS == nil || c.Dir == "" {
		return errors.New("storage: Config.FS and Config.Dir are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	for _, d := range []struct {
		field    *int64
		standard int64
	}{
		{&c.JournalFileBytes, 64 << 20}, {&c.CheckpointBytes, 64 << 20}, {&c.SegmentBytes, 1 << 30},
		{&c.IndexBytes, 4 << 10}, {&c.BallastBytes, 64 << 20}, {&c.CleanMapBytes, 32 << 20},
		{&c.MaxProducers, 100_000},
	} {
		if *d.field == 0 {
			*d.field = d.standard
		}
	}
	if c.ProducerExpiry <= 0 {
		c.ProducerExpiry = 24 * time.Hour
	}
	if c.CleanInterval == 0 {
		c.CleanInterval = 15 * time.Second
	}
	if c.MaxOpenFiles <= 0 {
		c.MaxOpenFiles = 1000
	}
	return nil
}

// TopicSpec says what storage needs to know of a topic.
type TopicSpec struct {
	ID           TopicID
	Name         string // for messages and logs only
	Partitions   int32
	SegmentBytes int64 // 0: Config.SegmentBytes
	// Reserve lets appends go on while the disk is almost full: for the few and
	// small records that the broker itself keeps.
	Reserve bool

	SegmentMillis       int64         // segment.ms; 0: no segment is begun because of time
	SegmentJitterMillis int64         // segment.jitter.ms
	SegmentIndexBytes   int64         // segment.index.bytes; 0: no limit
	DeleteDelay         time.Duration // file.delete.delay.ms
	Clean               Clean
	Starts              []int64 // for Recover: log starts by partition, as the metadata log has them; may be nil
}

var (
	// ErrStorage wraps what made storage stop: a failed write or sync. It is
	// final; the process must exit and recover.
	ErrStorage = errors.New("storage failed")
	// ErrNoSpace refuses an append while the disk is (almost) full. Retriable;
	// nothing was appended.
	ErrNoSpace = errors.New("no space left for appends")
	// ErrNoDescriptor refuses an append because the process has too many files
	// open. Retriable; nothing was appended.
	ErrNoDescriptor = errors.New("no file descriptor left for appends")
	// ErrHeld refuses an append until the next checkpoint is durable, because a
	// damaged segment has just left the log. Retriable; nothing was appended.
	ErrHeld = errors.New("appends wait for a checkpoint without a damaged segment")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("storage closed")
	// ErrDeleted is returned for a partition whose topic was deleted.
	ErrDeleted = errors.New("partition deleted")
	// ErrOffsetOutOfRange: the offset lies before the log start or behind the
	// high watermark.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrOutOfOrderSequence, ErrProducerFenced: the rules of idempotent
	// producers (KIP-98); nothing was appended.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	ErrProducerFenced     = errors.New("producer epoch is older than the last one seen")
	// ErrInvalidTxnState: the producer has a transaction open in the partition and
	// sent a batch outside of it. ErrCoordinatorFenced: a marker comes from a
	// coordinator that was replaced. Nothing was appended.
	ErrInvalidTxnState   = errors.New("producer has an open transaction")
	ErrCoordinatorFenced = errors.New("coordinator epoch is older than the last one seen")
)

// CorruptError is a place on the disk that does not hold what was written there.
type CorruptError struct {
	Topic     TopicID // zero if the file belongs to no partition
	Partition int32
	File      string
	Position  int64 // byte in File
	Offset    int64 // first log offset that is affected; -1 unknown
	Reason    string
}

func (e *CorruptError) Error() string {
	switch {
	case e.Offset >= 0:
		return fmt.Sprintf("corrupt data in %s at byte %d (offset %d): %s", e.File, e.Position, e.Offset, e.Reason)
	case e.Position > 0:
		return fmt.Sprintf("corrupt data in %s at byte %d: %s", e.File, e.Position, e.Reason)
	}
	return fmt.Sprintf("corrupt data in %s: %s", e.File, e.Reason) // as a whole
}

// FormatError refuses a data directory of a newer weir.
type FormatError struct {
	Dir              string
	Found, Supported int // format versions
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("data in %s has format %d, this version reads up to %d; start a newer weir on it", e.Dir, e.Found, e.Supported)
}

// Append is one partition's part of a Commit.
type Append struct {
	Partition *Partition
	// Batches is one or more valid batches, one after another. Base offsets and
	// leader epoch are stamped in place. The bytes may be reused when Commit returns.
	Batches []byte
	// TxnVersion is the transaction.version by which a marker among the batches was
	// written: from 2 on its epoch must be later than that of the transaction that
	// it ends (KIP-890). Other batches do not need it.
	TxnVersion int16
	// Guard, if there is one, has the last word on batches that are no duplicates.
	Guard Guard
	// Ends says that the batches are markers. One that comes too late for its producer is
	// left out, rather than refused, when there is nothing that it could end: what else is
	// in the commit must not hang on it.
	Ends bool

	// Set by Commit:
	Base      int64 // offset of the first record; for a duplicate, of the original
	Duplicate bool  // an idempotent batch that had been appended before, or markers that were all left out
}

// Guard decides about batches while the partition is locked, so that nothing can come
// between its word and the append. It must return at once and call nothing of this
// package. Its error refuses the Commit.
type Guard interface {
	Admit(topic TopicID, partition int32, batches batch.Batch) error
}

// Wait returns when lsn has come to level; a storage failure ends it with ErrStorage.
func (s *Store) Wait(ctx context.Context, lsn LSN, level Level) error {
	if lsn == 0 {
		return nil
	}
	return s.waitJournal(ctx, lsn, level)
}
