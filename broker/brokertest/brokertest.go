package brokertest

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/vfs"
)

// Address is what clients are given to dial; any address leads to the broker.
const Address = "weir.in-process:9092"

// dir is the data directory within the file system in memory.
const dir = "/data"

// Option changes how the broker is started.
type Option func(*Broker)

// WithSettings sets broker settings by Kafka's names.
func WithSettings(settings map[string]string) Option {
	return func(b *Broker) { maps.Copy(b.config.Settings, settings) }
}

// WithDurability is "sync", the default, or "os".
func WithDurability(d string) Option { return func(b *Broker) { b.config.Durability = d } }

// WithReadOnlyOnFailure lets the broker serve what is durable after a failure of
// storage.
func WithReadOnlyOnFailure() Option { return func(b *Broker) { b.config.ReadOnlyOnFailure = true } }

// WithLogger hears what the broker logs; the default is the test's own log.
func WithLogger(l *slog.Logger) Option { return func(b *Broker) { b.config.Logger = l } }

// WithFS keeps the data in another file system. Crash and Kill need the default.
func WithFS(fs vfs.FS) Option { return func(b *Broker) { b.base = fs } }

// Broker is a broker in memory.
type Broker struct {
	t       testing.TB
	config  broker.Config
	base    vfs.FS   // of WithFS
	disk    *vfs.Mem // otherwise
	files   *vfs.Faulty
	current atomic.Pointer[broker.Broker]
}

// Start starts a broker that ends with the test.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b := &Broker{t: t, disk: vfs.NewMem()}
	b.config = broker.Config{
		Dir: dir, Settings: map[string]string{}, Version: "test",
		JournalFileBytes: 4 << 20, CheckpointBytes: 2 << 20,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, o := range opts {
		o(b)
	}
	b.open()
	t.Cleanup(b.stop)
	return b
}

func (b *Broker) open() {
	b.t.Helper()
	if b.base != nil {
		b.files = vfs.Inject(b.base)
	} else {
		b.files = vfs.Inject(b.disk)
	}
	b.config.FS = b.files
	now, err := broker.Open(context.Background(), b.config)
	if err != nil {
		b.t.Fatalf("open broker: %v", err)
	}
	b.current.Store(now)
}

func (b *Broker) stop() {
	if err := b.Broker().Shutdown(context.Background()); err != nil && b.Broker().Err() == nil {
		b.t.Errorf("shut broker down: %v", err)
	}
}

// Broker is the broker that runs now.
func (b *Broker) Broker() *broker.Broker { return b.current.Load() }

// Files is the file system of the broker that runs now: it counts operations and
// fails those that a rule matches.
func (b *Broker) Files() *vfs.Faulty { return b.files }

// DialContext connects to the broker that runs now; it fits kgo.Dialer.
func (b *Broker) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return b.Broker().DialContext(ctx, network, address)
}

// Client makes a client of the broker that is closed with the test.
func (b *Broker) Client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(Address), kgo.Dialer(b.DialContext)}, opts...)...)
	if err != nil {
		b.t.Fatalf("make client: %v", err)
	}
	b.t.Cleanup(client.Close)
	return client
}

// Restart stops the broker properly and starts it again on the same data.
func (b *Broker) Restart() {
	b.t.Helper()
	b.stop()
	b.open()
}

// Crash cuts the power, by which everything that was not synced is kept or lost
// at random, and starts a broker on what is left. The same seed loses the same.
func (b *Broker) Crash(seed uint64) { b.crash(seed, vfs.CrashOptions{}) }

// Kill ends the broker as kill -9 does: what was written is kept, synced or not.
func (b *Broker) Kill() { b.crash(0, vfs.CrashOptions{KeepUnsynced: true}) }

func (b *Broker) crash(seed uint64, opts vfs.CrashOptions) {
	b.t.Helper()
	left := b.disk.CrashClone(rand.New(rand.NewPCG(seed, seed)), opts)
	b.stop() // the old one goes on on the old disk, which nobody sees any more
	b.disk = left
	b.open()
}
