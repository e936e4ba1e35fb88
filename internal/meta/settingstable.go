package meta

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is a row of the table of broker settings.
type setting struct {
	name   string
	def    string
	rule   rule
	doc    string
	target func(*Settings) any // pointer to the field; nil: what another setting is looked up by, kept in given
	unit   time.Duration       // of a duration's number
}

const maxMillis = math.MaxInt64 / int64(time.Millisecond)

// millis allows durations in ms that a time.Duration can hold.
func millis(kind Kind, lo int64) rule {
	if kind == Int {
		return whole(Int, lo, math.MaxInt32)
	}
	return whole(kind, lo, maxMillis)
}

// brokerSettings are the settings of the broker other than the defaults of
// topic settings, each with the field that holds its value.
var brokerSettings = []setting{
	{"advertised.listeners", "", matching(List, "a list of NAME://host:port", func(v string) bool { _, err := parseListeners(v); return err == nil }),
		"Addresses told to clients, for listeners behind a proxy or in a container; empty: the address a client connected to.",
		func(s *Settings) any { return &s.AdvertisedListeners }, 0},
	{"auto.create.topics.enable", "true", boolean(), "Whether a topic is created when a client asks for its metadata.",
		func(s *Settings) any { return &s.AutoCreateTopics }, 0},
	{"broker.id", "1", intFrom(0), "The same as node.id, by its older name.", func(s *Settings) any { return &s.NodeID }, 0},
	{"connections.max.idle.ms", "600000", millis(Long, 1), "A connection without a request for so long is closed, in ms.",
		func(s *Settings) any { return &s.MaxIdle }, time.Millisecond},
	{"default.replication.factor", "1", whole(Short, 1, math.MaxInt16), "Replicas of topics created without saying how many; see weir.replication.factor.policy.",
		func(s *Settings) any { return &s.DefaultReplicationFactor }, 0},
	{"delete.topic.enable", "true", boolean(), "Whether topics may be deleted.", func(s *Settings) any { return &s.DeleteTopics }, 0},
	{"group.consumer.assignment.interval.ms", "0", millis(Int, 0), "Shortest time between two assignments of a consumer group, in ms; default of the group setting consumer.assignment.interval.ms. Kafka's own default is 1000.",
		func(s *Settings) any { return &s.ConsumerGroup.AssignmentInterval }, time.Millisecond},
	{"group.consumer.assignors", "uniform,range", listOf("uniform", "range"), "Assignors of consumer groups; the first is that of groups which name none.",
		func(s *Settings) any { return &s.ConsumerGroupAssignors }, 0},
	{"group.consumer.heartbeat.interval.ms", "5000", millis(Int, 1), "Time between two heartbeats of a member of a consumer group, in ms; default of the group setting consumer.heartbeat.interval.ms.",
		func(s *Settings) any { return &s.ConsumerGroup.HeartbeatInterval }, time.Millisecond},
	{"group.consumer.max.assignment.interval.ms", "15000", millis(Int, 0), "Largest consumer.assignment.interval.ms of a group.", nil, 0},
	{"group.consumer.max.heartbeat.interval.ms", "15000", millis(Int, 1), "Largest consumer.heartbeat.interval.ms of a group.", nil, 0},
	{"group.consumer.max.session.timeout.ms", "60000", millis(Int, 1), "Largest consumer.session.timeout.ms of a group.", nil, 0},
	{"group.consumer.max.size", "1000", intFrom(1), "Most members of one consumer group. Kafka's own default is no limit.", func(s *Settings) any { return &s.ConsumerGroupMaxSize }, 0},
	{"group.consumer.migration.policy", "bidirectional", matching(String, "one of disabled, upgrade, downgrade, bidirectional", goodPolicy),
		"Which groups may change between the classic and the consumer protocol while they have members.", func(s *Settings) any { return (*lower)(&s.ConsumerGroupMigration) }, 0},
	{"group.consumer.min.assignment.interval.ms", "0", millis(Int, 0), "Smallest consumer.assignment.interval.ms of a group.", nil, 0},
	{"group.consumer.min.heartbeat.interval.ms", "5000", millis(Int, 1), "Smallest consumer.heartbeat.interval.ms of a group.", nil, 0},
	{"group.consumer.min.session.timeout.ms", "45000", millis(Int, 1), "Smallest consumer.session.timeout.ms of a group.", nil, 0},
	{"group.consumer.session.timeout.ms", "45000", millis(Int, 1), "A member of a consumer group that is silent for so long is removed, in ms; default of the group setting consumer.session.timeout.ms.",
		func(s *Settings) any { return &s.ConsumerGroup.SessionTimeout }, time.Millisecond},
	{"group.initial.rebalance.delay.ms", "0", millis(Int, 0), "Wait for more members before an empty group's first rebalance, in ms. Kafka's own default is 3000.",
		func(s *Settings) any { return &s.GroupInitialRebalanceDelay }, time.Millisecond},
	{"group.max.session.timeout.ms", "1800000", millis(Int, 1), "Longest session timeout a member may ask for, in ms.",
		func(s *Settings) any { return &s.GroupMaxSessionTimeout }, time.Millisecond},
	{"group.max.size", "1000", intFrom(1), "Most members of one group. Kafka's own default is no limit.", func(s *Settings) any { return &s.GroupMaxSize }, 0},
	{"group.min.session.timeout.ms", "6000", millis(Int, 1), "Shortest session timeout a member may ask for, in ms.",
		func(s *Settings) any { return &s.GroupMinSessionTimeout }, time.Millisecond},
	{"log.cleaner.backoff.ms", "15000", millis(Long, 1), "Time between two looks for logs to compact, in ms.",
		func(s *Settings) any { return &s.CleanerInterval }, time.Millisecond},
	{"log.cleaner.dedupe.buffer.size", "33554432", longFrom(1 << 20), "Most memory for the keys of a log that is being compacted, in bytes: 24 for each key. If they do not fit, the log is compacted in steps. Kafka's own default is 134217728.",
		func(s *Settings) any { return &s.CleanerMapBytes }, 0},
	{"log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308", decimal(1, math.MaxFloat64), "Most bytes that compaction reads and writes in a second.",
		func(s *Settings) any { return &s.CleanerRate }, 0},
	{"log.retention.check.interval.ms", "300000", millis(Long, 1), "Time between two looks for segments that are too old or too many, in ms.",
		func(s *Settings) any { return &s.RetentionInterval }, time.Millisecond},
	{"max.connections", "10000", intFrom(1), "Most connections at one time. Kafka's own default is no limit.", func(s *Settings) any { return &s.MaxConnections }, 0},
	{"max.connections.per.ip", "2000", intFrom(1), "Most connections from one address at one time; the local machine is exempt. Kafka's own default is no limit.",
		func(s *Settings) any { return &s.MaxConnectionsPerIP }, 0},
	{"max.incremental.fetch.session.cache.slots", "1000", intFrom(0), "Most incremental fetch sessions that are remembered.",
		func(s *Settings) any { return &s.FetchSessions }, 0},
	{"node.id", "1", intFrom(0), "The broker's id in answers to clients.", func(s *Settings) any { return &s.NodeID }, 0},
	{"num.partitions", "1", intFrom(1), "Partitions of topics created without saying how many.", func(s *Settings) any { return &s.NumPartitions }, 0},
	{"offset.metadata.max.bytes", "4096", intFrom(0), "Longest text that may be committed beside an offset, in bytes.",
		func(s *Settings) any { return &s.OffsetMetadataMaxBytes }, 0},
	{"offsets.retention.minutes", "10080", intFrom(1), "How long the offsets of a group without members are kept, in minutes.",
		func(s *Settings) any { return &s.OffsetsRetention }, time.Minute},
	{"offsets.topic.num.partitions", "50", whole(Int, 1, 1000), "Partitions of __consumer_offsets; counts when it is created.",
		func(s *Settings) any { return &s.OffsetsTopicPartitions }, 0},
	{"producer.id.expiration.ms", "86400000", millis(Int, 1), "How long a producer that writes nothing is remembered, in ms.",
		func(s *Settings) any { return &s.ProducerIDExpiration }, time.Millisecond},
	{"queued.max.request.bytes", "268435456", longFrom(1 << 20), "Most bytes of requests being read or served at one time. Kafka's own default is no limit.",
		func(s *Settings) any { return &s.MaxInflightBytes }, 0},
	{"socket.request.max.bytes", "104857600", whole(Int, 1024, 1<<30), "Largest request, in bytes.", func(s *Settings) any { return &s.MaxRequestBytes }, 0},
	{"transaction.max.timeout.ms", "900000", millis(Int, 1), "Longest timeout of a transaction that a producer may ask for, in ms.",
		func(s *Settings) any { return &s.TxnMaxTimeout }, time.Millisecond},
	{"transaction.state.log.num.partitions", "50", whole(Int, 1, 1000), "Partitions of __transaction_state; counts when it is created.",
		func(s *Settings) any { return &s.TxnTopicPartitions }, 0},
	{"transactional.id.expiration.ms", "604800000", millis(Int, 1), "How long a transactional id without an open transaction is remembered, in ms.",
		func(s *Settings) any { return &s.TxnIDExpiration }, time.Millisecond},
	{"weir.cluster.id", "", matching(String, "at most 64 letters, digits, '_' or '-'", goodClusterID), "The cluster's id, counts at the first start; empty: one is made.",
		func(s *Settings) any { return &s.ClusterID }, 0},
	{"weir.max.groups", "10000", intFrom(1), "Most consumer groups.", func(s *Settings) any { return &s.MaxGroups }, 0},
	{"weir.max.partitions", "100000", intFrom(1), "Most partitions of all topics together.", func(s *Settings) any { return &s.MaxPartitions }, 0},
	{"weir.max.partitions.per.topic", "10000", intFrom(1), "Most partitions of one topic.", func(s *Settings) any { return &s.MaxPartitionsPerTopic }, 0},
	{"weir.max.producers", "100000", longFrom(1), "Most idempotent producers that are remembered, each counted in every partition that it writes to. Those idle longest are forgotten first. Kafka: no limit.",
		func(s *Settings) any { return &s.MaxProducers }, 0},
	{"weir.max.transaction.partitions", "10000", intFrom(1), "Most partitions in one transaction. Kafka: no limit.",
		func(s *Settings) any { return &s.MaxTxnPartitions }, 0},
	{"weir.max.transactional.ids", "10000", intFrom(1), "Most transactional ids that are remembered. Those idle longest are forgotten first, and their producers fenced. Kafka: no limit.",
		func(s *Settings) any { return &s.MaxTxnIDs }, 0},
	{"weir.replication.factor.policy", "clamp", oneOf("clamp", "refuse"),
		"What becomes of a replication factor above 1, which one broker cannot give: clamp makes it 1, refuse answers INVALID_REPLICATION_FACTOR.",
		func(s *Settings) any { return (*refuse)(&s.RefuseReplication) }, 0},
}

