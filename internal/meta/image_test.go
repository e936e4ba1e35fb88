package meta

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func id(n int) [16]byte { return [16]byte{0xaa, byte(n >> 16), byte(n >> 8), byte(n), 1} }

func apply(t testing.TB, m *Image, records ...Record) *Image {
	t.Helper()
	for _, r := range records {
		var err error
		if m, err = m.Apply(r); err != nil {
			t.Fatalf("apply %+v: %v", r, err)
		}
	}
	return m
}

func names(m *Image) string {
	var out []string
	for _, topic := range m.Topics() {
		out = append(out, topic.Name)
	}
	return strings.Join(out, " ")
}

func TestImageIsImmutable(t *testing.T) {
	empty := NewImage()
	one := apply(t, empty, TopicRecord{Name: "b", ID: id(1), Partitions: 3, Configs: map[string]string{"segment.bytes": "1048576"}})
	two := apply(t, one, TopicRecord{Name: "a", ID: id(2), Partitions: 4}, ClusterRecord{"c"}, ProducerIDsRecord{1000})
	less := apply(t, two, TopicDeletedRecord{Name: "b", ID: id(1)})
	for _, tt := range []struct {
		image      *Image
		names      string
		partitions int
	}{{empty, "", 0}, {one, "b", 3}, {two, "a b", 7}, {less, "a", 4}} {
		if names(tt.image) != tt.names || tt.image.PartitionCount() != tt.partitions || tt.image.TopicCount() != len(strings.Fields(tt.names)) {
			t.Errorf("image has %q with %d partitions in %d topics, want %q with %d", names(tt.image), tt.image.PartitionCount(),
				tt.image.TopicCount(), tt.names, tt.partitions)
		}
	}
	if less.ClusterID() != "c" || less.NextProducerID() != 1000 || one.ClusterID() != "" || one.NextProducerID() != 0 {
		t.Error("cluster or producer ids are wrong")
	}
	b := two.TopicByID(id(1))
	if b != two.Topic("b") || b.Partitions != 3 || b.Internal || b.Configs["segment.bytes"] != "1048576" {
		t.Errorf("topic b is %+v", b)
	}
	if less.Topic("b") != nil || less.TopicByID(id(1)) != nil || one.Topic("a") != nil {
		t.Error("a topic is there that should not be")
	}
}

func TestTopicCreatedAgainHasItsNewID(t *testing.T) {
	m := apply(t, NewImage(), TopicRecord{Name: "t", ID: id(1), Partitions: 1}, TopicDeletedRecord{Name: "t", ID: id(1)},
		TopicRecord{Name: "t", ID: id(2), Partitions: 2})
	if m.TopicByID(id(1)) != nil || m.Topic("t").ID != id(2) {
		t.Fatal("the old id is still known")
	}
}

func TestInternalTopics(t *testing.T) {
	m := apply(t, NewImage(), TopicRecord{Name: OffsetsTopic, ID: id(1), Partitions: 50})
	if !m.Topic(OffsetsTopic).Internal {
		t.Error("the offsets topic is not internal")
	}
}

func TestApplyConflicts(t *testing.T) {
	m := apply(t, NewImage(), TopicRecord{Name: "t", ID: id(1), Partitions: 1}, ClusterRecord{"c"}, ProducerIDsRecord{2000})
	for _, r := range []Record{
		TopicRecord{Name: "t", ID: id(2), Partitions: 1},
		TopicRecord{Name: "u", ID: id(1), Partitions: 1},
		TopicRecord{Name: "u", ID: id(2)},
		TopicRecord{Name: "u", Partitions: 1},
		TopicRecord{Name: "a/b", ID: id(2), Partitions: 1},
		TopicDeletedRecord{Name: "t", ID: id(2)},
		TopicDeletedRecord{Name: "u", ID: id(1)},
		TopicDeletedRecord{Name: "t"},
		ClusterRecord{"d"},
		ClusterRecord{""},
		ProducerIDsRecord{1999},
		ProducerIDsRecord{-1},
	} {
		next, err := m.Apply(r)
		if !errors.Is(err, ErrConflict) || next != nil {
			t.Errorf("%#v: %v", r, err)
		}
	}
	if names(m) != "t" {
		t.Errorf("the image changed: %s", names(m))
	}
}

func TestCollision(t *testing.T) {
	m := apply(t, NewImage(), TopicRecord{Name: "a.b_c", ID: id(1), Partitions: 1})
	for name, want := range map[string]string{"a.b_c": "", "a_b_c": "a.b_c", "a.b.c": "a.b_c", "a-b_c": "", "ab_c": ""} {
		if got := m.Collision(name); got != want {
			t.Errorf("%s collides with %q, want %q", name, got, want)
		}
	}
	m = apply(t, m, TopicDeletedRecord{Name: "a.b_c", ID: id(1)})
	if got := m.Collision("a_b_c"); got != "" {
		t.Errorf("after the deletion a_b_c collides with %q", got)
	}
}

