package meta

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestGroupSettingsAreKafkas: names, defaults, types and synonyms of group settings
// are those that Apache Kafka 4.3.1 describes, but for one default.
func TestGroupSettingsAreKafkas(t *testing.T) {
	s := parse(t, nil)
	var got []kafkaRow
	for _, e := range s.DescribeGroup(nil) {
		row := kafkaRow{name: e.Name, def: e.Value, kind: strings.ToUpper(e.Kind.String())}
		for _, syn := range e.Synonyms {
			row.synonym = syn.Name + "=" + syn.Value
		}
		got = append(got, row)
		if e.Source != Default || e.Doc == "" || e.Allowed == "" || e.ReadOnly || len(e.Synonyms) != 1 {
			t.Errorf("%s: %+v", e.Name, e)
		}
	}
	want := kafkaRows(t, "group")
	want[0].def, want[0].synonym = "0", "group.consumer.assignment.interval.ms=0" // Kafka: 1000
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(kafkaRow{})); diff != "" {
		t.Fatalf("settings differ (-Kafka +weir):\n%s", diff)
	}
}

func TestGroupTable(t *testing.T) {
	if got := settingNames(groupSettings); !slices.IsSorted(got) || len(slices.Compact(got)) != len(groupSettings) {
		t.Error("group settings are not sorted or not unique")
	}
	for _, d := range groupSettings {
		if err := d.rule.check(d.name, d.def); err != nil {
			t.Error(err)
		}
		if b := definition(settings, d.broker); (b == nil) != (d.field == nil) || b != nil && b.def != d.def {
			t.Errorf("%s: setting of the broker behind it is %+v", d.name, b)
		}
	}
}

func TestGroupConfig(t *testing.T) {
	s := parse(t, map[string]string{"group.consumer.heartbeat.interval.ms": "7000"})
	c, err := s.GroupConfig(map[string]string{"consumer.session.timeout.ms": "60000", "consumer.assignment.interval.ms": "250", "share.auto.offset.reset": "by_duration:PT1H"})
	want := GroupConfig{SessionTimeout: time.Minute, HeartbeatInterval: 7 * time.Second, AssignmentInterval: 250 * time.Millisecond}
	if err != nil || c != want {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
	for _, tt := range []struct{ name, value, says string }{
		{"consumer.session.timeout.ms", "44999", "group.consumer.min.session.timeout.ms"},
		{"consumer.session.timeout.ms", "60001", "group.consumer.max.session.timeout.ms"},
		{"consumer.session.timeout.ms", "soon", "a whole number from 1"},
		{"consumer.heartbeat.interval.ms", "4999", "from 5000 (group.consumer.min.heartbeat.interval.ms)"},
		{"consumer.heartbeat.interval.ms", "15001", "to 15000 (group.consumer.max.heartbeat.interval.ms)"},
		{"consumer.assignment.interval.ms", "15001", "group.consumer.max.assignment.interval.ms"},
		{"consumer.assignment.interval.ms", "-1", "a whole number from 0"},
		{"consumer.heartbeat.intervall.ms", "5000", "nearest: consumer.heartbeat.interval.ms"},
		{"share.auto.offset.reset", "by_duration:1h", "ISO 8601"},
		{"streams.num.standby.replicas", "3", "from 0 to 2"},
	} {
		_, err := s.GroupConfig(map[string]string{tt.name: tt.value})
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%s=%s: %v", tt.name, tt.value, err)
		}
	}
}

func TestGroupConfigBounds(t *testing.T) {
	s := parse(t, map[string]string{"group.consumer.min.session.timeout.ms": "1000", "group.consumer.min.heartbeat.interval.ms": "100", "group.consumer.max.heartbeat.interval.ms": "50000"})
	c, err := s.GroupConfig(map[string]string{"consumer.session.timeout.ms": "6000", "consumer.heartbeat.interval.ms": "200"})
	if err != nil || c.SessionTimeout != 6*time.Second || c.HeartbeatInterval != 200*time.Millisecond {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = s.GroupConfig(map[string]string{"consumer.session.timeout.ms": "6000", "consumer.heartbeat.interval.ms": "6000"})
	if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), "is not larger than consumer.heartbeat.interval.ms (6000)") {
		t.Errorf("a session as short as the heartbeats: %v", err)
	}
	// What was allowed at another start is brought within the bounds of this one.
	narrow := parse(t, nil)
	if c := narrow.GroupConfigWithin(map[string]string{"consumer.session.timeout.ms": "6000", "consumer.heartbeat.interval.ms": "99000"}); c.SessionTimeout != 45*time.Second || c.HeartbeatInterval != 15*time.Second {
		t.Errorf("%+v", c)
	}
}

func TestConsumerGroupSettingsRefused(t *testing.T) {
	for _, tt := range []struct {
		values map[string]string
		says   string
	}{
		{map[string]string{"group.consumer.session.timeout.ms": "6000"}, "group.consumer.min.session.timeout.ms"},
		{map[string]string{"group.consumer.min.heartbeat.interval.ms": "20000"}, "group.consumer.max.heartbeat.interval.ms (15000)"},
		{map[string]string{"group.consumer.assignors": ""}, "group.consumer.assignors"},
		{map[string]string{"group.consumer.assignors": "sticky"}, "uniform, range"},
		{map[string]string{"group.consumer.migration.policy": "both"}, "bidirectional"},
		{map[string]string{"group.consumer.max.heartbeat.interval.ms": "50000", "group.consumer.heartbeat.interval.ms": "45000"}, "is not larger"},
	} {
		if _, err := ParseSettings(tt.values); !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v", tt.values, err)
		}
	}
}

func TestDescribeGroup(t *testing.T) {
	s := parse(t, map[string]string{"group.consumer.session.timeout.ms": "50000"})
	got := s.DescribeGroup(map[string]string{"consumer.session.timeout.ms": "55000"})[2]
	want := []Synonym{{"consumer.session.timeout.ms", "55000", DynamicGroup}, {"group.consumer.session.timeout.ms", "50000", StaticBroker}, {"group.consumer.session.timeout.ms", "45000", Default}}
	if got.Value != "55000" || got.Source != DynamicGroup || !slices.Equal(got.Synonyms, want) {
		t.Errorf("%+v", got)
	}
	if got := s.DescribeGroup(nil)[2]; got.Value != "50000" || got.Source != StaticBroker || !slices.Equal(got.Synonyms, want[1:]) {
		t.Errorf("%+v", got)
	}
}
