package meta

import (
	"testing"
)

func TestSettingsDefaults(t *testing.T) {
	s, err := ParseSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.NodeID != 1 || !s.AutoCreateTopics || s.NumPartitions != 1 || s.GroupMinSessionTimeout.Seconds() != 6 ||
		s.OffsetsRetention.Hours() != 168 || s.RefuseReplication || s.MaxRequestBytes != 104857600 {
		t.Fatalf("defaults are wrong: %+v", s)
	}
	c, err := s.TopicConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := TopicConfig{SegmentBytes: 1 << 30, MaxMessageBytes: 1048588, IndexIntervalBytes: 4096,
		TimestampBeforeMaxMillis: 1<<63 - 1, TimestampAfterMaxMillis: 3600000}
	if c != want {
		t.Fatalf("topic defaults are %+v, want %+v", c, want)
	}
}
