package group

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/assignor"
)

// bump begins a new epoch of a group: what its members shall have may have changed.
// The next target assignment follows at once, or as soon as it may.
func (c *Core) bump(now time.Time, g *group, why string) {
	cg := g.consumer
	cg.epoch++
	cg.moved()
	cg.hash = cg.hashTopics(c.cluster)
	g.persisted = true
	c.record(consumerKey(keyConsumerGroup, g.id), groupEpochValue(cg))
	if len(cg.members) == 0 {
		return
	}
	c.note(g, c.consumerEvent(now, g, EventRebalanceBegan, why))
	if at := cg.assignedAt.Add(c.groupConfig(g.id).AssignmentInterval); cg.assignedAt.IsZero() || !at.After(now) {
		c.assignConsumers(now, g)
	} else if !cg.assignTimer.armed() {
		c.timers.set(&cg.assignTimer, at)
	}
}

// groupConfig is what is set for a group, where nothing is, for all.
func (c *Core) groupConfig(id string) GroupConfig {
	gc := c.cluster.GroupConfig(id)
	if gc.SessionTimeout == 0 {
		gc.SessionTimeout = c.cfg.Consumer.SessionTimeout
	}
	if gc.HeartbeatInterval == 0 {
		gc.HeartbeatInterval = c.cfg.Consumer.HeartbeatInterval
	}
	if gc.AssignmentInterval == 0 {
		gc.AssignmentInterval = c.cfg.Consumer.AssignmentInterval
	}
	return gc
}

// assignConsumers makes the target assignment of the group's epoch. Members get to
// it one by one, when they are heard of.
func (c *Core) assignConsumers(now time.Time, g *group) {
	cg := g.consumer
	if cg == nil || cg.assignmentEpoch == cg.epoch || len(cg.members) == 0 {
		return
	}
	c.timers.stop(&cg.assignTimer)
	name := cg.preferredAssignor(c.cfg.Consumer.Assignors)
	assign, ok := assignor.Find(name)
	if !ok {
		assign, _ = assignor.Find(assignor.Names()[0])
	}
	target := assign(c.assignorSpec(cg))
	moved := cg.lost
	cg.lost = 0
	for _, m := range cg.sortedMembers() {
		next := targets(target[m.id])
		moved += missing(m.target, next)
		if m.target == nil || !maps.EqualFunc(m.target, next, slices.Equal[[]int32]) {
			m.target = next
			c.weighConsumer(g, m)
			c.record(memberKey(keyConsumerTarget, g.id, m.id), targetValue(next))
		}
	}
	cg.assignmentEpoch, cg.assignedAt = cg.epoch, now.Truncate(time.Millisecond)
	cg.moved()
	c.record(consumerKey(keyConsumerTargetEpoch, g.id), targetEpochValue(cg))
	e := c.consumerEvent(now, g, EventAssignmentComputed, "by "+name)
	e.Moved = moved
	c.note(g, e)
	c.restate(now, g)
}

// preferredAssignor is the one that most members name; of several, and if none is
// named, the first of the list.
func (cg *consumerGroup) preferredAssignor(list []string) string {
	votes := map[string]int{}
	for _, m := range cg.members {
		if m.assignor != "" {
			votes[m.assignor]++
		}
	}
	best := list[0]
	for _, name := range list {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// assignorSpec is the group as an assignor sees it.
func (c *Core) assignorSpec(cg *consumerGroup) assignor.Spec {
	spec := assignor.Spec{Members: make(map[string]assignor.Member, len(cg.members)), Partitions: map[assignor.TopicID]int32{}}
	// Members mostly subscribe to the same, which is then one map for all of them.
	same := map[string]map[assignor.TopicID]struct{}{}
	for id, m := range cg.members {
		key := strings.Join(m.topics, "\x00") + "\x00\x00" + m.regex
		ids := same[key]
		if ids == nil {
			ids = map[assignor.TopicID]struct{}{}
			for name := range cg.subscribesTo(m) {
				if topic, partitions, ok := c.cluster.Topic(name); ok {
					ids[topic] = struct{}{}
					spec.Partitions[topic] = partitions
				}
			}
			same[key] = ids
		}
		spec.Members[id] = assignor.Member{Topics: ids, Owned: m.target, Instance: text(m.instance), Rack: text(m.rack)}
	}
	return spec
}

// missing counts the partitions of was that is has not.
func missing(was, is targets) int {
	n := 0
	for topic, partitions := range was {
		for _, p := range partitions {
			if _, ok := slices.BinarySearch(is[topic], p); !ok {
				n++
			}
		}
	}
	return n
}

func (t targets) count() int {
	n := 0
	for _, partitions := range t {
		n += len(partitions)
	}
	return n
}

// SetCluster tells what topics and configurations of groups are now, and which topics
// have come, gone or changed since the last time. Only groups that subscribe to one of
// these do work.
func (c *Core) SetCluster(now time.Time, cl Cluster, changed []string) {
	c.cluster = cl
	if len(changed) == 0 {
		return
	}
	var concerned []*group
	for _, g := range c.groups {
		if g.consumer != nil && !g.consumer.replayed && g.consumer.concernedBy(cl, changed) {
			concerned = append(concerned, g)
		}
	}
	slices.SortFunc(concerned, func(a, b *group) int { return strings.Compare(a.id, b.id) })
	for _, g := range concerned {
		c.refresh(now, g, func(r *regex) bool { return r.follow(cl, changed) })
	}
}

// concernedBy tells whether topics may change what members shall have: those to which
// they subscribe, and those that exist and match an expression.
func (cg *consumerGroup) concernedBy(cl Cluster, changed []string) bool {
	if len(cg.members) == 0 {
		return false
	}
	topics := cg.subscriptions()
	return slices.ContainsFunc(changed, func(name string) bool {
		if topics[name] || len(cg.regexes) == 0 {
			return topics[name]
		}
		_, _, exists := cl.Topic(name)
		return exists && cg.matches(name)
	})
}

// matches tells whether a topic is one of an expression.
func (cg *consumerGroup) matches(name string) bool {
	for _, r := range cg.regexes {
		if r.pattern.MatchString(name) {
			return true
		}
	}
	return false
}

// refresh compares what a group subscribes to with the topics there are. follow brings
// an expression up to date, and tells whether it stands for other topics then.
func (c *Core) refresh(now time.Time, g *group, follow func(*regex) bool) {
	cg := g.consumer
	if len(cg.members) == 0 {
		return
	}
	for _, s := range slices.Sorted(maps.Keys(cg.regexes)) {
		if r := cg.regexes[s]; follow(r) {
			r.since = now.UnixMilli()
			cg.resubscribed()
			c.weighRegex(g, r)
			c.record(memberKey(keyConsumerRegex, g.id, s), regexValue(r))
		}
	}
	if cg.hashTopics(c.cluster) == cg.hash {
		return
	}
	const why = "topics to which members subscribe, or their partitions, have changed"
	c.note(g, c.consumerEvent(now, g, EventMetadataChanged, why))
	c.bump(now, g, why)
	c.restate(now, g)
}