// TestImageAgainstModel compares random histories with a plain map.
func TestImageAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, model, ids := NewImage(), map[string]int32{}, map[string]int{}
		for n := range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := fmt.Sprintf("t%d", rapid.IntRange(0, 9).Draw(t, "topic"))
			var r Record
			if _, ok := model[name]; ok {
				r = TopicDeletedRecord{Name: name, ID: id(ids[name])}
				delete(model, name)
			} else {
				ids[name], model[name] = n, rapid.Int32Range(1, 5).Draw(t, "partitions")
				r = TopicRecord{Name: name, ID: id(n), Partitions: model[name]}
			}
			var err error
			if m, err = m.Apply(r); err != nil {
				t.Fatal(err)
			}
			got := map[string]int32{}
			total := 0
			for _, topic := range m.Topics() {
				got[topic.Name] = topic.Partitions
				total += int(topic.Partitions)
			}
			if diff := cmp.Diff(model, got); diff != "" || total != m.PartitionCount() {
				t.Fatalf("%d partitions, %d counted; topics differ (-model +image):\n%s", total, m.PartitionCount(), diff)
			}
		}
	})
}

// TestManyTopicsShareMemory: 10,000 creations must not copy 10,000 maps of
// 10,000 topics. Bytes are counted, because time cannot be trusted in a test.
// TestChangedTopics: what has changed between two images is found, whatever lies between
// them, and what came and went again is not.
func TestChangedTopics(t *testing.T) {
	base := NewImage()
	for n := range 1000 {
		base = apply(t, base, TopicRecord{Name: fmt.Sprint("t", n), ID: id(n), Partitions: 3})
	}
	for _, tt := range []struct {
		what    string
		records []Record
		want    string
	}{
		{"nothing", nil, ""},
		{"other records", []Record{ClusterRecord{"c"}, GroupConfigsRecord{Name: "g", Configs: map[string]string{"consumer.session.timeout.ms": "50000"}}}, ""},
		{"a configuration", []Record{TopicConfigsRecord{Name: "t1", ID: id(1), Configs: map[string]string{"retention.ms": "1"}}}, ""},
		{"three kinds", []Record{
			TopicRecord{Name: "new", ID: id(2000), Partitions: 1}, TopicDeletedRecord{Name: "t7", ID: id(7)},
			TopicPartitionsRecord{Name: "t9", ID: id(9), Partitions: 4},
		}, "new t7 t9"},
		{"again", []Record{TopicDeletedRecord{Name: "t7", ID: id(7)}, TopicRecord{Name: "t7", ID: id(2007), Partitions: 3}}, "t7"},
		{"came and went", []Record{TopicRecord{Name: "new", ID: id(2000), Partitions: 1}, TopicDeletedRecord{Name: "new", ID: id(2000)}}, ""},
	} {
		next := apply(t, base, tt.records...)
		for _, got := range [][]string{next.ChangedTopics(base), base.ChangedTopics(next)} {
			slices.Sort(got)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
			}
		}
	}
	if n := len(base.ChangedTopics(nil)); n != 1000 {
		t.Errorf("since no image %d topics have changed", n)
	}
}

func TestManyTopicsShareMemory(t *testing.T) {
	m := NewImage()
	for n := range 10_000 {
		m = apply(t, m, TopicRecord{Name: fmt.Sprintf("topic-%d", n), ID: id(n), Partitions: 1})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	apply(t, m, TopicRecord{Name: "one-more", ID: id(20_000), Partitions: 1})
	runtime.ReadMemStats(&after)
	perChange := after.TotalAlloc - before.TotalAlloc
	if perChange > 64<<10 {
		t.Errorf("one more topic copies %d bytes", perChange)
	}
	if next := apply(t, m, ProducerIDsRecord{1000}); &next.Topics()[0] != &m.Topics()[0] {
		t.Error("a record that changes no topic costs a new listing")
	}
	if all := m.Topics(); len(all) != 10_000 || all[0].Name != "topic-0" || &all[0] != &m.Topics()[0] {
		t.Error("the listing is wrong or made twice")
	}
}

func BenchmarkCreateTopics(b *testing.B) {
	for b.Loop() {
		m := NewImage()
		for n := range 10_000 {
			m = apply(b, m, TopicRecord{Name: fmt.Sprintf("topic-%d", n), ID: id(n), Partitions: 1})
		}
	}
}
