package journal

import (
	"context"
	"log/slog"

	"github.com/weirstream/weir/internal/vfs"
)

// LSN is the sequence number of a frame, contiguous from 1. 0 means none.
type LSN uint64

// Config is given to Open.
type Config struct {
	FS          vfs.FS
	Dir         string
	FileBytes   int64 // size of one recycled file; 0: 64 MiB
	BufferBytes int64 // frames accepted but not yet written; 0: 8 MiB
	Sync        bool  // fdatasync each group; otherwise "durable" means written
	Logger      *slog.Logger
}

// Entry is one partition's part of a frame.
type Entry struct {
	Topic     [16]byte
	Partition int32
	Batches   []byte // whole batches, one after another, base offsets stamped

	// Notify is told End once the frame is durable, before waiters of the LSN
	// are woken, in LSN order, from the journal's goroutine. Nil tells nobody.
	Notify Notifier
	End    int64 // offset after the last batch
}

// Notifier is told how far a partition is durable. It must not block.
type Notifier interface{ DurableTo(end int64) }

// Position is a place between two frames.
type Position struct {
	File   uint64 // sequence number of the file, from 1
	Offset int64  // bytes from the start of that file
	LSN    LSN    // of the frame that begins there
}

// Span is a run of LSNs written under one incarnation (one life of the process).
type Span struct {
	Incarnation uint32
	First       LSN
	Start       Position // where its first frame stands, or would stand
}

// State is what a checkpoint must keep for the journal. The zero State is that
// of a new journal.
type State struct {
	Replay Position // replay begins here
	Synced LSN      // highest LSN known to be synced when this was taken
	Spans  []Span   // from the one that holds Replay on
}

// Journal is the shared log of commits.
type Journal struct{}

// Open reads the files of a journal. st comes from the newest checkpoint.
func Open(cfg Config, st State) (*Journal, error) { panic("skeleton") }

// Replay calls f for each frame from State.Replay on. The entries and their
// bytes are valid during the call. A torn tail ends it quietly; corruption is
// a *CorruptError and nothing more is replayed.
func (j *Journal) Replay(f func(lsn LSN, entries []Entry) error) error { panic("skeleton") }

// Start begins a new incarnation after Replay and starts the writer. The State
// it returns must be durable in a checkpoint before the first Append.
func (j *Journal) Start() (State, error) { panic("skeleton") }

// Reserve waits for room for a frame with n bytes of batches and the given
// number of entries. Each Reserve is followed by one Append or one Cancel.
func (j *Journal) Reserve(ctx context.Context, n int64) error { panic("skeleton") }

// Cancel gives back a reservation.
func (j *Journal) Cancel(n int64) { panic("skeleton") }

// Append enqueues one frame, copying the bytes, and never blocks; n is what was
// reserved. After a failure it returns 0 and the failure.
func (j *Journal) Append(n int64, entries []Entry) (LSN, error) { panic("skeleton") }

// WaitWritten and WaitDurable return when lsn has been written or is durable,
// or with the failure that stopped the journal, or with ctx's error.
func (j *Journal) WaitWritten(ctx context.Context, lsn LSN) error { panic("skeleton") }
func (j *Journal) WaitDurable(ctx context.Context, lsn LSN) error { panic("skeleton") }

// Durable is the highest durable LSN.
func (j *Journal) Durable() LSN { panic("skeleton") }

// Next is the position of the next frame: the place up to which a checkpoint
// that begins now will make everything durable.
func (j *Journal) Next() Position { panic("skeleton") }

// StateAt is the State for a checkpoint that made all before pos durable.
func (j *Journal) StateAt(pos Position) State { panic("skeleton") }

// Release recycles the files wholly below pos; call it when the checkpoint
// that holds StateAt(pos) is durable.
func (j *Journal) Release(pos Position) { panic("skeleton") }

// Live is the number of bytes from the oldest frame still needed to the newest.
func (j *Journal) Live() int64 { panic("skeleton") }

// Failed is closed when a write or a sync failed; Err then tells it.
func (j *Journal) Failed() <-chan struct{} { panic("skeleton") }
func (j *Journal) Err() error              { panic("skeleton") }

// Close writes and syncs what was enqueued, stops the goroutines and closes
// the files.
func (j *Journal) Close() error { panic("skeleton") }
