package storage

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

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
	MaxOpenFiles     int              // optional: 1,000
}

// TopicSpec says what storage needs to know of a topic.
type TopicSpec struct {
	ID           TopicID
	Name         string // for messages and logs only
	Partitions   int32
	SegmentBytes int64 // 0: Config.SegmentBytes
}

var (
	// ErrStorage wraps what made storage stop: a failed write or sync of the
	// journal. It is final; the process must exit and recover.
	ErrStorage = errors.New("storage failed")
	// ErrNoSpace refuses an append while the disk is (almost) full. Retriable;
	// nothing was appended.
	ErrNoSpace = errors.New("no space left for appends")
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
)

// Append is one partition's part of a Commit.
type Append struct {
	Partition *Partition
	// Batches is one or more valid batches, one after another. Base offsets and
	// leader epoch are stamped in place. The bytes may be reused when Commit returns.
	Batches []byte

	// Set by Commit:
	Base      int64 // offset of the first record; for a duplicate, of the original
	Duplicate bool  // an idempotent batch that had been appended before
}

// Store is the durable state of one broker: all partition logs and the journal.
type Store struct{}

// Open takes the lock, reads the checkpoint and recovers the metadata log.
func Open(cfg Config) (*Store, error) { panic("skeleton") }

// Metadata is the log of __cluster_metadata, recovered by Open.
func (s *Store) Metadata() *Partition { panic("skeleton") }

// Recover makes the partitions of the topics that exist, as the metadata log
// says, replays the journal into them, and removes what belongs to others. It
// is called once, after Open and before any other use.
func (s *Store) Recover(topics []TopicSpec) error { panic("skeleton") }

// CreateTopic makes the partitions of a topic; files come with the first write.
func (s *Store) CreateTopic(t TopicSpec) error { panic("skeleton") }

// DeleteTopic makes the partitions refuse appends and reads, wakes their
// watchers and removes their files; extents that are held stay readable. The
// record of the deletion must be durable in the metadata log before.
func (s *Store) DeleteTopic(id TopicID) error { panic("skeleton") }

// Partition finds a partition, or returns nil.
func (s *Store) Partition(id TopicID, n int32) *Partition { panic("skeleton") }

// Commit appends to all logs named or to none, as one atomic act, and returns
// the LSN to wait for before anybody is told. An error refuses the whole.
// Commit waits (with ctx) for room in the journal's buffer, never for a sync.
func (s *Store) Commit(ctx context.Context, appends []Append) (LSN, error) { panic("skeleton") }

// Wait returns when lsn has come to level; a storage failure ends it with ErrStorage.
func (s *Store) Wait(ctx context.Context, lsn LSN, level Level) error { panic("skeleton") }

// Failed is closed at the first storage failure; Err then tells it.
func (s *Store) Failed() <-chan struct{} { panic("skeleton") }

// Err is the storage failure, wrapping ErrStorage, or nil.
func (s *Store) Err() error { panic("skeleton") }

// Close refuses new appends, makes all durable, writes a last checkpoint that
// says the stop was clean, and releases the lock.
func (s *Store) Close(ctx context.Context) error { panic("skeleton") }

// Partition is one partition's log.
type Partition struct{}

// ID is the topic's id and the partition's number.
func (p *Partition) ID() (TopicID, int32) { panic("skeleton") }

// Offsets are the marks of a log.
type Offsets struct {
	Start  int64 // first offset that may be read
	Stable int64 // end for read_committed (LSO)
	High   int64 // end for readers: durable
	End    int64 // next offset to be assigned
}

// Offsets returns the marks, consistent with one another.
func (p *Partition) Offsets() Offsets { panic("skeleton") }

// LastLSN is the LSN of the newest frame of this partition, for replies that
// speak of state not yet durable (design, rule 3).
func (p *Partition) LastLSN() LSN { panic("skeleton") }

// LeaderEpoch is the epoch stamped on appends, raised at each unclean start.
func (p *Partition) LeaderEpoch() int32 { panic("skeleton") }

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch ≤ epoch and its end
// offset; -1, -1 if there is none.
func (p *Partition) EpochEnd(epoch int32) (int32, int64) { panic("skeleton") }

// OffsetForTime finds the first record, in offset order, whose timestamp (ms)
// is ≥ t, at or after the log start and below the high watermark. ok is false
// if there is none.
func (p *Partition) OffsetForTime(t int64) (offset, timestamp int64, epoch int32, ok bool, err error) {
	panic("skeleton")
}

// MaxTimestamp finds the record with the largest timestamp; -1, -1 if empty.
func (p *Partition) MaxTimestamp() (offset, timestamp int64, epoch int32, err error) {
	panic("skeleton")
}

// Read finds whole batches from the one that holds offset, at most maxBytes of
// them but at least one, below end (High or Stable). At end it returns an
// empty Extent and no error.
func (p *Partition) Read(offset int64, maxBytes int, end int64) (Extent, error) { panic("skeleton") }

// Extent is a run of whole batches in one segment, which it pins until Release.
type Extent struct{}

// Len is the length in bytes; 0 for the zero Extent.
func (e *Extent) Len() int { panic("skeleton") }

// ReadAt reads bytes of the extent; off counts from its first byte. Batches not
// verified since start are verified on the way; a bad one is a *CorruptError.
func (e *Extent) ReadAt(p []byte, off int64) (int, error) { panic("skeleton") }

// Release unpins the segment. It is safe to call it again.
func (e *Extent) Release() { panic("skeleton") }

var _ io.ReaderAt = (*Extent)(nil)

// Watcher is woken when readable bytes arrive on partitions it watches.
type Watcher struct {
	C chan struct{} // has one token when woken; made by NewWatcher
}

// NewWatcher makes a watcher that is woken once minBytes have become readable
// on the partitions it watches, or when one of them is deleted.
func NewWatcher(minBytes int) *Watcher { panic("skeleton") }

// Watch registers w; what became readable past from counts at once.
func (p *Partition) Watch(w *Watcher, from int64) { panic("skeleton") }

// Unwatch removes w; a watcher that is not there is no error.
func (p *Partition) Unwatch(w *Watcher) { panic("skeleton") }
