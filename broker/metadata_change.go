package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// A changed topic is described anew: the image has another *meta.Topic of the same
// id, and live another topic for it. What producers and fetchers are held to counts
// from then on; what storage does to segments follows when the record of the change
// is durable, since retention and compaction cannot be taken back.

// configureTopic replaces the settings of a topic by what change makes of them; nil
// is none. The error is change's own, or errNoTopic, in this order, as in Kafka.
func (m *metadata) configureTopic(ctx context.Context, name string, validateOnly bool,
	change func(t *meta.Topic) (map[string]string, error)) (*meta.Topic, storage.LSN, error) {
	if err := m.begin(ctx); err != nil {
		return nil, 0, err
	}
	defer m.finish()
	t := m.image().Topic(name)
	asked := t
	if asked == nil {
		asked = &meta.Topic{Name: name}
	}
	configs, err := change(asked)
	if err == nil && t == nil {
		err = errNoTopic
	}
	if err != nil || validateOnly || maps.Equal(configs, t.Configs) {
		return t, m.lsn(), err
	}
	return m.commitTopic(ctx, t, meta.TopicConfigsRecord{Name: t.Name, ID: t.ID, Configs: configs})
}

// addPartitions gives a topic more partitions.
func (m *metadata) addPartitions(ctx context.Context, name string, partitions int32, validateOnly bool) (storage.LSN, error) {
	if err := m.begin(ctx); err != nil {
		return 0, err
	}
	defer m.finish()
	t := m.image().Topic(name)
	if t == nil {
		return m.lsn(), errNoTopic
	}
	if err := m.mayGrow(t, partitions); err != nil || validateOnly {
		return m.lsn(), err
	}
	next := *t
	next.Partitions = partitions
	spec, err := m.spec(&next)
	if err != nil {
		return 0, err
	}
	// Storage first: partitions without files are nothing if the commit fails.
	if err := m.store.ChangeTopic(spec); err != nil {
		return 0, fmt.Errorf("add partitions to topic %q: %w", name, err)
	}
	_, lsn, err := m.commitTopic(ctx, t, meta.TopicPartitionsRecord{Name: t.Name, ID: t.ID, Partitions: partitions})
	return lsn, err
}

// commitTopic commits the record of a change of t and makes the topic as it is then
// the one that is served. The token must be held.
func (m *metadata) commitTopic(ctx context.Context, t *meta.Topic, r meta.Record) (*meta.Topic, storage.LSN, error) {
	img, lsn, err := m.change(ctx, nil, r)
	if err != nil {
		return nil, 0, err
	}
	next := img.TopicByID(t.ID)
	if err := m.enliven(next); err != nil {
		return nil, 0, err
	}
	m.publish(img)
	m.live.Delete(t) // who still has the old description finds the new one by its id
	return next, lsn, nil
}

// errTooManyConfigured: a limit of the broker refuses settings of one more group.
var errTooManyConfigured = errors.New("too many groups with settings of their own")

// configureGroup replaces the settings of a consumer group by what change makes of
// them. The group need not exist.
func (m *metadata) configureGroup(ctx context.Context, id string, validateOnly bool,
	change func(now map[string]string) (map[string]string, error)) (storage.LSN, error) {
	if err := m.begin(ctx); err != nil {
		return 0, err
	}
	defer m.finish()
	now := m.image().GroupConfigs(id)
	configs, err := change(now)
	if err == nil && now == nil && len(configs) > 0 && m.image().ConfiguredGroupCount() >= m.settings.MaxGroups {
		err = fmt.Errorf("%w: %d have, weir.max.groups is %d", errTooManyConfigured, m.image().ConfiguredGroupCount(), m.settings.MaxGroups)
	}
	if err != nil || validateOnly || maps.Equal(configs, now) {
		return m.lsn(), err
	}
	img, lsn, err := m.change(ctx, nil, meta.GroupConfigsRecord{Name: id, Configs: configs})
	if err != nil {
		return 0, err
	}
	m.publish(img)
	return lsn, nil
}

// obey has storage work by the settings of topics, once what was said of them until
// now is durable.
func (m *metadata) obey(ctx context.Context, topics []*meta.Topic, lsn storage.LSN) error {
	if len(topics) == 0 {
		return nil
	}
	if err := m.store.Wait(ctx, lsn, storage.Durable); err != nil {
		return err
	}
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.finish()
	for _, changed := range topics {
		t := m.image().TopicByID(changed.ID)
		if t == nil {
			continue // deleted meanwhile
		}
		spec, err := m.spec(t)
		if err != nil {
			return err
		}
		if err := m.store.ChangeTopic(spec); err != nil && !errors.Is(err, storage.ErrDeleted) {
			return fmt.Errorf("change topic %q: %w", t.Name, err)
		}
	}
	return nil
}

// publish makes an image the newest and tells the coordinator.
func (m *metadata) publish(img *meta.Image) {
	m.current.Store(img)
	if m.changed != nil {
		m.changed()
	}
}
