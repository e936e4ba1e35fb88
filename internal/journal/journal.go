package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/internal/vfs"
)

// LSN is the sequence number of a frame, contiguous from 1. 0 means none.
type LSN uint64

// Defaults of Config, in bytes.
const (
	DefaultFileBytes   = 64 << 20
	DefaultBufferBytes = 8 << 20
)

// Config is given to Open. FS and Dir are required.
type Config struct {
	FS          vfs.FS
	Dir         string
	FileBytes   int64 // size of one recycled file; 0: DefaultFileBytes
	BufferBytes int64 // frames accepted but not yet written; 0: DefaultBufferBytes
	Sync        bool  // fdatasync each group; otherwise "durable" means written
	// Zero fills files with zeros before frames go into them, so that a later
	// sync has no block allocation to write. Leave it off on a file system in
	// memory, where it would cost the memory that a sparse file saves.
	Zero   bool
	Logger *slog.Logger // nil: nothing is logged
	// Full is called when the disk has no room for the file that the writer needs.
	// It gives back what it can; then the file is tried again. Optional.
	Full func()
}

// Entry is one partition's part of a frame.
type Entry struct {
	Topic     [16]byte
	Partition int32
	Batches   []byte // whole batches, one after another, base offsets stamped

	// Notify is told End once the frame is durable, before waiters of the LSN
	// are woken, in LSN order, from the goroutine that writes or syncs. Of consecutive
	// frames of one Notifier it may be told only the last. Nil tells nobody.
	Notify Notifier
	End    int64 // offset after the last batch; Replay fills it in
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

// Errors of Append and Reserve. What stopped the journal is told by Err.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("journal closed")
	// ErrTooLarge refuses a frame of more than MaxFrame bytes.
	ErrTooLarge = errors.New("frame larger than a journal file")
	// ErrNotStarted is returned before Start.
	ErrNotStarted = errors.New("journal not started")
)

// Journal is the shared log of commits. Open, Replay and Start are called one
// after another by one goroutine; everything else is safe for concurrent use
// after Start.
type Journal struct {
	cfg Config
	end Position // where replay ended; Start begins there

	// evidence is the highest synced LSN that was found behind end; the scan
	// for it is not repeated by a second Replay.
	evidence struct {
		at   Position
		lsn  LSN
		done bool
	}

	written atomic.Uint64 // LSN
	durable atomic.Uint64 // LSN
	failed  chan struct{}

	wakeWriter  chan struct{}
	wakeSyncer  chan struct{}
	wakePrepare chan struct{}
	stopPrepare chan struct{}
	working     sync.WaitGroup
	told        []notice // scratch of the goroutine that publishes
	group       group    // of who has the turn to write (mu.writing)

	mu struct {
		sync.Mutex
		started bool
		closing bool  // nothing is accepted any more
		closed  bool  // and nothing will become durable any more
		err     error // the first failure

		state    State // Replay is the place up to which files were released
		files    []uint64
		ready    map[uint64]int64 // of files that the writer has left, by sequence number
		spares   []spare
		spareSeq uint64
		making   bool // a spare is being made

		next    Position
		pending group // appended, not yet taken by the writer
		notices []notice

		writing      bool // somebody has the turn to write: the writer, or AppendWritten
		writerDone   bool
		current      openFile   // of who has the turn
		old          []openFile // written, not yet synced, not current
		unsynced     int64      // bytes written, not yet covered by a finished sync
		syncing      bool
		fresh        bool // a write has ended since the last sync ended
		synced       LSN
		room         int64 // bytes that may still be reserved
		reserveQueue []*waiter
		writtenQueue []*waiter
		durableQueue []*waiter
		free         []*waiter
	}
}

