package meta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Topic is one topic as the metadata log tells it. It is never changed after
// it was put into an Image; nobody may write to Configs.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
	Configs    map[string]string // settings given for this topic, by Kafka's names
	Internal   bool              // kept by the broker itself, hidden by clients
}

// Image is all that the metadata log says, at one moment. It is immutable:
// Apply makes a new one that shares nearly everything with the old. The zero
// value is not usable; NewImage makes the empty image.
type Image struct {
	byName     *shards[string, *Topic]
	byID       *shards[[16]byte, *Topic]
	byFolded   *shards[string, string] // name with '.' as '_' → name
	starts     *shards[[16]byte, logStarts]
	groups     *shards[string, map[string]string] // id → settings given for the group
	partitions int
	clusterID  string
	producerID int64

	sorted func() []*Topic // computed once, on the first use
}

// NewImage returns the image of an empty log.
func NewImage() *Image {
	return (&Image{
		byName:   newShards[string, *Topic](),
		byID:     newShards[[16]byte, *Topic](),
		byFolded: newShards[string, string](),
		starts:   newShards[[16]byte, logStarts](),
		groups:   newShards[string, map[string]string](),
	}).ready()
}

// ready completes an image whose maps stand.
func (m *Image) ready() *Image {
	m.sorted = sync.OnceValue(func() []*Topic {
		all := make([]*Topic, 0, m.byName.len())
		for _, t := range m.byName.all() {
			all = append(all, t)
		}
		slices.SortFunc(all, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
		return all
	})
	return m
}

// Topic finds a topic by name, or returns nil.
func (m *Image) Topic(name string) *Topic { return m.byName.get(name) }

// TopicByID finds a topic by id, or returns nil.
func (m *Image) TopicByID(id [16]byte) *Topic { return m.byID.get(id) }

// Topics lists all topics sorted by name. The slice is shared: it must not be
// written to.
func (m *Image) Topics() []*Topic { return m.sorted() }

// ChangedTopics are the names of topics that have come, gone or got more partitions
// since another image, which may be nil, in no particular order. A topic that went and
// came back is another one.
func (m *Image) ChangedTopics(since *Image) []string {
	var old *shards[string, *Topic]
	if since != nil {
		old = since.byName
	}
	return slices.Collect(m.byName.changed(old, func(a, b *Topic) bool { return a.ID == b.ID && a.Partitions == b.Partitions }))
}

// TopicCount is the number of topics.
func (m *Image) TopicCount() int { return m.byName.len() }

// PartitionCount is the number of partitions of all topics.
func (m *Image) PartitionCount() int { return m.partitions }

// ClusterID is the id given at the first start; "" before.
func (m *Image) ClusterID() string { return m.clusterID }

// NextProducerID is the first producer id that no block reserved so far holds.
func (m *Image) NextProducerID() int64 { return m.producerID }

// Collision returns the existing topic that name would be confused with, or "".
// Kafka's metrics write '.' as '_', so of two names that differ only in these
// the second is refused with INVALID_TOPIC_EXCEPTION.
func (m *Image) Collision(name string) string {
	if other := m.byFolded.get(fold(name)); other != name {
		return other
	}
	return ""
}

// ErrConflict: a record does not fit what the log said before it. Since only
// the broker writes the log, that is a damaged log or a defect.
var ErrConflict = errors.New("metadata record does not fit the log before it")

// Apply returns the image after one more record. The old image stays valid.
// An error wraps ErrConflict.
func (m *Image) Apply(r Record) (*Image, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	next := &Image{
		byName: m.byName, byID: m.byID, byFolded: m.byFolded, starts: m.starts, groups: m.groups,
		partitions: m.partitions, clusterID: m.clusterID, producerID: m.producerID,
	}
	var err error
	switch r := r.(type) {
	case TopicRecord:
		err = next.create(r)
	case TopicDeletedRecord:
		err = next.remove(r)
	case TopicConfigsRecord:
		err = next.configureTopic(r)
	case TopicPartitionsRecord:
		err = next.addPartitions(r)
	case GroupConfigsRecord:
		next.configureGroup(r)
	case ProducerIDsRecord:
		if r.Next < m.producerID {
			err = fmt.Errorf("%w: producer ids go back from %d to %d", ErrConflict, m.producerID, r.Next)
		}
		next.producerID = r.Next
	case ClusterRecord:
		if m.clusterID != "" && m.clusterID != r.ClusterID {
			err = fmt.Errorf("%w: cluster id changes from %q to %q", ErrConflict, m.clusterID, r.ClusterID)
		}
		next.clusterID = r.ClusterID
	case LogStartRecord:
		err = next.moveStarts(r)
	}
	if err != nil {
		return nil, err
	}
	if next.byName == m.byName {
		next.sorted = m.sorted
		return next, nil
	}
	return next.ready(), nil
}

// create and remove work on an image that nobody else has seen yet.
func (m *Image) create(r TopicRecord) error {
	if m.byName.get(r.Name) != nil {
		return fmt.Errorf("%w: topic %q exists", ErrConflict, r.Name)
	}
	if t := m.byID.get(r.ID); t != nil {
		return fmt.Errorf("%w: topic id %s of %q belongs to %q", ErrConflict, FormatID(r.ID), r.Name, t.Name)
	}
	t := &Topic{Name: r.Name, ID: r.ID, Partitions: r.Partitions, Configs: r.Configs, Internal: IsInternal(r.Name)}
	m.byName = m.byName.with(t.Name, t)
	m.byID = m.byID.with(t.ID, t)
	m.byFolded = m.byFolded.with(fold(t.Name), t.Name)
	m.partitions += int(t.Partitions)
	return nil
}

func (m *Image) remove(r TopicDeletedRecord) error {
	t := m.byID.get(r.ID)
	if t == nil || t.Name != r.Name {
		return fmt.Errorf("%w: deleted topic %q with id %s does not exist", ErrConflict, r.Name, FormatID(r.ID))
	}
	m.byName = m.byName.without(t.Name)
	m.byID = m.byID.without(t.ID)
	if m.starts.get(t.ID) != nil {
		m.starts = m.starts.without(t.ID)
	}
	if m.byFolded.get(fold(t.Name)) == t.Name {
		m.byFolded = m.byFolded.without(fold(t.Name))
	}
	m.partitions -= int(t.Partitions)
	return nil
}
