package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.yaml.in/yaml/v3"
)

func TestPartitionSet(t *testing.T) {
	set := kadm.TopicsSet{}
	set.Add("orders", 5, 1, 0, 2)
	set.Add("audit", 7)
	if got, want := text(partitionSet(set)), "audit:7 orders:0-2,5"; got != want {
		t.Errorf("a table has %q, want %q", got, want)
	}
	want := []topicPartitions{{"audit", []int32{7}}, {"orders", []int32{0, 1, 2, 5}}}
	for name, form := range map[string]struct {
		encode func(any) ([]byte, error)
		decode func([]byte, any) error
	}{"json": {json.Marshal, json.Unmarshal}, "yaml": {yaml.Marshal, yaml.Unmarshal}} {
		var got []topicPartitions
		b, err := form.encode(partitionSet(set))
		if err == nil {
			err = form.decode(b, &got)
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		if b, _ := form.encode(partitionSet(nil)); strings.TrimSpace(string(b)) != "[]" {
			t.Errorf("%s: an empty set is %s", name, b)
		}
	}
}

func TestScope(t *testing.T) {
	for _, c := range []struct {
		topics string
		all    bool
		holds  string // of a-0, a-1, a-7, b-0
		fails  string
	}{
		{topics: "", holds: "1111"},
		{all: true, holds: "1111"},
		{topics: "a", holds: "1110"},
		{topics: "b", holds: "0001"},
		{topics: "a:0", holds: "1000"},
		{topics: "a:7,1", holds: "0110"},
		{topics: "a:0-1,0 b", holds: "1101"},
		{topics: "c", holds: "0000"},
		{topics: "a", all: true, fails: "exclude each other"},
		{topics: "a a:1", fails: "given twice"},
		{topics: ":1", fails: "want TOPIC"},
		{topics: "a:", fails: "no number"},
		{topics: "a:x", fails: "no number"},
		{topics: "a:-1", fails: "no number"},
		{topics: "a:1-", fails: "no number"},
		{topics: "a:2-1", fails: "no range"},
		{topics: "a:0-2147483647", fails: "no range"},
		{topics: "a:2147483648", fails: "no number"},
	} {
		s, err := parseScope(strings.Fields(c.topics), c.all)
		if c.fails != "" {
			if exitCode(err) != ExitUsage || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("--topic %s: %v, want %q", c.topics, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("--topic %s: %v", c.topics, err)
		}
		got := ""
		for _, at := range []mark{{"a", 0}, {"a", 1}, {"a", 7}, {"b", 0}} {
			got += map[bool]string{true: "1", false: "0"}[s.holds(at.topic, at.partition)]
		}
		if got != c.holds {
			t.Errorf("--topic %s holds %s, want %s", c.topics, got, c.holds)
		}
	}
}

func TestNoPartition(t *testing.T) {
	ends := kadm.ListedOffsets{
		"t":    {0: {Topic: "t"}},
		"gone": {-1: {Topic: "gone", Partition: -1, Err: kerr.UnknownTopicOrPartition}},
	}
	for topic, want := range map[string]string{"t": "topic t has no partition 3", "gone": `there is no topic "gone"`, "other": `there is no topic "other"`} {
		if got := noPartition(topic, 3, ends).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", topic, got, want)
		}
	}
}
