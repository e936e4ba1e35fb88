package meta

import (
	"errors"
	"fmt"
	"slices"
)

// TopicConfigsRecord: the settings given for a topic are now these and no others.
// The name is there for readers of the log; the id says which topic.
type TopicConfigsRecord struct {
	Name    string
	ID      [16]byte
	Configs map[string]string // may be nil
}

// TopicPartitionsRecord: a topic has more partitions from now on.
type TopicPartitionsRecord struct {
	Name       string
	ID         [16]byte
	Partitions int32
}

// GroupConfigsRecord: the settings given for a consumer group are now these and no
// others; the group need not exist.
type GroupConfigsRecord struct {
	Name    string
	Configs map[string]string // may be nil
}

func (TopicConfigsRecord) recordType() string    { return "topic-configs" }
func (TopicPartitionsRecord) recordType() string { return "topic-partitions" }
func (GroupConfigsRecord) recordType() string    { return "group-configs" }

func (r TopicConfigsRecord) check() error {
	return TopicDeletedRecord{Name: r.Name, ID: r.ID}.check()
}

func (r TopicPartitionsRecord) check() error {
	return TopicRecord{Name: r.Name, ID: r.ID, Partitions: r.Partitions}.check()
}

func (r GroupConfigsRecord) check() error {
	if r.Name == "" {
		return errors.New("settings of a group without id")
	}
	return nil
}

// The functions below work on an image that nobody else has seen yet.

// existing finds the topic that a record tells of.
func (m *Image) existing(name string, id [16]byte) (*Topic, error) {
	t := m.byID.get(id)
	if t == nil || t.Name != name {
		return nil, fmt.Errorf("%w: changed topic %q with id %s does not exist", ErrConflict, name, FormatID(id))
	}
	return t, nil
}

// replace puts another description of a topic in the place of the one before.
func (m *Image) replace(t Topic) {
	m.partitions += int(t.Partitions) - int(m.byID.get(t.ID).Partitions)
	m.byName = m.byName.with(t.Name, &t)
	m.byID = m.byID.with(t.ID, &t)
}

func (m *Image) configureTopic(r TopicConfigsRecord) error {
	t, err := m.existing(r.Name, r.ID)
	if err != nil {
		return err
	}
	next := *t
	next.Configs = r.Configs
	m.replace(next)
	return nil
}

func (m *Image) addPartitions(r TopicPartitionsRecord) error {
	t, err := m.existing(r.Name, r.ID)
	if err != nil {
		return err
	}
	if r.Partitions <= t.Partitions {
		return fmt.Errorf("%w: topic %q has %d partitions and cannot have %d", ErrConflict, t.Name, t.Partitions, r.Partitions)
	}
	next := *t
	next.Partitions = r.Partitions
	m.replace(next)
	return nil
}

func (m *Image) configureGroup(r GroupConfigsRecord) {
	if len(r.Configs) == 0 {
		m.groups = m.groups.without(r.Name)
		return
	}
	m.groups = m.groups.with(r.Name, r.Configs)
}

// GroupConfigs are the settings given for a group by Kafka's names, or nil. Nobody
// may write to them.
func (m *Image) GroupConfigs(group string) map[string]string { return m.groups.get(group) }

// ConfiguredGroups are the ids of the groups with settings of their own, sorted. The
// slice is the caller's.
func (m *Image) ConfiguredGroups() []string {
	ids := make([]string, 0, m.groups.len())
	for id := range m.groups.all() {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// ConfiguredGroupCount is how many groups have settings of their own.
func (m *Image) ConfiguredGroupCount() int { return m.groups.len() }
