package storage

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// topic is what storage knows of a topic.
type topic struct {
	id      TopicID
	name    string
	dir     string
	reserve bool        // appended to also while the disk is almost full
	made    atomic.Bool // dir exists
	ruled   atomic.Pointer[topicRules]
	parts   atomic.Pointer[[]*Partition] // only ever longer; under Store.changing
}

// topicRules are what a topic's configuration says. They are replaced as a whole
// when it changes; who works by them meanwhile goes on by the old ones.
type topicRules struct {
	segmentBytes int64
	rolling      rolling
	deleteDelay  time.Duration
	clean        Clean
}

func (t *topic) rules() *topicRules { return t.ruled.Load() }

// partitions are those that there are now, by number.
func (t *topic) partitions() []*Partition { return *t.parts.Load() }

func (s *Store) newTopic(spec TopicSpec) *topic {
	t := &topic{id: spec.ID, name: spec.Name, dir: topicDir(s.cfg.Dir, spec.ID)}
	t.reserve = spec.Reserve || spec.ID == MetadataTopic
	t.ruled.Store(s.rulesOf(&spec))
	t.parts.Store(new([]*Partition))
	s.grow(t, spec.Partitions)
	return t
}

func (s *Store) rulesOf(spec *TopicSpec) *topicRules {
	r := &topicRules{
		segmentBytes: spec.SegmentBytes, deleteDelay: spec.DeleteDelay, clean: spec.Clean,
		rolling: rolling{millis: spec.SegmentMillis, jitterMillis: spec.SegmentJitterMillis},
	}
	if r.segmentBytes <= 0 {
		r.segmentBytes = s.cfg.SegmentBytes
	}
	if r.segmentBytes/s.cfg.IndexBytes*entryLen >= spec.SegmentIndexBytes {
		r.rolling.indexBytes = spec.SegmentIndexBytes // otherwise the size is reached first
	}
	r.segmentBytes = min(r.segmentBytes, 1<<31-1) // positions in the index have 32 bits
	return r
}

// grow gives a topic partitions up to a number.
func (s *Store) grow(t *topic, partitions int32) {
	old := t.partitions()
	if int(partitions) <= len(old) {
		return
	}
	fresh := make([]Partition, int(partitions)-len(old))
	all := slices.Grow(slices.Clone(old), len(fresh))
	for i := range fresh {
		p := &fresh[i]
		p.store, p.topic, p.number = s, t, int32(len(old)+i)
		all = append(all, p)
	}
	t.parts.Store(&all)
}

// ChangeTopic makes what a topic's configuration says count from now on, and adds
// the partitions that the topic has not yet; none ever goes. Starts does not count.
// What a cleaning under way has begun it ends by the old rules.
func (s *Store) ChangeTopic(spec TopicSpec) error {
	if err := s.usable(); err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	t := (*s.topics.Load())[spec.ID]
	if t == nil {
		return fmt.Errorf("change topic %s: %w", spec.Name, ErrDeleted)
	}
	t.ruled.Store(s.rulesOf(&spec))
	s.grow(t, spec.Partitions)
	return nil
}
