package meta

import (
	"errors"
	"slices"
	"testing"
)

func TestChangedTopic(t *testing.T) {
	one := apply(t, NewImage(), TopicRecord{Name: "t", ID: id(1), Partitions: 2, Configs: map[string]string{"retention.ms": "1"}}, TopicRecord{Name: "u", ID: id(2), Partitions: 1})
	old := one.Topic("t")
	two := apply(t, one, LogStartRecord{ID: id(1), Starts: []LogStart{{1, 7}}},
		TopicConfigsRecord{Name: "t", ID: id(1), Configs: map[string]string{"retention.bytes": "5"}},
		TopicPartitionsRecord{Name: "t", ID: id(1), Partitions: 100})
	got := two.Topic("t")
	if got != two.TopicByID(id(1)) || got.Partitions != 100 || len(got.Configs) != 1 || got.Configs["retention.bytes"] != "5" || got.ID != id(1) {
		t.Errorf("topic is now %+v", got)
	}
	if two.PartitionCount() != 101 || two.TopicCount() != 2 || !slices.Contains(two.Topics(), got) || slices.Contains(two.Topics(), old) {
		t.Errorf("%d partitions of %d topics", two.PartitionCount(), two.TopicCount())
	}
	if old.Partitions != 2 || old.Configs["retention.ms"] != "1" || one.PartitionCount() != 3 || one.Topic("t") != old {
		t.Errorf("the image before changed: %+v", old)
	}
	// Log starts are kept, and the new partitions have theirs.
	three := apply(t, two, LogStartRecord{ID: id(1), Starts: []LogStart{{99, 3}}})
	if starts := three.LogStarts(three.Topic("t")); len(starts) != 100 || starts[1] != 7 || starts[99] != 3 {
		t.Errorf("log starts %v", starts)
	}
	four := apply(t, three, TopicConfigsRecord{Name: "t", ID: id(1)}, TopicDeletedRecord{Name: "t", ID: id(1)})
	if four.Topic("t") != nil || four.PartitionCount() != 1 {
		t.Errorf("%d partitions after the deletion", four.PartitionCount())
	}
}

func TestConfiguredGroups(t *testing.T) {
	configs := map[string]string{"consumer.session.timeout.ms": "50000"}
	one := apply(t, NewImage(), GroupConfigsRecord{Name: "b", Configs: configs}, GroupConfigsRecord{Name: "a", Configs: configs})
	two := apply(t, one, GroupConfigsRecord{Name: "b", Configs: map[string]string{"consumer.heartbeat.interval.ms": "6000"}}, GroupConfigsRecord{Name: "a"}, GroupConfigsRecord{Name: "c"})
	if !slices.Equal(one.ConfiguredGroups(), []string{"a", "b"}) || !slices.Equal(two.ConfiguredGroups(), []string{"b"}) || two.ConfiguredGroupCount() != 1 {
		t.Errorf("configured groups %q, then %q", one.ConfiguredGroups(), two.ConfiguredGroups())
	}
	if got := two.GroupConfigs("b"); len(got) != 1 || got["consumer.heartbeat.interval.ms"] != "6000" || two.GroupConfigs("a") != nil || len(one.GroupConfigs("b")) != 1 {
		t.Errorf("configs of b are %v", got)
	}
}

func TestChangesThatDoNotFit(t *testing.T) {
	m := apply(t, NewImage(), TopicRecord{Name: "t", ID: id(1), Partitions: 3})
	for _, r := range []Record{
		TopicConfigsRecord{Name: "u", ID: id(2)},
		TopicConfigsRecord{Name: "u", ID: id(1)},
		TopicConfigsRecord{Name: "t"},
		TopicPartitionsRecord{Name: "t", ID: id(2), Partitions: 4},
		TopicPartitionsRecord{Name: "t", ID: id(1), Partitions: 3},
		TopicPartitionsRecord{Name: "t", ID: id(1), Partitions: -4},
		GroupConfigsRecord{},
	} {
		if next, err := m.Apply(r); !errors.Is(err, ErrConflict) || next != nil {
			t.Errorf("%#v: %v", r, err)
		}
	}
}
