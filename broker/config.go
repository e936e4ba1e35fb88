package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/vfs"
)

// Config is given to Open. Only Dir is required.
type Config struct {
	// Dir is the data directory. It is made if it does not exist.
	Dir string
	// Durability is what an acknowledgement with acks=all survives: "sync" (the
	// default) power loss, "os" a killed process.
	Durability string
	// Settings are broker settings by Apache Kafka's names, for instance
	// "auto.create.topics.enable". An unknown name or a value that is not allowed
	// makes Open fail.
	Settings map[string]string
	// Logger gets what an operator should know. Nil discards it.
	Logger *slog.Logger
	// FS is the file system. Nil is the operating system's.
	FS vfs.FS
	// Now is the clock for timestamps and group deadlines. Nil is time.Now.
	Now func() time.Time
	// Random gives ids of topics, members and the cluster, to several goroutines at
	// once. Nil is crypto/rand.
	Random io.Reader
	// JournalFileBytes is the size of one journal file, CheckpointBytes how much
	// journal is written between two checkpoints. 0 is 64 MiB.
	JournalFileBytes int64
	CheckpointBytes  int64
	// ReadOnlyOnFailure keeps the broker up after its storage has failed, to serve
	// what is durable: it answers writes with KAFKA_STORAGE_ERROR, and /readyz with
	// 503. Without it the process is expected to exit when Failed is closed.
	ReadOnlyOnFailure bool
	// Version of the program, for metrics.
	Version string
}

// complete fills in what was left out and checks the rest.
func (c *Config) complete() (meta.Settings, storage.Durability, error) {
	if c.Dir == "" {
		return meta.Settings{}, 0, errors.New("broker: Config.Dir is required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FS == nil {
		c.FS = vfs.OS()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	var durability storage.Durability
	switch c.Durability {
	case "", "sync":
		durability = storage.Sync
	case "os":
		durability = storage.OS
	default:
		return meta.Settings{}, 0, fmt.Errorf("broker: Config.Durability is %q, must be sync or os", c.Durability)
	}
	settings, err := meta.ParseSettings(c.Settings)
	if err != nil {
		return meta.Settings{}, 0, fmt.Errorf("broker: %w", err)
	}
	if n := len(settings.AdvertisedListeners); n > 1 {
		return meta.Settings{}, 0, fmt.Errorf("broker: %w: advertised.listeners has %d entries; listeners have no names here, "+
			"so give the one that all clients can reach, or none: each client is then told the address that it came by", meta.ErrInvalidConfig, n)
	}
	return settings, durability, nil
}