// refuse is a bool that is set by the word "refuse".
type refuse bool

// lower is a string that does not mind upper and lower case.
type lower string

func goodPolicy(v string) bool {
	return slices.Contains([]string{"disabled", "upgrade", "downgrade", "bidirectional"}, strings.ToLower(v))
}

func goodClusterID(v string) bool {
	for i := range len(v) {
		if !topicByte(v[i]) || v[i] == '.' {
			return false
		}
	}
	return len(v) <= 64
}

// settings are all settings of the broker, sorted by name.
var settings = allSettings()

// allSettings adds to brokerSettings a row for each broker setting that is the
// default of a topic setting.
func allSettings() []setting {
	all := slices.Clone(brokerSettings)
	for _, t := range topicSettings {
		for _, b := range t.brokers {
			s := setting{name: b.name, rule: t.rule, doc: "Default of the topic setting " + t.name + ". " + t.doc}
			switch {
			case b.factor > 1:
				s.doc = fmt.Sprintf("Default of the topic setting %s, in units of %d ms.", t.name, b.factor)
				s.rule = scaledRule(t.name)
			case len(t.brokers) == 1:
				s.def = t.def
			}
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b setting) int { return strings.Compare(a.name, b.name) })
	return all
}

// scaledRule is the rule of a setting in minutes or hours.
func scaledRule(topic string) rule {
	switch topic {
	case "retention.ms":
		return intFrom(-1)
	case "segment.ms":
		return intFrom(1)
	}
	return intFrom(0)
}

// set stores a value that was checked.
func (d *setting) set(s *Settings, value string) {
	if d.target == nil {
		return
	}
	n, _ := strconv.ParseInt(value, 10, 64)
	switch p := d.target(s).(type) {
	case *bool:
		*p = strings.EqualFold(value, "true")
	case *refuse:
		*p = value == "refuse"
	case *string:
		*p = value
	case *lower:
		*p = lower(strings.ToLower(value))
	case *[]string:
		*p = splitList(value)
	case *int:
		*p = int(n)
	case *int16:
		*p = int16(n)
	case *int32:
		*p = int32(n)
	case *int64:
		*p = n
	case *float64:
		*p, _ = strconv.ParseFloat(value, 64)
	case *time.Duration:
		*p = time.Duration(n) * d.unit
	case *[]Listener:
		*p, _ = parseListeners(value)
	default:
		panic(fmt.Sprintf("setting %s has a field of type %T", d.name, p))
	}
}
