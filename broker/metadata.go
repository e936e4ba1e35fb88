package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// metadata is the broker's metadata store: an image that is replaced, never
// changed, and one writer at a time. A change is committed to the metadata log,
// then applied; whoever tells of an image waits for the log's newest LSN.
//
// The writer's token is held while a commit waits for room in the journal, so it
// is a channel and no lock. Lock order: the token, then a shard of the
// coordinator standing still (deletion), then partitions (in storage).
type metadata struct {
	services
	random  io.Reader
	current atomic.Pointer[meta.Image]
	live    sync.Map      // *meta.Topic → *topic, for the topics of the image
	writer  chan struct{} // holds one token while a change is made

	rolledBack atomic.Bool // the image is what was durable when storage failed
	reaper     sync.WaitGroup

	// dropOffsets runs commit together with the removal of a topic's committed
	// offsets; the coordinator gives it. Nil before there is one.
	dropOffsets func(ctx context.Context, topic string, commit func(tombstones []storage.Append) (storage.LSN, error)) (storage.LSN, error)
	// changed is called after every change of topics and of settings; it must not
	// wait. Nil before there is a coordinator.
	changed func()
}

// topic is what serving a topic needs, worked out once.
type topic struct {
	*meta.Topic
	config     meta.TopicConfig
	partitions []*storage.Partition
	metrics    *topicMetrics
}

// partition returns a partition's log, or nil.
func (t *topic) partition(n int32) *storage.Partition {
	if n < 0 || int(n) >= len(t.partitions) {
		return nil
	}
	return t.partitions[n]
}

// openMetadata rebuilds the image from its log and has storage recover the
// topics that it names.
func openMetadata(ctx context.Context, s services, random io.Reader) (*metadata, error) {
	m := &metadata{services: s, random: random, writer: make(chan struct{}, 1)}
	img, err := m.replay()
	if err != nil {
		return nil, fmt.Errorf("read the metadata log: %w", err)
	}
	specs := make([]storage.TopicSpec, 0, img.TopicCount())
	for _, t := range img.Topics() {
		spec, err := m.spec(t)
		if err != nil {
			return nil, err
		}
		spec.Starts = img.LogStarts(t)
		specs = append(specs, spec)
	}
	if err := s.store.Recover(specs); err != nil {
		return nil, err
	}
	m.current.Store(img)
	for _, t := range img.Topics() {
		if err := m.enliven(t); err != nil {
			return nil, err
		}
	}
	return m, m.ensureCluster(ctx)
}

func (m *metadata) spec(t *meta.Topic) (storage.TopicSpec, error) {
	config, err := m.settings.TopicConfig(t.Configs)
	if err != nil {
		return storage.TopicSpec{}, fmt.Errorf("topic %q: %w", t.Name, err)
	}
	return storage.TopicSpec{
		ID: t.ID, Name: t.Name, Partitions: t.Partitions, Reserve: t.Internal, SegmentBytes: config.SegmentBytes,
		SegmentMillis: config.SegmentMillis, SegmentJitterMillis: config.SegmentJitterMillis,
		SegmentIndexBytes: config.SegmentIndexBytes, DeleteDelay: delay(config.FileDeleteDelayMillis),
		Clean: cleanRule(&config),
	}, nil
}

