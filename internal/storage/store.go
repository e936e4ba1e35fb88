package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/internal/journal"
	"github.com/weirstream/weir/internal/vfs"
)

// Store is the durable state of one broker: all partition logs and the journal.
type Store struct {
	cfg   Config
	lock  io.Closer
	files *fileSet
	j     *journal.Journal
	epoch int32 // leader epoch of this life
	block int64 // bytes of a block of the file system
	space *ballast

	topics    atomic.Pointer[map[TopicID]*topic] // never changed in place
	changing  sync.Mutex                         // held while topics is replaced
	found     *checkpoint                        // what Open read; nil after Recover
	ready     atomic.Bool                        // Recover has ended
	readOnly  atomic.Bool                        // the disk was full at the start, and has been since
	began     *journal.State                     // once the journal has started
	scanned   bool                               // segments were read behind the recovery points
	closeOnce sync.Once

	ctx     context.Context // of the goroutines
	stop    context.CancelFunc
	running sync.WaitGroup
	closing chan struct{}
	failed  chan struct{}
	failure struct {
		sync.Mutex
		err error
	}

	discards        discards
	producers       atomic.Int64    // remembered windows of all partitions
	forgetting      atomic.Bool     // somebody makes them fewer
	sinceCheckpoint atomic.Int64    // bytes appended
	crowded         atomic.Bool     // too many written files are open, or journal files held
	want            chan struct{}   // asks keepCheckpoints for one
	cleanNow        chan chan error // asks keepClean for a round
	cleaned         cleanCounters
	done            struct {
		sync.Mutex
		ch chan struct{} // closed by the next checkpoint that ends
	}
}

// Open takes the lock, reads the checkpoint and recovers the metadata log.
func Open(cfg Config) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, space: newBallast(&cfg), want: make(chan struct{}, 1),
		closing: make(chan struct{}), failed: make(chan struct{}),
	}
	s.done.ch = make(chan struct{})
	s.discards.news = make(chan struct{}, 1)
	s.cleanNow = make(chan chan error)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.files = &fileSet{fs: cfg.FS, dir: cfg.Dir, max: cfg.MaxOpenFiles, fail: func(err error) { _ = s.fail(err) }}
	s.files.crowded = func() {
		s.crowded.Store(true)
		s.askCheckpoint()
	}
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", cfg.Dir, err)
	}
	s.lock, s.block = lock, blockOf(cfg.FS, cfg.Dir)
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	return s, nil
}

func (s *Store) open() error {
	if err := checkFinished(s.cfg.FS, s.cfg.Dir); err != nil {
		return err
	}
	if err := s.checkFormat(); err != nil {
		return err
	}
	found, err := s.readCheckpoint()
	if err != nil {
		return err
	}
	if err := s.checkJournalFile(found); err != nil {
		return err
	}
	s.found, s.epoch = found, found.epoch
	if !found.clean {
		s.epoch++
	}
	s.space.adopt()
	s.j, err = journal.Open(journal.Config{
		FS: s.cfg.FS, Dir: filepath.Join(s.cfg.Dir, "journal"), FileBytes: s.cfg.JournalFileBytes,
		Sync: s.cfg.Durability == Sync, Zero: s.cfg.FS == vfs.OS(), Logger: s.cfg.Logger,
		Full: func() { s.space.met() },
	}, found.journal)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	meta := s.newTopic(TopicSpec{ID: MetadataTopic, Name: "__cluster_metadata", Partitions: 1})
	s.topics.Store(&map[TopicID]*topic{meta.id: meta})
	return s.recoverTopics(func(id TopicID) bool { return id == MetadataTopic })
}

// abandon gives back what an Open that failed holds.
func (s *Store) abandon() error {
	s.stop()
	var jerr error
	if s.j != nil {
		jerr = s.j.Close()
	}
	return errors.Join(jerr, s.files.closeAll(), s.lock.Close())
}

// Metadata is the log of __cluster_metadata, recovered by Open.
func (s *Store) Metadata() *Partition { return s.Partition(MetadataTopic, 0) }

// CreateTopic makes the partitions of a topic; files come with the first write.
func (s *Store) CreateTopic(t TopicSpec) error {
	if err := s.usable(); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	old := *s.topics.Load()
	if old[t.ID] != nil {
		return fmt.Errorf("create topic %s: the id %x is taken", t.Name, t.ID[:])
	}
	topics := maps.Clone(old)
	topics[t.ID] = s.newTopic(t)
	s.topics.Store(&topics)
	return nil
}

