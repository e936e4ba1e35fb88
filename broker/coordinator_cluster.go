package broker

import (
	"iter"
	"time"

	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
)

// Consumer groups depend on what topics there are and on their own settings. When
// either changes, the metadata store calls clusterChanged, which leaves a token with
// each shard. The shard takes it before its next request, at the latest, and tells its
// core of the newest image. So a burst of changes is told once, no shard waits for the
// metadata store, and who was answered that a topic exists finds it in the group.

// cluster is an image as the cores of groups see it.
type cluster struct {
	image    *meta.Image
	settings *meta.Settings
}

// Topic implements group.Cluster.
func (c cluster) Topic(name string) (id [16]byte, partitions int32, ok bool) {
	t := c.image.Topic(name)
	if t == nil {
		return id, 0, false
	}
	return t.ID, t.Partitions, true
}

// TopicName implements group.Cluster.
func (c cluster) TopicName(id [16]byte) (string, bool) {
	t := c.image.TopicByID(id)
	if t == nil {
		return "", false
	}
	return t.Name, true
}

// TopicNames implements group.Cluster.
func (c cluster) TopicNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, t := range c.image.Topics() {
			if !yield(t.Name) {
				return
			}
		}
	}
}

// GroupConfig implements group.Cluster.
func (c cluster) GroupConfig(id string) group.GroupConfig {
	config := c.settings.ConsumerGroup
	if given := c.image.GroupConfigs(id); given != nil {
		config = c.settings.GroupConfigWithin(given)
	}
	return group.GroupConfig(config)
}

// consumerConfig is what the broker's settings say of consumer groups. The shortest
// time between assignments comes with each group's own settings.
func consumerConfig(s *meta.Settings) group.ConsumerConfig {
	migration := group.MigrationBidirectional
	switch s.ConsumerGroupMigration {
	case "upgrade":
		migration = group.MigrationUpgrade
	case "downgrade":
		migration = group.MigrationDowngrade
	case "disabled":
		migration = group.MigrationDisabled
	}
	return group.ConsumerConfig{
		SessionTimeout: s.ConsumerGroup.SessionTimeout, HeartbeatInterval: s.ConsumerGroup.HeartbeatInterval,
		MaxSize: s.ConsumerGroupMaxSize, Assignors: s.ConsumerGroupAssignors, Migration: migration,
	}
}

// clusterChanged has every shard look at topics and settings anew. It does not wait.
func (c *coordinator) clusterChanged() {
	for _, s := range c.all() {
		s.tell()
	}
}

// learn tells a core what topics and settings are now. What the core says from then
// on may be of them, so answers wait until they are durable.
func (s *shard) learn(core *group.Core, now time.Time) {
	image := s.coord.cfg.topics.image()
	lsn := s.coord.cfg.topics.lsn() // covers the image, which was committed before it could be seen
	core.SetCluster(now, cluster{image, s.coord.cfg.settings}, image.ChangedTopics(s.image))
	s.image = image
	s.lsn = max(s.lsn, lsn)
}

// hear implements keeper: the core learns.
func (s *shard) hear(now time.Time) { s.learn(s.core, now) }
