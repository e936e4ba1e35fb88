package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// shardOf is a shard of a coordinator.
type shardOf[S any] interface {
	run()
	awaitLoaded() error
	send(ctx context.Context, e errand[S])
}

// shardSet are the shards of a coordinator: one for each partition of an internal topic.
// They start when the topic is found at start, or made by the first FindCoordinator; until
// then there is no coordinator, as in Kafka. close ends them and waits.
type shardSet[S shardOf[S]] struct {
	topics     topicSource
	topic      string
	partitions int32 // when the topic is made
	open       func(t *meta.Topic, partition int32) S
	started    func() // optional: called when all have read their logs

	shards   atomic.Pointer[[]S]
	ctx      context.Context // ends with close
	cancel   context.CancelFunc
	starting chan struct{} // holds one token: taken by who starts the shards
	wait     sync.WaitGroup
}

// prepare makes what every set needs; its fields are set before.
func (c *shardSet[S]) prepare() {
	c.starting = make(chan struct{}, 1)
	c.ctx, c.cancel = context.WithCancel(context.Background())
}

// load starts the shards if the topic exists and waits until all have read their logs. It
// is called before the broker listens.
func (c *shardSet[S]) load(ctx context.Context) error {
	t := c.topics.image().Topic(c.topic)
	if t == nil {
		return nil
	}
	return c.start(ctx, t)
}

// ensure makes the topic and the shards when they are first needed.
func (c *shardSet[S]) ensure(ctx context.Context) (storage.LSN, error) {
	t, lsn, err := c.topics.ensureInternalTopic(ctx, c.topic, c.partitions)
	if err != nil {
		return 0, fmt.Errorf("create topic %s: %w", c.topic, err)
	}
	return lsn, c.start(ctx, t)
}

func (c *shardSet[S]) start(ctx context.Context, t *meta.Topic) error {
	if c.shards.Load() != nil {
		return nil
	}
	select {
	case c.starting <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.starting }()
	if c.ctx.Err() != nil {
		return errCoordinatorClosed
	}
	if c.shards.Load() != nil {
		return nil
	}
	list := make([]S, t.Partitions)
	for i := range list {
		list[i] = c.open(t, int32(i))
		c.wait.Go(list[i].run)
	}
	var errs []error
	for _, s := range list {
		errs = append(errs, s.awaitLoaded())
	}
	c.shards.Store(&list)
	if c.started != nil {
		c.started()
	}
	return errors.Join(errs...)
}

// close ends the shards and waits for them. The store must still be open.
func (c *shardSet[S]) close() {
	c.cancel()
	c.starting <- struct{}{} // nobody is starting shards now, and nobody will
	<-c.starting
	c.wait.Wait()
}

// all are the shards; none while there is no coordinator.
func (c *shardSet[S]) all() []S {
	if list := c.shards.Load(); list != nil {
		return *list
	}
	return nil
}

// ask has the shard of an id do an errand that answers a call, or fails it with
// NOT_COORDINATOR.
func (c *shardSet[S]) ask(ctx context.Context, id string, e errand[S]) {
	if c.shards.Load() == nil {
		e.fail(kerr.NotCoordinator.Code)
		return
	}
	c.shardOf(id).send(ctx, e)
}

// shardOf finds the shard of an id; while there is no coordinator the zero value.
func (c *shardSet[S]) shardOf(id string) (s S) {
	if list := c.all(); len(list) > 0 {
		s = list[partitionOf(id, int32(len(list)))]
	}
	return s
}

// partitionOf is Kafka's choice of a partition of a coordinator's topic: Java's
// String.hashCode, made positive, modulo the number of partitions. Tools that read the
// topic rely on it.
func partitionOf(id string, partitions int32) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(id)) {
		h = 31*h + int32(unit)
	}
	if h == -1<<31 {
		h = 0
	}
	return max(h, -h) % partitions
}

var errCoordinatorClosed = errors.New("the coordinator is closed")