// DeleteTopic makes the partitions refuse appends and reads, wakes their
// watchers and removes their files; extents that are held stay readable. The
// record of the deletion must be durable in the metadata log before.
func (s *Store) DeleteTopic(id TopicID) error {
	if id == MetadataTopic {
		return errors.New("the metadata log cannot be deleted")
	}
	s.changing.Lock()
	old := *s.topics.Load()
	t := old[id]
	topics := maps.Clone(old)
	delete(topics, id)
	s.topics.Store(&topics)
	s.changing.Unlock()
	if t == nil {
		return fmt.Errorf("delete topic %x: %w", id[:], ErrDeleted)
	}
	if s.cfg.Durability == OS {
		// A power cut that takes the record of the deletion but not the unlinks
		// would leave a topic whose synced files are gone.
		if err := s.Metadata().syncLog(); err != nil {
			return s.fail(fmt.Errorf("sync metadata log: %w", err))
		}
	}
	for _, p := range t.partitions() {
		p.mu.Lock()
		s.producers.Add(-int64(len(p.windows)))
		p.record, p.windows, p.fresh = nil, nil, nil
		p.state.Lock()
		p.state.deleted = true
		segments := p.state.segments
		p.state.segments = nil
		p.state.hints = [4]mark{}
		p.wakeAll()
		p.state.watchers, p.state.stableWatchers = nil, nil
		p.state.Unlock()
		p.mu.Unlock()
		for _, seg := range segments {
			seg.remove()
		}
	}
	for _, seg := range s.discards.ofTopic(t) {
		seg.remove()
	}
	// The directory stays while a reader pins a file; the next start removes it.
	if err := s.cfg.FS.Remove(t.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Logger.Debug("topic directory is not empty yet", "dir", t.dir, "error", err)
	}
	return nil
}

// Partition finds a partition, or returns nil.
func (s *Store) Partition(id TopicID, n int32) *Partition {
	t := (*s.topics.Load())[id]
	if t == nil {
		return nil
	}
	all := t.partitions()
	if n < 0 || int(n) >= len(all) {
		return nil
	}
	return all[n]
}

// Failed is closed at the first storage failure; Err then tells it.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is the storage failure, wrapping ErrStorage, or nil.
func (s *Store) Err() error {
	s.failure.Lock()
	defer s.failure.Unlock()
	return s.failure.err
}

// fail ends the store with its first failure, and returns that.
func (s *Store) fail(err error) error {
	s.failure.Lock()
	defer s.failure.Unlock()
	if s.failure.err == nil {
		s.failure.err = fmt.Errorf("%w: %w", ErrStorage, err)
		close(s.failed)
	}
	return s.failure.err
}

// usable says whether appends may be tried at all.
func (s *Store) usable() error {
	select {
	case <-s.failed:
		return s.Err()
	case <-s.closing:
		return ErrClosed
	default:
	}
	if !s.ready.Load() {
		return errors.New("storage is not recovered yet")
	}
	if s.readOnly.Load() {
		return fmt.Errorf("%w: the disk was full at the start, and still is", ErrNoSpace)
	}
	return nil
}

// journalError turns an error of the journal into the store's.
func (s *Store) journalError(err error) error {
	if jerr := s.j.Err(); jerr != nil {
		return s.fail(jerr)
	}
	if errors.Is(err, journal.ErrClosed) {
		return ErrClosed
	}
	return err
}

func (s *Store) waitJournal(ctx context.Context, lsn LSN, level Level) error {
	var err error
	if level == Written {
		err = s.j.WaitWritten(ctx, journal.LSN(lsn))
	} else {
		err = s.j.WaitDurable(ctx, journal.LSN(lsn))
	}
	if err != nil {
		return s.journalError(err)
	}
	return nil
}

// start begins the goroutines, after recovery.
func (s *Store) start() {
	s.running.Add(3)
	go s.keepCheckpoints()
	if !s.readOnly.Load() {
		s.running.Add(1)
		go s.keepDiscards()
		s.running.Add(1)
		go s.keepClean()
	}
	go func() {
		defer s.running.Done()
		s.space.keep(s.ctx)
	}()
	go func() {
		defer s.running.Done()
		select {
		case <-s.j.Failed():
			_ = s.fail(s.j.Err())
		case <-s.ctx.Done():
		}
	}()
}

// Close refuses new appends, makes all durable, writes a last checkpoint that
// says the stop was clean, and releases the lock. When ctx ends first, the
// checkpoint is left out: the next start then redoes the journal.
func (s *Store) Close(ctx context.Context) error {
	err := ErrClosed
	s.closeOnce.Do(func() { err = s.close(ctx) })
	return err
}

func (s *Store) close(ctx context.Context) error {
	close(s.closing)
	s.stop()
	s.running.Wait()
	for _, t := range *s.topics.Load() {
		for _, p := range t.partitions() {
			p.mu.Lock() // a Commit at work ends first
			p.state.Lock()
			p.state.closed = true
			p.wakeAll()
			p.state.Unlock()
			p.mu.Unlock()
		}
	}
	var err error
	if s.ready.Load() && !s.readOnly.Load() {
		if err = s.Err(); err == nil {
			err = s.lastDiscards(ctx)
		}
		if err == nil {
			err = s.checkpoint(ctx, true)
		}
		if ctx.Err() != nil {
			err = nil
		}
	}
	return errors.Join(err, s.j.Close(), s.files.closeAll(), s.lock.Close())
}
