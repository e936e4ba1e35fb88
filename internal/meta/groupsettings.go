package meta

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GroupConfig holds those settings of a consumer group that weir acts on, with the
// broker's defaults behind what the group does not say.
type GroupConfig struct {
	SessionTimeout     time.Duration // consumer.session.timeout.ms
	HeartbeatInterval  time.Duration // consumer.heartbeat.interval.ms
	AssignmentInterval time.Duration // consumer.assignment.interval.ms
}

// groupSetting is a row of the table of group settings.
type groupSetting struct {
	name   string
	def    string // Kafka's default; unless a setting of the broker is behind it
	rule   rule
	doc    string
	broker string // the setting whose value is the default; need not be one of weir's
	// bounded names what the settings of the broker that bound the value begin and end
	// with: "group.consumer." min or max ".session.timeout.ms"
	bounded string
	field   func(*GroupConfig) *time.Duration // nil: weir does not act on it
}

const (
	noShare   = "weir has no share groups, so nothing acts on it."
	noStreams = "weir has no streams groups, so nothing acts on it."
)

// groupSettings are all group settings of Apache Kafka 4.3.1, sorted by name. All
// are accepted, kept and described; those of share and streams groups within the
// bounds that Kafka has by default.
var groupSettings = []groupSetting{
	{"consumer.assignment.interval.ms", "0", intFrom(0), "Shortest time between two assignments of the group, in ms. Kafka's own default is 1000.",
		"group.consumer.assignment.interval.ms", "assignment.interval.ms", func(c *GroupConfig) *time.Duration { return &c.AssignmentInterval }},
	{"consumer.heartbeat.interval.ms", "5000", intFrom(1), "Time between two heartbeats of a member, in ms; shorter ones are asked for while the group is changing, or small.",
		"group.consumer.heartbeat.interval.ms", "heartbeat.interval.ms", func(c *GroupConfig) *time.Duration { return &c.HeartbeatInterval }},
	{"consumer.session.timeout.ms", "45000", intFrom(1), "A member that is silent for so long is removed, in ms.",
		"group.consumer.session.timeout.ms", "session.timeout.ms", func(c *GroupConfig) *time.Duration { return &c.SessionTimeout }},
	{"share.assignment.interval.ms", "1000", whole(Int, 0, 15_000), "Share groups: shortest time between two assignments, in ms; " + noShare, "group.share.assignment.interval.ms", "", nil},
	{"share.auto.offset.reset", "latest", matching(String, "latest, earliest, or by_duration: and a duration of ISO 8601", goodReset),
		"Share groups: where a group without position begins; " + noShare, "share.auto.offset.reset", "", nil},
	{"share.delivery.count.limit", "5", whole(Int, 2, 10), "Share groups: most deliveries of a record; " + noShare, "group.share.delivery.count.limit", "", nil},
	{"share.heartbeat.interval.ms", "5000", whole(Int, 5000, 15_000), "Share groups: time between two heartbeats, in ms; " + noShare, "group.share.heartbeat.interval.ms", "", nil},
	{"share.isolation.level", "read_uncommitted", oneOf("read_committed", "read_uncommitted"),
		"Share groups: whether records of open transactions are delivered; " + noShare, "share.isolation.level", "", nil},
	{"share.partition.max.record.locks", "2000", whole(Int, 100, 4000), "Share groups: most records of a partition that are being worked on; " + noShare,
		"group.share.partition.max.record.locks", "", nil},
	{"share.record.lock.duration.ms", "30000", whole(Int, 15_000, 60_000), "Share groups: how long a record is a member's, in ms; " + noShare,
		"group.share.record.lock.duration.ms", "", nil},
	{"share.renew.acknowledge.enable", "true", boolean(), "Share groups: whether a member may ask for more time; " + noShare, "share.renew.acknowledge.enable", "", nil},
	{"share.session.timeout.ms", "45000", whole(Int, 45_000, 60_000), "Share groups: a member that is silent for so long is removed, in ms; " + noShare,
		"group.share.session.timeout.ms", "", nil},
	{"streams.assignment.interval.ms", "1000", whole(Int, 0, 15_000), "Streams groups: shortest time between two assignments, in ms; " + noStreams, "group.streams.assignment.interval.ms", "", nil},
	{"streams.heartbeat.interval.ms", "5000", whole(Int, 5000, 15_000), "Streams groups: time between two heartbeats, in ms; " + noStreams, "group.streams.heartbeat.interval.ms", "", nil},
	{"streams.initial.rebalance.delay.ms", "3000", intFrom(0), "Streams groups: wait for more members before the first assignment, in ms; " + noStreams,
		"group.streams.initial.rebalance.delay.ms", "", nil},
	{"streams.num.standby.replicas", "0", whole(Int, 0, 2), "Streams groups: copies of each task's state; " + noStreams, "group.streams.num.standby.replicas", "", nil},
	{"streams.session.timeout.ms", "45000", whole(Int, 45_000, 60_000), "Streams groups: a member that is silent for so long is removed, in ms; " + noStreams,
		"group.streams.session.timeout.ms", "", nil},
}

