package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// coordinator serves the consumer groups. The logic is in internal/group; here
// is its shell: one goroutine per partition of __consumer_offsets (a shard) owns
// one group.Core, feeds it requests, appends its records and sends the answers.
//
//	handler ──task──▶ mailbox of shard hash(group) ──▶ core ──records──▶ log
//	                                                    └──answers, with the LSN──▶ call.reply
//
// The rest of the shell, which all coordinators have, is loop and shardSet.
type coordinator struct {
	shardSet[*shard]
	cfg    coordinatorConfig
	core   group.Config // what each shard's core is made with
	groups atomic.Int64 // of all shards, against weir.max.groups
	memory atomic.Int64 // of what the members in all shards have sent
	batch  int          // bytes of records after which a shard appends them
	// resolving holds a token while an expression is matched with all topics.
	resolving chan struct{}
	ids       struct {
		sync.Mutex // cfg.random need not be safe for several shards at once
	}
}

// coordinatorConfig is what the coordinator needs of the broker. All is required
// unless it says otherwise.
type coordinatorConfig struct {
	topics    topicSource
	open      func(t *meta.Topic, partition int32) shardLog
	advertise func(c *call) (nodeID int32, host string, port int32) // this broker, as the caller can reach it
	// ensureTransactions is ensure of the coordinator of transactions.
	ensureTransactions func(ctx context.Context) (storage.LSN, error)

	settings *meta.Settings
	now      func() time.Time
	random   io.Reader // 16 bytes for each member id
	logger   *slog.Logger
	noted    func(group.EventKind)     // optional: counts what a timeline gets
	panicked func(p any, stack []byte) // optional: counts a panic of a shard, which is logged
	frame    int64                     // the journal's file size, which bounds an append; 0: the default, 64 MiB
	memory   int64                     // optional: bytes of what members send that are kept; 0: group's default
	failed   <-chan struct{}           // optional; closed when only what is durable shall be told from then on
}

// topicSource is the part of the metadata store that the coordinator uses.
type topicSource interface {
	// image is the newest state, perhaps not yet durable.
	image() *meta.Image
	// lsn is what a reply that tells of an image seen before must wait for.
	lsn() storage.LSN
	// ensureInternalTopic finds or creates a topic of the broker's own.
	ensureInternalTopic(ctx context.Context, name string, partitions int32) (*meta.Topic, storage.LSN, error)
}

// shardLog is the log of one shard: a partition of __consumer_offsets.
type shardLog interface {
	// append adds the records as one frame.
	append(ctx context.Context, records []group.Record, now time.Time) (storage.LSN, error)
	// part makes the records a part of somebody else's commit.
	part(records []group.Record, now time.Time) storage.Append
	// replay calls record for every record and end for every marker, in order, that
	// was appended, and tells the LSN of the newest.
	replay(ctx context.Context, to replay) (storage.LSN, error)
	// newestEpoch is the highest epoch with which a producer has appended; -1: none.
	newestEpoch(producerID int64) int16
}

// replay is who is told of a shard's log.
type replay struct {
	record func(r group.Record) error
	end    func(producerID int64, committed bool)
}

func newCoordinator(cfg coordinatorConfig) *coordinator {
	c := &coordinator{cfg: cfg, resolving: make(chan struct{}, 1)}
	s := cfg.settings
	c.shardSet = shardSet[*shard]{
		topics: cfg.topics, topic: meta.OffsetsTopic, partitions: s.OffsetsTopicPartitions,
		open:    func(t *meta.Topic, number int32) *shard { return newShard(c, number, c.cfg.open(t, number)) },
		started: c.clusterChanged, // topics may have changed since the shards loaded
	}
	c.prepare()
	if cfg.frame == 0 {
		cfg.frame = 64 << 20
	}
	// What a shard gathers and what one step adds to it fit into one frame.
	c.batch = int(min(offsetsBatchBytes, cfg.frame/4))
	c.core = group.Config{
		NewMemberID:           c.newMemberID,
		InitialRebalanceDelay: s.GroupInitialRebalanceDelay,
		MinSessionTimeout:     s.GroupMinSessionTimeout,
		MaxSessionTimeout:     s.GroupMaxSessionTimeout,
		MaxSize:               s.GroupMaxSize,
		MaxOffsetMetadata:     s.OffsetMetadataMaxBytes,
		OffsetsRetention:      s.OffsetsRetention,
		MaxRecord:             int(min(32<<20, cfg.frame/2)),
		MaxMemory:             cfg.memory,
		Consumer:              consumerConfig(s),
		Noted:                 cfg.noted,
		Memory:                func(n int64) int64 { return c.memory.Add(n) },
	}
	return c
}

// newMemberID makes a unique id as Kafka's are: prefix, dash, a random UUID.
func (c *coordinator) newMemberID(prefix string) string {
	var u [16]byte
	c.ids.Lock()
	defer c.ids.Unlock()
	if _, err := io.ReadFull(c.cfg.random, u[:]); err != nil {
		panic("group coordinator: no randomness: " + err.Error())
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", prefix, u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// ask has the shard of a group do the task that answers a call, or fails it with
// NOT_COORDINATOR. A large request counts in the budget of decoding until its task
// is done, so that those which wait in mailboxes are bounded together.
func (c *coordinator) ask(call *call, groupID string, t task) {
	unpin := call.pin()
	step, fail := t.step, t.fail
	t.step = func(s *shard, now time.Time) func(storage.LSN) {
		defer unpin()
		return step(s, now)
	}
	t.fail = func(code int16) {
		unpin()
		fail(code)
	}
	c.askPart(call, groupID, t)
}

// askPart is ask for one of several tasks of a call, which is pinned already.
func (c *coordinator) askPart(call *call, groupID string, t task) {
	c.shardSet.ask(call.ctx, groupID, t)
}

// noRoomCode is the code for what an answer has no room for: clients try again
// later, unless it is too large at any time.
func noRoomCode(err error) int16 {
	if errors.Is(err, errAnswerSize) {
		return kerr.InvalidRequest.Code
	}
	return kerr.CoordinatorNotAvailable.Code
}
