package meta

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are the broker's settings with their values. ParseSettings makes
// them; after that they are only read.
type Settings struct {
	NodeID              int32
	ClusterID           string // "": made at random at the first start
	AdvertisedListeners []Listener

	AutoCreateTopics         bool
	NumPartitions            int32
	DefaultReplicationFactor int16
	RefuseReplication        bool // weir.replication.factor.policy=refuse: a factor above 1 is an error
	DeleteTopics             bool
	MaxPartitions            int // of all topics
	MaxPartitionsPerTopic    int

	MaxRequestBytes     int           // socket.request.max.bytes
	MaxInflightBytes    int64         // queued.max.request.bytes: of requests not yet answered
	MaxIdle             time.Duration // connections.max.idle.ms
	MaxConnections      int
	MaxConnectionsPerIP int
	FetchSessions       int // max.incremental.fetch.session.cache.slots

	GroupMinSessionTimeout     time.Duration
	GroupMaxSessionTimeout     time.Duration
	GroupInitialRebalanceDelay time.Duration
	GroupMaxSize               int         // members of a group
	ConsumerGroup              GroupConfig // group.consumer.*: of groups that do not say otherwise
	ConsumerGroupMaxSize       int         // group.consumer.max.size
	ConsumerGroupAssignors     []string    // group.consumer.assignors: the first is the default
	ConsumerGroupMigration     string      // group.consumer.migration.policy, in lower case
	MaxGroups                  int
	OffsetsRetention           time.Duration
	OffsetMetadataMaxBytes     int
	OffsetsTopicPartitions     int32

	TxnMaxTimeout      time.Duration // transaction.max.timeout.ms
	TxnIDExpiration    time.Duration // transactional.id.expiration.ms
	TxnTopicPartitions int32         // transaction.state.log.num.partitions
	MaxTxnIDs          int           // weir.max.transactional.ids
	MaxTxnPartitions   int           // of one transaction

	ProducerIDExpiration time.Duration
	MaxProducers         int64
	RetentionInterval    time.Duration // log.retention.check.interval.ms
	CleanerInterval      time.Duration // log.cleaner.backoff.ms
	CleanerMapBytes      int64         // log.cleaner.dedupe.buffer.size
	CleanerRate          float64       // log.cleaner.io.max.bytes.per.second

	given map[string]string // what was set, by name
}

// Listener is an address that the broker tells its clients.
type Listener struct {
	Name string // "PLAINTEXT"
	Host string
	Port int32
}

// ParseSettings reads settings by Kafka's names; nil gives the defaults. The
// error wraps ErrInvalidConfig and names key, value and what is allowed; for an
// unknown name it lists the nearest ones.
func ParseSettings(values map[string]string) (Settings, error) {
	s := Settings{given: maps.Clone(values)}
	for i := range settings {
		settings[i].set(&s, settings[i].def)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		d := definition(settings, name)
		if d == nil {
			return Settings{}, errUnknown("broker setting", name, settingNames(settings))
		}
		if err := d.rule.check(name, values[name]); err != nil {
			return Settings{}, err
		}
		d.set(&s, values[name])
	}
	if err := s.check(); err != nil {
		return Settings{}, err
	}
	// Whoever asks for one of the two names of the node's id gets its value.
	for a, b := range map[string]string{"node.id": "broker.id", "broker.id": "node.id"} {
		if v, ok := values[a]; ok {
			s.given[b] = v
		}
	}
	return s, nil
}

// check holds the rules between settings.
func (s *Settings) check() error {
	if s.GroupMinSessionTimeout > s.GroupMaxSessionTimeout {
		return fmt.Errorf("%w: group.min.session.timeout.ms (%d) is larger than group.max.session.timeout.ms (%d)",
			ErrInvalidConfig, s.GroupMinSessionTimeout.Milliseconds(), s.GroupMaxSessionTimeout.Milliseconds())
	}
	node, a := s.given["node.id"]
	broker, b := s.given["broker.id"]
	if a && b && node != broker {
		return fmt.Errorf("%w: node.id (%s) and broker.id (%s) are one setting with two names", ErrInvalidConfig, node, broker)
	}
	if err := s.checkConsumerGroups(); err != nil {
		return err
	}
	if int(s.NumPartitions) > s.MaxPartitionsPerTopic {
		return fmt.Errorf("%w: num.partitions (%d) is larger than weir.max.partitions.per.topic (%d)",
			ErrInvalidConfig, s.NumPartitions, s.MaxPartitionsPerTopic)
	}
	if s.DefaultReplicationFactor > 1 && s.RefuseReplication {
		return fmt.Errorf("%w: default.replication.factor (%d) is above 1 and weir.replication.factor.policy is refuse",
			ErrInvalidConfig, s.DefaultReplicationFactor)
	}
	_, err := s.TopicConfig(nil)
	return err
}

// parseListeners reads advertised.listeners: NAME://host:port, separated by
// commas, each name once.
func parseListeners(value string) ([]Listener, error) {
	var out []Listener
	for _, part := range splitList(value) {
		name, address, ok := strings.Cut(part, "://")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not NAME://host:port", part)
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || host == "" {
			return nil, fmt.Errorf("%q has no host or no port from 1 to 65535", part)
		}
		name = strings.ToUpper(name)
		if slices.ContainsFunc(out, func(l Listener) bool { return l.Name == name }) {
			return nil, fmt.Errorf("listener %s is there twice", name)
		}
		out = append(out, Listener{Name: name, Host: host, Port: int32(n)})
	}
	return out, nil
}
