package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/vfs"
)

var (
	errStopping = errors.New("the broker is stopping")
	// ErrStopped is returned by Serve and DialContext after Shutdown.
	ErrStopped = errors.New("broker stopped")
)

// Broker is one running broker. Open makes it; Serve and DialContext let clients
// in; Shutdown ends it.
type Broker struct {
	cfg      Config
	settings meta.Settings
	// maxConnections is max.connections, or less where descriptors are few.
	maxConnections int

	logger      *slog.Logger
	store       *storage.Store
	metadata    *metadata
	producers   *producerIDs
	coordinator *coordinator
	txns        *transactions
	retention   *retention
	apis        *apiTable
	sessions    *sessionCache // of fetches
	metrics     *metrics
	budget      *budget      // of requests being read
	decoding    *budget      // of what decoding them may allocate
	answers     *budget      // of answers being made, and waiting to be written
	looked      atomic.Int64 // when closeStalled looked at connections, ns
	chunks      atomic.Int64 // large buffers of answers that connections hold
	maxChunks   int64        // manyChunks, but for tests
	slots       slotPool

	ctx      context.Context // of all connections; ends when Shutdown has no more time
	cancel   context.CancelFunc
	stopping chan struct{} // closed when Shutdown begins
	stopped  chan struct{} // closed when Shutdown is done
	stopErr  error

	closes  closeLog
	readers sync.WaitGroup // goroutines that accept and read
	writers sync.WaitGroup // goroutines that write answers

	mu struct {
		sync.Mutex
		stopping  bool
		listeners []net.Listener
		conns     map[*conn]struct{}
		perIP     map[string]int
	}
}

// Open recovers the data directory and returns a broker that is ready to serve.
// Only one process can have the directory; the error then wraps vfs.ErrLocked.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	settings, durability, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, settings: settings, logger: cfg.Logger,
		budget:   newBudget(settings.MaxInflightBytes),
		decoding: newBudget(settings.MaxInflightBytes),
		sessions: newSessionCache(settings.FetchSessions, cfg.Now, cfg.Random),
		metrics:  newMetrics(),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	b.answers, b.maxChunks = b.newAnswers(answersTotal), manyChunks
	b.mu.conns = map[*conn]struct{}{}
	b.mu.perIP = map[string]int{}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.open(ctx, durability); err != nil {
		b.cancel()
		return nil, fmt.Errorf("open broker on %s: %w", cfg.Dir, err)
	}
	return b, nil
}

func (b *Broker) open(ctx context.Context, durability storage.Durability) error {
	begun := b.cfg.Now()
	share := descriptors{maxOpenFiles, b.settings.MaxConnections}
	if b.cfg.FS == vfs.OS() {
		share = shareDescriptors(descriptorLimit(), b.settings.MaxConnections, b.cfg.Logger)
	}
	b.maxConnections = share.connections
	store, err := storage.Open(storage.Config{
		MaxOpenFiles: share.files, FS: b.cfg.FS, Dir: b.cfg.Dir, Durability: durability, Logger: b.cfg.Logger, Now: b.cfg.Now,
		ProducerExpiry: b.settings.ProducerIDExpiration, MaxProducers: b.settings.MaxProducers,
		JournalFileBytes: b.cfg.JournalFileBytes, CheckpointBytes: b.cfg.CheckpointBytes,
		CleanInterval: b.settings.CleanerInterval, CleanMapBytes: b.settings.CleanerMapBytes,
		CleanBytesPerSecond: cleanRate(b.settings.CleanerRate),
	})
	if err != nil {
		return err
	}
	b.store = store
	if err := b.load(ctx); err != nil {
		return errors.Join(err, store.Close(ctx))
	}
	b.retention = startRetention(b.metadata)
	if b.cfg.ReadOnlyOnFailure {
		b.metadata.reaper.Go(b.serveDurable)
	}
	b.apis = newAPITable(b.coreAPIs(), b.coordinator.apis(), b.txns.apis())
	b.metrics.complete(b)
	b.metrics.recovery.Set(b.cfg.Now().Sub(begun).Seconds())
	return nil
}