func (c *Config) validate() error {
	if c.FS == nil || c.Dir == "" {
		return errors.New("journal: FS and Dir are required")
	}
	if c.FileBytes == 0 {
		c.FileBytes = DefaultFileBytes
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = DefaultBufferBytes
	}
	if c.FileBytes < 2*headerBlock || c.FileBytes > 1<<31 || c.FileBytes%align != 0 {
		return fmt.Errorf("journal: FileBytes is %d, must be a multiple of %d from %d to %d", c.FileBytes, align, 2*headerBlock, int64(1)<<31)
	}
	if c.BufferBytes < 0 {
		return fmt.Errorf("journal: BufferBytes is %d, must not be negative", c.BufferBytes)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Open lists the files of a journal and makes the directory if it is missing.
// st comes from the newest checkpoint. It reads no frame.
func Open(cfg Config, st State) (*Journal, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	j := &Journal{
		cfg:         cfg,
		failed:      make(chan struct{}),
		wakeWriter:  make(chan struct{}, 1),
		wakeSyncer:  make(chan struct{}, 1),
		wakePrepare: make(chan struct{}, 1),
		stopPrepare: make(chan struct{}),
	}
	st.Spans = append([]Span(nil), st.Spans...)
	if st.Replay.LSN == 0 {
		st.Replay.LSN = 1
	}
	j.end = st.Replay
	j.mu.state = st
	j.mu.room = cfg.BufferBytes
	j.mu.ready = map[uint64]int64{}
	if err := j.list(); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

// Start begins a new incarnation after Replay and starts the writer. The State
// it returns must be durable in a checkpoint before the first Append. A clean
// stop whose checkpoint stands at the journal's end may skip Replay.
func (j *Journal) Start() (State, error) {
	j.mu.Lock()
	started := j.mu.started
	j.mu.Unlock()
	if started {
		return State{}, errors.New("start journal: started before")
	}
	if j.cfg.Sync {
		if err := j.syncReplayed(); err != nil {
			return State{}, fmt.Errorf("start journal: %w", err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begin()
	j.mu.started = true
	j.working.Go(j.write)
	if j.cfg.Sync {
		j.working.Go(j.sync)
	}
	j.working.Go(j.prepare)
	j.mu.state = j.stateAt(j.mu.state.Replay)
	return j.stateAt(j.mu.state.Replay), nil
}

// begin adds the span of the new incarnation. The caller holds mu.
func (j *Journal) begin() {
	st := &j.mu.state
	var seq uint64
	var incarnation uint32
	for _, s := range st.Spans {
		seq = max(seq, s.Start.File)
		incarnation = max(incarnation, s.Incarnation)
	}
	seq = max(seq, j.end.File, st.Replay.File)
	for _, f := range j.mu.files {
		seq = max(seq, f)
	}
	j.mu.next = Position{File: seq + 1, Offset: headerBlock, LSN: j.end.LSN}
	// Spans that hold no frame that was replayed make way, so that crashes
	// inside recovery do not make the list grow.
	keep := st.Spans[:0]
	for _, s := range st.Spans {
		if s.First < j.end.LSN {
			keep = append(keep, s)
		}
	}
	st.Spans = append(keep, Span{Incarnation: incarnation + 1, First: j.end.LSN, Start: j.mu.next})
	last := j.end.LSN - 1
	if j.cfg.Sync {
		st.Synced = max(st.Synced, last)
	}
	j.mu.synced = st.Synced
	j.written.Store(uint64(last))
	j.durable.Store(uint64(last))
}

// Durable is the highest durable LSN.
func (j *Journal) Durable() LSN { return LSN(j.durable.Load()) }

// Next is the position of the next frame: the place up to which a checkpoint
// that begins now will make everything durable.
func (j *Journal) Next() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.next
}

// StateAt is the State for a checkpoint that made all before pos durable.
func (j *Journal) StateAt(pos Position) State {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stateAt(pos)
}

func (j *Journal) stateAt(pos Position) State {
	spans := j.mu.state.Spans
	for len(spans) > 1 && spans[1].First <= pos.LSN {
		spans = spans[1:]
	}
	if spans[0].First == pos.LSN {
		pos = spans[0].Start // the end of one span is the start of the next
	}
	return State{Replay: pos, Synced: j.mu.synced, Spans: append([]Span(nil), spans...)}
}

// Release recycles the files wholly below pos; call it when the checkpoint
// that holds StateAt(pos) is durable.
func (j *Journal) Release(pos Position) {
	j.mu.Lock()
	if j.mu.state.Replay.LSN <= pos.LSN {
		j.mu.state = j.stateAt(pos)
	}
	j.mu.Unlock()
	wake(j.wakePrepare)
}

// Live is the number of bytes from the oldest frame still needed to the newest.
func (j *Journal) Live() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	from, to := j.mu.state.Replay, j.mu.next
	if from.File == to.File {
		return to.Offset - from.Offset
	}
	live := to.Offset
	for _, f := range j.mu.files {
		switch {
		case f == from.File:
			live += j.cfg.FileBytes - from.Offset
		case f > from.File && f < to.File:
			live += j.cfg.FileBytes
		}
	}
	return live
}

// Failed is closed when a write or a sync failed; Err then tells it.
func (j *Journal) Failed() <-chan struct{} { return j.failed }

// Err is the first failure, or nil.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.err
}

// fail records the first failure and wakes everybody. The writer and the
// syncer end at it: nothing is written or synced after it, and nothing retried.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.err != nil {
		return
	}
	j.mu.err = fmt.Errorf("journal stopped: %w", err)
	close(j.failed)
	j.wakeAll()
}

// Close writes and syncs what was enqueued, stops the goroutines and closes
// the files. Reservations that wait are refused. It returns the failure that
// stopped the journal, if one did.
func (j *Journal) Close() error {
	j.mu.Lock()
	first := !j.mu.closing
	j.mu.closing = true
	j.refuseReservations()
	j.mu.Unlock()
	if first {
		close(j.stopPrepare)
	}
	wake(j.wakeWriter)
	j.working.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	errs := []error{j.mu.err}
	for _, f := range append(j.mu.old, j.mu.current) {
		if f.File != nil {
			errs = append(errs, f.Close())
		}
	}
	j.mu.old, j.mu.current, j.mu.closed = nil, openFile{}, true
	j.wakeAll()
	return errors.Join(errs...)
}

// wake leaves one token in a channel of capacity one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
