package meta

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTopicConfigsAccepted(t *testing.T) {
	for _, configs := range []map[string]string{
		nil,
		{"cleanup.policy": "compact"},
		{"cleanup.policy": "compact,delete"},
		{"cleanup.policy": "delete, compact"},
		{"retention.ms": "-1", "retention.bytes": "-1"},
		{"segment.bytes": "1048576"},
		{"max.message.bytes": "33554432"},
		{"min.cleanable.dirty.ratio": "0.25"},
		{"compression.gzip.level": "-1"},
		{"compression.zstd.level": "-131072"},
		{"remote.storage.enable": "False"},
		{"preallocate": "TRUE"},
		{"min.insync.replicas": "2"},
	} {
		if err := ParseTopicConfigs(configs); err != nil {
			t.Errorf("%v: %v", configs, err)
		}
	}
}

func TestTopicConfigsRefused(t *testing.T) {
	tests := []struct {
		name, value string
		says        string
	}{
		{"retention.m", "1", "nearest: retention.ms"},
		{"log.segment.bytes", "1048576", "segment.bytes"},
		{"cleanup.policy", "", "compact, delete"},
		{"cleanup.policy", "compact,compact", "at most once"},
		{"cleanup.policy", "purge", `"purge"`},
		{"retention.ms", "-2", "from -1"},
		{"retention.ms", "7d", `"7d"`},
		{"retention.ms", "99999999999999999999", "retention.ms"},
		{"segment.bytes", "1048575", "from 1048576"},
		{"segment.bytes", "2147483648", "segment.bytes"},
		{"max.message.bytes", "33554433", "to 33554432"},
		{"max.message.bytes", "-1", "from 0"},
		{"message.timestamp.type", "createtime", "CreateTime, LogAppendTime"},
		{"min.cleanable.dirty.ratio", "1.1", "from 0 to 1"},
		{"min.cleanable.dirty.ratio", "NaN", "from 0 to 1"},
		{"compression.gzip.level", "0", "from 1 to 9"},
		{"compression.lz4.level", "18", "from 1 to 17"},
		{"compression.type", "none", "uncompressed"},
		{"remote.storage.enable", "true", "no tiered storage"},
		{"flush.messages", "0", "from 1"},
		{"leader.replication.throttled.replicas", strings.Repeat("1", 1001), "1000 bytes"},
	}
	for _, tt := range tests {
		err := ParseTopicConfigs(map[string]string{tt.name: tt.value, "segment.ms": "5"})
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.name) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s=%.20s: %v, should say %q", tt.name, tt.value, err, tt.says)
		}
	}
}

// TestTopicConfigPrecedence: the topic goes before the broker, the broker
// before Kafka's default, and ms before minutes before hours.
func TestTopicConfigPrecedence(t *testing.T) {
	s := parse(t, map[string]string{"log.segment.bytes": "2000000", "message.max.bytes": "5000", "log.message.timestamp.type": "LogAppendTime",
		"log.cleanup.policy": "delete,compact", "log.message.timestamp.before.max.ms": "10", "log.message.timestamp.after.max.ms": "20",
		"log.index.interval.bytes": "100", "log.retention.minutes": "2", "log.retention.hours": "9", "log.retention.bytes": "77",
		"log.roll.hours": "1", "log.roll.jitter.ms": "5", "log.index.size.max.bytes": "24", "log.segment.delete.delay.ms": "0",
		"log.cleaner.min.cleanable.ratio": "0.25", "log.cleaner.min.compaction.lag.ms": "7", "log.cleaner.max.compaction.lag.ms": "8", "log.cleaner.delete.retention.ms": "9"})
	got, err := s.TopicConfig(map[string]string{"segment.bytes": "3000000", "cleanup.policy": "delete"})
	if err != nil {
		t.Fatal(err)
	}
	want := TopicConfig{SegmentBytes: 3_000_000, MaxMessageBytes: 5000, IndexIntervalBytes: 100, LogAppendTime: true,
		TimestampBeforeMaxMillis: 10, TimestampAfterMaxMillis: 20, Delete: true, RetentionMillis: 120_000, RetentionBytes: 77,
		SegmentMillis: 3_600_000, SegmentJitterMillis: 5, SegmentIndexBytes: 24,
		MinCleanableDirtyRatio: 0.25, MinCompactionLagMillis: 7, MaxCompactionLagMillis: 8, DeleteRetentionMillis: 9}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c, _ := s.TopicConfig(nil); !c.Compact || c.SegmentBytes != 2_000_000 {
		t.Errorf("the broker's defaults give %+v", c)
	}
}

func TestRetentionUnits(t *testing.T) {
	for _, tt := range []struct {
		values map[string]string
		want   string
		broker string
	}{
		{nil, "604800000", ""},
		{map[string]string{"log.retention.hours": "2"}, "7200000", "log.retention.hours"},
		{map[string]string{"log.retention.hours": "2", "log.retention.minutes": "3"}, "180000", "log.retention.minutes"},
		{map[string]string{"log.retention.hours": "2", "log.retention.minutes": "3", "log.retention.ms": "4"}, "4", "log.retention.ms"},
		{map[string]string{"log.retention.hours": "-1"}, "-1", "log.retention.hours"},
	} {
		s := parse(t, tt.values)
		for _, e := range s.DescribeTopic(nil) {
			if e.Name != "retention.ms" {
				continue
			}
			if e.Value != tt.want || (e.Source == StaticBroker) != (tt.broker != "") {
				t.Errorf("%v: retention.ms is %s from %d, want %s", tt.values, e.Value, e.Source, tt.want)
			}
			if tt.broker != "" && e.Synonyms[0].Name != tt.broker {
				t.Errorf("%v: the synonyms are %v", tt.values, e.Synonyms)
			}
		}
	}
}

func TestDescribeTopicSynonyms(t *testing.T) {
	s := parse(t, map[string]string{"log.segment.bytes": "2000000"})
	for _, e := range s.DescribeTopic(map[string]string{"segment.bytes": "3000000"}) {
		if e.Name != "segment.bytes" {
			continue
		}
		want := []Synonym{{"segment.bytes", "3000000", DynamicTopic}, {"log.segment.bytes", "2000000", StaticBroker},
			{"log.segment.bytes", "1073741824", Default}}
		if diff := cmp.Diff(want, e.Synonyms); diff != "" || e.Source != DynamicTopic || e.Value != "3000000" || e.Kind != Int {
			t.Errorf("%+v\n%s", e, diff)
		}
	}
}

// TestConfigsOfAnotherWeir: settings in the log that this weir refuses are told,
// not guessed.
func TestConfigsOfAnotherWeir(t *testing.T) {
	s := parse(t, nil)
	if _, err := s.TopicConfig(map[string]string{"segment.bytes": "12"}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("error is %v", err)
	}
}
