package meta

import (
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parse reads settings that must be good.
func parse(t *testing.T, values map[string]string) Settings {
	t.Helper()
	s, err := ParseSettings(values)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kafkaRow is one line of testdata/kafka-4.3.1-*-settings.tsv.
type kafkaRow struct{ name, def, kind, synonym string }

func kafkaRows(t *testing.T, of string) []kafkaRow {
	t.Helper()
	b, err := os.ReadFile("testdata/kafka-4.3.1-" + of + "-settings.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var rows []kafkaRow
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(f) == 4 {
			rows = append(rows, kafkaRow{f[0], f[1], f[2], f[3]})
		}
	}
	return rows
}

// TestTopicSettingsAreKafkas: names, defaults, types and synonyms of topic
// settings are those that Apache Kafka 4.3.1 describes.
func TestTopicSettingsAreKafkas(t *testing.T) {
	s := parse(t, nil)
	var got []kafkaRow
	for _, e := range s.DescribeTopic(nil) {
		row := kafkaRow{name: e.Name, def: e.Value, kind: strings.ToUpper(e.Kind.String())}
		for _, syn := range e.Synonyms {
			row.synonym = syn.Name + "=" + syn.Value
		}
		got = append(got, row)
		if e.Source != Default || e.Doc == "" || e.Allowed == "" || e.ReadOnly {
			t.Errorf("%s: %+v", e.Name, e)
		}
	}
	if diff := cmp.Diff(kafkaRows(t, "topic"), got, cmp.AllowUnexported(kafkaRow{})); diff != "" {
		t.Fatalf("settings differ (-Kafka +weir):\n%s", diff)
	}
}

// TestTables: both tables are sorted, names are unique, and every default is a
// value that its own rule allows.
func TestTables(t *testing.T) {
	if got := settingNames(topicSettings); !slices.IsSorted(got) || len(slices.Compact(got)) != len(topicSettings) {
		t.Error("topic settings are not sorted or not unique")
	}
	if got := settingNames(settings); !slices.IsSorted(got) || len(slices.Compact(got)) != len(settings) {
		t.Error("broker settings are not sorted or not unique")
	}
	for _, d := range topicSettings {
		if err := d.rule.check(d.name, d.def); err != nil {
			t.Error(err)
		}
	}
	for _, d := range settings {
		if d.doc == "" || len(d.name) > maxSettingName {
			t.Errorf("%s: documentation is %q", d.name, d.doc)
		}
		if d.def == "" && d.target == nil {
			continue // one of several broker settings behind one of a topic
		}
		if err := d.rule.check(d.name, d.def); err != nil {
			t.Error(err)
		}
	}
}

func TestSettingsDefaults(t *testing.T) {
	want := Settings{
		NodeID: 1, AutoCreateTopics: true, NumPartitions: 1, DefaultReplicationFactor: 1, DeleteTopics: true,
		MaxPartitions: 100_000, MaxPartitionsPerTopic: 10_000,
		MaxRequestBytes: 104857600, MaxInflightBytes: 256 << 20, MaxIdle: 10 * time.Minute, MaxConnections: 10_000, MaxConnectionsPerIP: 2000, FetchSessions: 1000,
		GroupMinSessionTimeout: 6 * time.Second, GroupMaxSessionTimeout: 30 * time.Minute, GroupMaxSize: 1000, MaxGroups: 10_000,
		ConsumerGroup: GroupConfig{SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second}, ConsumerGroupMaxSize: 1000,
		ConsumerGroupAssignors: []string{"uniform", "range"}, ConsumerGroupMigration: "bidirectional",
		OffsetsRetention: 7 * 24 * time.Hour, OffsetMetadataMaxBytes: 4096, OffsetsTopicPartitions: 50, ProducerIDExpiration: 24 * time.Hour,
		TxnMaxTimeout: 15 * time.Minute, TxnIDExpiration: 7 * 24 * time.Hour, TxnTopicPartitions: 50,
		MaxTxnIDs: 10_000, MaxTxnPartitions: 10_000,
		MaxProducers:      100_000,
		RetentionInterval: 5 * time.Minute, CleanerInterval: 15 * time.Second, CleanerMapBytes: 32 << 20, CleanerRate: math.MaxFloat64,
	}
	if diff := cmp.Diff(want, parse(t, nil), cmp.AllowUnexported(Settings{})); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	s := parse(t, nil)
	c, err := s.TopicConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (TopicConfig{SegmentBytes: 1 << 30, MaxMessageBytes: 1048588, IndexIntervalBytes: 4096,
		TimestampBeforeMaxMillis: 1<<63 - 1, TimestampAfterMaxMillis: 3600000, Delete: true, RetentionMillis: 604800000, RetentionBytes: -1,
		SegmentMillis: 604800000, SegmentIndexBytes: 10485760, FileDeleteDelayMillis: 60000,
		MinCleanableDirtyRatio: 0.5, MaxCompactionLagMillis: 1<<63 - 1, DeleteRetentionMillis: 86_400_000}); c != want {
		t.Errorf("topic defaults are %+v, want %+v", c, want)
	}
}

// TestEverySettingArrives gives each setting another value than its default and
// looks for a field that changed.
func TestEverySettingArrives(t *testing.T) {
	special := map[string]string{
		"advertised.listeners": "plaintext://a:9092", "weir.cluster.id": "abc", "weir.replication.factor.policy": "refuse",
		"group.min.session.timeout.ms": "7", "group.max.session.timeout.ms": "70000", "socket.request.max.bytes": "2048", "queued.max.request.bytes": "2000000",
		"weir.max.partitions.per.topic": "12", "auto.create.topics.enable": "FALSE", "delete.topic.enable": "false",
		"log.cleaner.dedupe.buffer.size": "2000000",
		"group.consumer.assignors":       "range", "group.consumer.migration.policy": "Upgrade",
		"group.consumer.heartbeat.interval.ms": "5001", "group.consumer.session.timeout.ms": "45001",
	}
	defaults := parse(t, nil)
	for _, d := range brokerSettings {
		if d.target == nil {
			continue // bounds of settings of groups, see TestGroupConfigBounds
		}
		value, ok := special[d.name]
		if !ok {
			value = "77"
		}
		s := parse(t, map[string]string{d.name: value})
		s.given = nil
		if reflect.DeepEqual(s, defaults) {
			t.Errorf("%s=%s changes nothing", d.name, value)
		}
	}
}

func TestSettingsValues(t *testing.T) {
	s := parse(t, map[string]string{
		"advertised.listeners":           "PLAINTEXT://broker.example:9092, ipv6://[::1]:19092",
		"weir.replication.factor.policy": "refuse", "broker.id": "4", "offsets.retention.minutes": "2", "connections.max.idle.ms": "1500",
	})
	if diff := cmp.Diff([]Listener{{"PLAINTEXT", "broker.example", 9092}, {"IPV6", "::1", 19092}}, s.AdvertisedListeners); diff != "" {
		t.Error(diff)
	}
	if !s.RefuseReplication || s.NodeID != 4 || s.OffsetsRetention != 2*time.Minute || s.MaxIdle != 1500*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

func TestSettingsRefused(t *testing.T) {
	tests := []struct {
		name   string
		values map[string]string
		says   []string
	}{
		{"misspelt", map[string]string{"num.partition": "3"}, []string{`"num.partition"`, "nearest: num.partitions"}},
		{"part of a name", map[string]string{"retention": "3"}, []string{"log.retention.ms"}},
		{"nothing like it", map[string]string{"zzzzzzzzz": "3"}, []string{`no broker setting named "zzzzzzzzz"`}},
		{"a topic's name", map[string]string{"segment.bytes": "3"}, []string{"log.segment.bytes"}},
		{"empty name", map[string]string{"": "3"}, []string{`""`}},
		{"very long name", map[string]string{strings.Repeat("x", 1<<20): "3"}, []string{"…"}},
		{"no number", map[string]string{"num.partitions": "many"}, []string{"num.partitions", `"many"`, "a whole number from 1"}},
		{"too small", map[string]string{"num.partitions": "0"}, []string{"num.partitions", `"0"`}},
		{"empty value", map[string]string{"num.partitions": ""}, []string{"num.partitions", `""`}},
		{"too large for 32 bits", map[string]string{"node.id": "3000000000"}, []string{"node.id"}},
		{"no boolean", map[string]string{"auto.create.topics.enable": "yes"}, []string{`"yes"`, "true or false"}},
		{"policy", map[string]string{"weir.replication.factor.policy": "ignore"}, []string{"clamp, refuse"}},
		{"default of a topic setting", map[string]string{"log.segment.bytes": "100"}, []string{"log.segment.bytes", "1048576"}},
		{"hours", map[string]string{"log.roll.hours": "0"}, []string{"log.roll.hours"}},
		{"listener without name", map[string]string{"advertised.listeners": "host:9092"}, []string{"NAME://host:port"}},
		{"listener without port", map[string]string{"advertised.listeners": "A://host"}, []string{"advertised.listeners"}},
		{"listener with port 0", map[string]string{"advertised.listeners": "A://host:0"}, []string{"advertised.listeners"}},
		{"listener without host", map[string]string{"advertised.listeners": "A://:9092"}, []string{"advertised.listeners"}},
		{"listener twice", map[string]string{"advertised.listeners": "A://h:1,a://h:2"}, []string{"advertised.listeners"}},
		{"cluster id", map[string]string{"weir.cluster.id": "a b"}, []string{"weir.cluster.id"}},
		{"session timeouts", map[string]string{"group.min.session.timeout.ms": "9", "group.max.session.timeout.ms": "8"},
			[]string{"group.min.session.timeout.ms (9)", "group.max.session.timeout.ms (8)"}},
		{"two node ids", map[string]string{"node.id": "2", "broker.id": "3"}, []string{"node.id", "broker.id"}},
		{"partitions above the limit", map[string]string{"num.partitions": "5", "weir.max.partitions.per.topic": "4"},
			[]string{"num.partitions", "weir.max.partitions.per.topic"}},
		{"factor and policy", map[string]string{"default.replication.factor": "3", "weir.replication.factor.policy": "refuse"},
			[]string{"default.replication.factor", "weir.replication.factor.policy"}},
		{"compaction lags", map[string]string{"log.cleaner.min.compaction.lag.ms": "9", "log.cleaner.max.compaction.lag.ms": "8"},
			[]string{"min.compaction.lag.ms", "max.compaction.lag.ms"}},
	}
	for _, tt := range tests {
		_, err := ParseSettings(tt.values)
		if !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s: error is %v", tt.name, err)
			continue
		}
		for _, part := range tt.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", tt.name, err, part)
			}
		}
		if len(err.Error()) > 600 {
			t.Errorf("%s: the message has %d bytes", tt.name, len(err.Error()))
		}
	}
}

func TestDescribe(t *testing.T) {
	s := parse(t, map[string]string{"num.partitions": "3", "broker.id": "7"})
	byName := map[string]Entry{}
	for _, e := range s.Describe() {
		byName[e.Name] = e
	}
	e := byName["num.partitions"]
	want := []Synonym{{"num.partitions", "3", StaticBroker}, {"num.partitions", "1", Default}}
	if diff := cmp.Diff(want, e.Synonyms); diff != "" || e.Value != "3" || e.Source != StaticBroker || !e.ReadOnly || e.Kind != Int {
		t.Errorf("%+v\n%s", e, diff)
	}
	if byName["node.id"].Value != "7" || byName["broker.id"].Value != "7" {
		t.Errorf("node.id is %s, broker.id %s, want 7", byName["node.id"].Value, byName["broker.id"].Value)
	}
	if e := byName["log.segment.bytes"]; e.Value != "1073741824" || e.Source != Default {
		t.Errorf("%+v", e)
	}
}