// delay is a time in ms, at most what a Duration can hold.
func delay(millis int64) time.Duration {
	return time.Duration(min(millis, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// enliven works out what serving the topic needs.
func (m *metadata) enliven(t *meta.Topic) error {
	config, err := m.settings.TopicConfig(t.Configs)
	if err != nil {
		return fmt.Errorf("topic %q: %w", t.Name, err)
	}
	l := &topic{Topic: t, config: config, partitions: make([]*storage.Partition, t.Partitions), metrics: m.metrics.topic(t.Name)}
	for i := range l.partitions {
		if l.partitions[i] = m.store.Partition(t.ID, int32(i)); l.partitions[i] == nil {
			return fmt.Errorf("topic %q: partition %d is not in storage", t.Name, i)
		}
	}
	m.live.Store(t, l)
	return nil
}

// replayChunk is how much of the metadata log is read at once.
const replayChunk = 1 << 20

func (m *metadata) replay() (*meta.Image, error) {
	img := meta.NewImage()
	log := m.store.Metadata()
	marks := log.Offsets()
	end := marks.End
	if m.store.Err() != nil {
		end = marks.High // what lies behind it will never be durable
	}
	for at := marks.Start; at < end; {
		extent, err := log.Read(at, replayChunk, end)
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", at, err)
		}
		next := at
		img, next, err = applyExtent(img, &extent, at)
		extent.Release()
		if err != nil {
			return nil, err
		}
		if next <= at {
			return nil, fmt.Errorf("nothing at offset %d, below the end %d", at, end)
		}
		at = next
	}
	return img, nil
}

// applyExtent applies the records of an extent from offset at on, and returns the
// offset behind it.
func applyExtent(img *meta.Image, extent *storage.Extent, at int64) (*meta.Image, int64, error) {
	rest := make([]byte, extent.Len())
	if _, err := extent.ReadAt(rest, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	for len(rest) > 0 {
		b, more, err := batch.Split(rest)
		if err != nil {
			return nil, 0, fmt.Errorf("offset %d: %w", at, err)
		}
		rest = more
		for r, err := range b.Records(meta.MaxMessageBytes) {
			if err == nil && r.Offset >= at {
				var record meta.Record
				if record, err = meta.Decode(r.Key, r.Value); err == nil {
					img, err = img.Apply(record)
				}
			}
			if err != nil {
				return nil, 0, fmt.Errorf("offset %d: %w", r.Offset, err)
			}
		}
		at = b.NextOffset()
	}
	return img, at, nil
}

// image is the newest state, perhaps not yet durable.
func (m *metadata) image() *meta.Image { return m.current.Load() }

// rollBack makes the newest image the one that is durable, after storage failed.
func (m *metadata) rollBack(ctx context.Context) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.finish()
	img, err := m.replay()
	if err != nil {
		return err
	}
	for _, t := range img.Topics() {
		if err := m.enliven(t); err != nil {
			return err
		}
	}
	m.publish(img)
	m.rolledBack.Store(true)
	return nil
}

// lsn is what a reply that tells of image must wait for.
func (m *metadata) lsn() storage.LSN {
	if m.rolledBack.Load() {
		return 0
	}
	return m.store.Metadata().LastLSN()
}

// topic finds a topic by name, or returns nil.
func (m *metadata) topic(name string) *topic { return m.liveTopic(m.image().Topic(name)) }

// topicByID finds a topic by id, or returns nil.
func (m *metadata) topicByID(id [16]byte) *topic { return m.liveTopic(m.image().TopicByID(id)) }

func (m *metadata) liveTopic(t *meta.Topic) *topic {
	for t != nil {
		if l, ok := m.live.Load(t); ok {
			return l.(*topic)
		}
		next := m.image().TopicByID(t.ID)
		if next == t {
			return nil // being deleted
		}
		t = next // it was changed in between
	}
	return nil
}

// begin takes the writer's token; the caller ends with finish.
func (m *metadata) begin(ctx context.Context) error {
	select {
	case m.writer <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *metadata) finish() { <-m.writer }

// change commits records, with what else belongs into the same act, and returns
// the image after them without making it the newest. The token must be held.
func (m *metadata) change(ctx context.Context, others []storage.Append, records ...meta.Record) (*meta.Image, storage.LSN, error) {
	img := m.image()
	now := m.now().UnixMilli()
	rs := make([]batch.Record, 0, len(records))
	for _, r := range records {
		var err error
		if img, err = img.Apply(r); err != nil {
			return nil, 0, err
		}
		key, value := meta.Encode(r)
		rs = append(rs, batch.Record{Timestamp: now, Key: key, Value: value})
	}
	own := storage.Append{Partition: m.store.Metadata(), Batches: batch.Build(batch.BuildOptions{}, rs...)}
	lsn, err := m.store.Commit(ctx, append(others, own))
	if err != nil {
		return nil, 0, fmt.Errorf("commit metadata: %w", err)
	}
	return img, lsn, nil
}

// ensureCluster writes the cluster's id at the first start and waits for it.
func (m *metadata) ensureCluster(ctx context.Context) error {
	if have := m.image().ClusterID(); have != "" {
		if want := m.settings.ClusterID; want != "" && want != have {
			m.logger.Warn("weir.cluster.id counts at the first start only", "setting", want, "cluster", have)
		}
		return nil
	}
	id := m.settings.ClusterID
	if id == "" {
		id = meta.FormatID(m.newID())
	}
	img, lsn, err := m.change(ctx, nil, meta.ClusterRecord{ClusterID: id})
	if err != nil {
		return err
	}
	m.current.Store(img)
	return m.store.Wait(ctx, lsn, storage.Durable)
}

// newID makes a random id that is none of Kafka's reserved ones.
func (m *metadata) newID() (id [16]byte) {
	if _, err := io.ReadFull(m.random, id[:]); err != nil {
		panic("metadata: no randomness: " + err.Error())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a random UUID, which is never 0 or 1
	return id
}

// errExists: the topic is there already.
var errExists = errors.New("topic exists")

// create makes a topic. The names and configs were checked.
func (m *metadata) create(ctx context.Context, name string, partitions int32, configs map[string]string) (*meta.Topic, storage.LSN, error) {
	if err := m.begin(ctx); err != nil {
		return nil, 0, err
	}
	defer m.finish()
	if t := m.image().Topic(name); t != nil {
		return t, m.lsn(), errExists
	}
	if err := m.admit(name, partitions); err != nil {
		return nil, m.lsn(), err
	}
	r := meta.TopicRecord{Name: name, ID: m.newID(), Partitions: partitions, Configs: configs}
	spec, err := m.spec(&meta.Topic{Name: name, ID: r.ID, Partitions: partitions, Configs: configs, Internal: meta.IsInternal(name)})
	if err != nil {
		return nil, 0, err
	}
	// Storage first: partitions without files are nothing if the commit fails.
	if err := m.store.CreateTopic(spec); err != nil {
		return nil, 0, fmt.Errorf("create topic %q: %w", name, err)
	}
	img, lsn, err := m.change(ctx, nil, r)
	if err != nil {
		return nil, 0, errors.Join(err, m.store.DeleteTopic(r.ID))
	}
	t := img.Topic(name)
	if err := m.enliven(t); err != nil {
		return nil, 0, err
	}
	m.publish(img)
	return t, lsn, nil
}

// errTooManyPartitions: a limit of the broker refuses the topic.
var errTooManyPartitions = errors.New("too many partitions")

// admit holds the limits and rules that need the newest image.
func (m *metadata) admit(name string, partitions int32) error {
	if other := m.image().Collision(name); other != "" {
		return fmt.Errorf("%w: topic %q collides with %q: they differ only in '.' and '_'", meta.ErrInvalidTopic, name, other)
	}
	return m.roomFor(partitions, partitions)
}

// roomFor tells whether a topic may have so many partitions, some of them new.
func (m *metadata) roomFor(partitions, more int32) error {
	if int(partitions) > m.settings.MaxPartitionsPerTopic {
		return fmt.Errorf("%w: %d asked for, weir.max.partitions.per.topic is %d", errTooManyPartitions, partitions, m.settings.MaxPartitionsPerTopic)
	}
	if exist := m.image().PartitionCount(); int(more) > m.settings.MaxPartitions-exist {
		return fmt.Errorf("%w: %d more asked for, %d exist, weir.max.partitions is %d", errTooManyPartitions, more, exist, m.settings.MaxPartitions)
	}
	return nil
}

// ensureInternalTopic finds or creates a topic of the broker's own.
func (m *metadata) ensureInternalTopic(ctx context.Context, name string, partitions int32) (*meta.Topic, storage.LSN, error) {
	if t := m.image().Topic(name); t != nil {
		return t, m.lsn(), nil
	}
	t, lsn, err := m.create(ctx, name, partitions, internalConfigs())
	if errors.Is(err, errExists) {
		err = nil
	}
	return t, lsn, err
}

// remove deletes a topic, with its committed offsets in the same act unless they
// are too many for one frame. Its files go when the deletion is durable.
func (m *metadata) remove(ctx context.Context, t *meta.Topic) (storage.LSN, error) {
	if err := m.begin(ctx); err != nil {
		return 0, err
	}
	defer m.finish()
	if t = m.image().TopicByID(t.ID); t == nil {
		return m.lsn(), errNoTopic
	}
	commit := func(tombstones []storage.Append) (storage.LSN, error) {
		deleted := meta.TopicDeletedRecord{Name: t.Name, ID: t.ID}
		img, lsn, err := m.change(ctx, tombstones, deleted)
		if errors.Is(err, batch.ErrTooLarge) {
			// More offsets than one frame can forget. They go first: a failure in
			// between leaves the topic, whose deletion nobody was told of, and never
			// an offset that a new topic of the same name would begin with.
			if err = m.commitEach(ctx, tombstones); err == nil {
				img, lsn, err = m.change(ctx, nil, deleted)
			}
		}
		if err != nil {
			return 0, err
		}
		m.publish(img)
		m.live.Delete(t)
		m.metrics.forget(t)
		return lsn, nil
	}
	lsn, err := m.dropOffsets(ctx, t.Name, commit)
	if err != nil {
		return 0, fmt.Errorf("delete topic %q: %w", t.Name, err)
	}
	m.reaper.Go(func() { m.reap(t, lsn) })
	return lsn, nil
}

// commitEach commits batch by batch what is too large for one frame.
func (m *metadata) commitEach(ctx context.Context, appends []storage.Append) error {
	for _, a := range appends {
		for rest := []byte(a.Batches); len(rest) > 0; {
			one, more, err := batch.Split(rest)
			if err != nil {
				return err
			}
			if _, err := m.store.Commit(ctx, []storage.Append{{Partition: a.Partition, Batches: one}}); err != nil {
				return fmt.Errorf("commit in pieces: %w", err)
			}
			rest = more
		}
	}
	return nil
}

var errNoTopic = errors.New("topic does not exist")

// reap removes a topic's files once nothing can bring it back.
func (m *metadata) reap(t *meta.Topic, lsn storage.LSN) {
	if err := m.store.Wait(context.Background(), lsn, storage.Durable); err != nil {
		return // storage failed; recovery decides by what the log holds
	}
	if err := m.store.DeleteTopic(t.ID); err != nil {
		m.logger.Error("cannot remove the files of a deleted topic; the next start does", "topic", t.Name, "error", err)
	}
}

// close waits for the removals under way.
func (m *metadata) close() { m.reaper.Wait() }