// goodReset is Kafka's rule for share.auto.offset.reset, less strict about durations.
func goodReset(v string) bool {
	duration, by := strings.CutPrefix(strings.ToLower(v), "by_duration:")
	return v == "latest" || v == "earliest" || by && len(duration) > 2 && len(duration) < 64 && duration[0] == 'p'
}

// GroupConfig returns the settings in force for a group with these configs. The
// error wraps ErrInvalidConfig and names key, value and what is allowed.
func (s *Settings) GroupConfig(configs map[string]string) (GroupConfig, error) {
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		d := definition(groupSettings, name)
		if d == nil {
			return GroupConfig{}, errUnknown("group setting", name, settingNames(groupSettings))
		}
		if err := d.rule.check(name, configs[name]); err != nil {
			return GroupConfig{}, err
		}
		if err := s.bound(d, configs[name]); err != nil {
			return GroupConfig{}, err
		}
	}
	c := s.groupConfig(configs)
	if c.SessionTimeout <= c.HeartbeatInterval {
		return GroupConfig{}, fmt.Errorf("%w: consumer.session.timeout.ms (%d) is not larger than consumer.heartbeat.interval.ms (%d)",
			ErrInvalidConfig, c.SessionTimeout.Milliseconds(), c.HeartbeatInterval.Milliseconds())
	}
	return c, nil
}

// GroupConfigWithin is GroupConfig for settings that were good when they were given:
// what the broker's bounds no longer allow becomes the nearest that they do (KIP-1240).
func (s *Settings) GroupConfigWithin(configs map[string]string) GroupConfig {
	c := s.groupConfig(configs)
	for i := range groupSettings {
		if d := &groupSettings[i]; d.field != nil {
			lo, hi := s.bounds(d)
			p := d.field(&c)
			*p = min(max(*p, lo), hi)
		}
	}
	return c
}

// groupConfig takes what is set and can be read, and the broker's defaults.
func (s *Settings) groupConfig(configs map[string]string) GroupConfig {
	c := s.ConsumerGroup
	for i := range groupSettings {
		d := &groupSettings[i]
		if d.field == nil {
			continue
		}
		if n, err := strconv.ParseInt(configs[d.name], 10, 32); err == nil { // otherwise not set; what is set was checked
			*d.field(&c) = time.Duration(n) * time.Millisecond
		}
	}
	return c
}

// value is what a setting of the broker has.
func (s *Settings) value(name string) string {
	if v, ok := s.given[name]; ok {
		return v
	}
	return definition(settings, name).def
}

// bounds are what the broker allows for a setting of groups.
func (s *Settings) bounds(d *groupSetting) (lo, hi time.Duration) {
	read := func(which string) time.Duration {
		n, _ := strconv.ParseInt(s.value("group.consumer."+which+"."+d.bounded), 10, 32)
		return time.Duration(n) * time.Millisecond
	}
	return read("min"), read("max")
}

// bound refuses what the broker's own settings do not allow for a group.
func (s *Settings) bound(d *groupSetting, value string) error {
	if d.bounded == "" {
		return nil
	}
	lo, hi := s.bounds(d)
	n, _ := strconv.ParseInt(value, 10, 32)
	if got := time.Duration(n) * time.Millisecond; got < lo || got > hi {
		return fmt.Errorf("%w: %s: value %s is not allowed, it must be from %d (group.consumer.min.%s) to %d (group.consumer.max.%s)",
			ErrInvalidConfig, d.name, value, lo.Milliseconds(), d.bounded, hi.Milliseconds(), d.bounded)
	}
	return nil
}

// checkConsumerGroups holds the rules between the broker's settings of consumer groups.
func (s *Settings) checkConsumerGroups() error {
	for i := range groupSettings {
		d := &groupSettings[i]
		if d.bounded == "" {
			continue
		}
		lo, hi := s.bounds(d)
		if lo > hi {
			return fmt.Errorf("%w: group.consumer.min.%s (%d) is larger than group.consumer.max.%s (%d)",
				ErrInvalidConfig, d.bounded, lo.Milliseconds(), d.bounded, hi.Milliseconds())
		}
		if err := s.bound(d, s.value(d.broker)); err != nil {
			return fmt.Errorf("%s: %w", d.broker, err)
		}
	}
	_, err := s.GroupConfig(nil)
	return err
}
