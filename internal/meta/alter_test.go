package meta

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestAlterTopic(t *testing.T) {
	s := parse(t, nil)
	type configs = map[string]string
	for _, tt := range []struct {
		name    string
		before  configs
		changes []Alteration
		after   configs // nil: refused
		says    string
	}{
		{"set", nil, []Alteration{{"retention.ms", AlterSet, "5"}}, configs{"retention.ms": "5"}, ""},
		{"set again", configs{"retention.ms": "1", "segment.ms": "7"}, []Alteration{{"retention.ms", AlterSet, "5"}}, configs{"retention.ms": "5", "segment.ms": "7"}, ""},
		{"delete", configs{"retention.ms": "1"}, []Alteration{{"retention.ms", AlterDelete, "x"}}, configs{}, ""},
		{"delete what is not set", nil, []Alteration{{"retention.ms", AlterDelete, ""}, {"no.such", AlterDelete, ""}}, configs{}, ""},
		{"append to the default", nil, []Alteration{{"cleanup.policy", AlterAppend, "compact"}}, configs{"cleanup.policy": "delete,compact"}, ""},
		{"append what is there", configs{"cleanup.policy": "compact"}, []Alteration{{"cleanup.policy", AlterAppend, "compact"}}, configs{"cleanup.policy": "compact"}, ""},
		{"append several", configs{"cleanup.policy": "compact"}, []Alteration{{"cleanup.policy", AlterAppend, "delete, compact"}}, configs{"cleanup.policy": "compact,delete"}, ""},
		{"subtract", configs{"cleanup.policy": "compact,delete"}, []Alteration{{"cleanup.policy", AlterSubtract, "compact"}}, configs{"cleanup.policy": "delete"}, ""},
		{"subtract from the default what it has not", nil, []Alteration{{"cleanup.policy", AlterSubtract, "compact"}}, configs{"cleanup.policy": "delete"}, ""},
		{"subtract all", nil, []Alteration{{"cleanup.policy", AlterSubtract, "delete"}}, nil, "a list of compact, delete"},
		{"append to a number", nil, []Alteration{{"retention.ms", AlterAppend, "1"}}, nil, "retention.ms is no list"},
		{"append to an unknown one", nil, []Alteration{{strings.Repeat("x", 1000), AlterAppend, "1"}}, nil, "… is no list"},
		{"set an unknown one", nil, []Alteration{{"retention.mss", AlterSet, "1"}}, nil, "nearest: retention.ms"},
		{"set a bad value", nil, []Alteration{{"retention.ms", AlterSet, "-2"}}, nil, "from -1 on"},
		{"two that do not fit", configs{"min.compaction.lag.ms": "9"}, []Alteration{{"max.compaction.lag.ms", AlterSet, "8"}}, nil, "min.compaction.lag.ms (9)"},
		{"no operation", nil, []Alteration{{"retention.ms", 4, "1"}}, nil, "no operation 4"},
	} {
		before := maps.Clone(tt.before)
		got, err := s.AlterTopic(tt.before, tt.changes)
		if !maps.Equal(before, tt.before) {
			t.Errorf("%s: the settings before changed", tt.name)
		}
		if tt.after == nil {
			if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 400 {
				t.Errorf("%s: error is %v", tt.name, err)
			}
		} else if err != nil || !maps.Equal(got, tt.after) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.after)
		}
	}
}

// TestAppendToTheBrokersDefault: appending must not take compaction from a topic
// that has it by the broker's setting.
func TestAppendToTheBrokersDefault(t *testing.T) {
	s := parse(t, map[string]string{"log.cleanup.policy": "compact"})
	got, err := s.AlterTopic(nil, []Alteration{{"cleanup.policy", AlterAppend, "delete"}})
	if err != nil || got["cleanup.policy"] != "compact,delete" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAlterGroup(t *testing.T) {
	s := parse(t, nil)
	got, err := s.AlterGroup(map[string]string{"consumer.session.timeout.ms": "50000"},
		[]Alteration{{"consumer.heartbeat.interval.ms", AlterSet, "6000"}, {"consumer.session.timeout.ms", AlterDelete, ""}})
	if err != nil || len(got) != 1 || got["consumer.heartbeat.interval.ms"] != "6000" {
		t.Errorf("%v, %v", got, err)
	}
	for _, c := range []Alteration{{"consumer.session.timeout.ms", AlterSet, "1"}, {"consumer.session.timeout.ms", AlterAppend, "50000"}, {"retention.ms", AlterSet, "1"}} {
		if _, err := s.AlterGroup(nil, []Alteration{c}); !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), c.Name) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