// load reads the metadata log, lets storage recover the topics it names, and
// has the coordinator read its logs.
func (b *Broker) load(ctx context.Context) error {
	m, err := openMetadata(ctx, services{store: b.store, settings: &b.settings, metrics: b.metrics, logger: b.logger, now: b.cfg.Now}, b.cfg.Random)
	if err != nil {
		return err
	}
	b.metadata = m
	b.producers = &producerIDs{metadata: m}
	var failed <-chan struct{}
	if b.cfg.ReadOnlyOnFailure {
		failed = b.store.Failed()
	}
	b.coordinator = newCoordinator(coordinatorConfig{
		topics: m,
		open: func(t *meta.Topic, partition int32) shardLog {
			return &offsetsLog{store: b.store, partition: b.store.Partition(t.ID, partition)}
		},
		advertise: func(c *call) (int32, string, int32) {
			return b.settings.NodeID, c.conn.advertise.host, c.conn.advertise.port
		},
		ensureTransactions: func(ctx context.Context) (storage.LSN, error) { return b.txns.ensure(ctx) },

		settings: &b.settings, now: b.cfg.Now, random: b.cfg.Random, logger: b.logger, failed: failed,
		panicked: func(any, []byte) { b.metrics.panics.Inc() },
		noted:    func(kind group.EventKind) { b.metrics.groupEvents.WithLabelValues(string(kind)).Inc() },
		frame:    b.cfg.JournalFileBytes,
	})
	m.dropOffsets, m.changed = b.coordinator.deleteTopic, b.coordinator.clusterChanged
	b.txns = newTransactions(txnConfig{
		store: b.store, topics: m, groups: b.coordinator, producers: b.producers, settings: &b.settings, now: b.cfg.Now,
		logger: b.logger, failed: failed, frame: b.cfg.JournalFileBytes,
		panicked: func(any, []byte) { b.metrics.panics.Inc() },
		ended:    b.metrics.transactionEnded,
	})
	// The groups come first: an end that the log has only begun concerns them, too.
	err = b.coordinator.load(ctx)
	if err == nil {
		err = b.txns.load(ctx)
	}
	if err != nil {
		b.txns.close()
		b.coordinator.close()
		return err
	}
	b.txns.abortHanging(ctx)
	return nil
}

// serveDurable waits for a failure of storage and then takes back what is not
// durable and never will be, so that the rest can be told without waiting.
func (b *Broker) serveDurable() {
	select {
	case <-b.stopping:
		return
	case <-b.store.Failed():
	}
	b.logger.Error("storage failed: what is durable is served, nothing is written until a restart", "error", b.Err())
	if err := b.metadata.rollBack(b.ctx); err != nil {
		b.logger.Error("cannot go back to the metadata that is durable", "error", err)
	}
}

// Failed is closed when storage can no longer keep what it promises. Waiters were
// told; the process should exit, and recover at its next start.
func (b *Broker) Failed() <-chan struct{} { return b.store.Failed() }

// Err is what made Failed close, or nil.
func (b *Broker) Err() error { return b.store.Err() }

// ClusterID is the id that was made at the first start.
func (b *Broker) ClusterID() string { return b.metadata.image().ClusterID() }

func (b *Broker) isStopping() bool {
	select {
	case <-b.stopping:
		return true
	default:
		return false
	}
}

// shutdownGrace is how long clients have to take their last answers.
const shutdownGrace = 1500 * time.Millisecond

// Shutdown refuses new work, answers what was accepted as soon as it is durable,
// and closes the data directory. When ctx ends first, connections are cut; the
// data is closed properly all the same. Later calls return the first's result.
func (b *Broker) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	first := !b.mu.stopping
	b.mu.stopping = true
	b.mu.Unlock()
	if !first {
		<-b.stopped
		return b.stopErr
	}
	close(b.stopping)
	grace, done := context.WithTimeout(ctx, shutdownGrace)
	defer done()
	cut := context.AfterFunc(grace, b.cancel)
	b.stopReading()
	b.readers.Wait()
	b.txns.close()        // ends what it has begun, with the groups
	b.coordinator.close() // answers the members that wait
	b.writers.Wait()
	cut()
	b.cancel()
	b.retention.close()
	b.metadata.close()
	b.stopErr = b.store.Close(ctx)
	close(b.stopped)
	return b.stopErr
}
