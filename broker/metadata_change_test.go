package broker

import (
	"testing"

	"github.com/weirstream/weir/internal/meta"
)

// TestChangedTopicIsFound: who looked a topic up before its settings changed finds
// what it is now, and nothing when it is deleted.
func TestChangedTopicIsFound(t *testing.T) {
	m := openForTest(t).metadata
	old, _, err := m.create(t.Context(), "t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.configureTopic(t.Context(), "t", false, func(*meta.Topic) (map[string]string, error) {
		return map[string]string{"retention.ms": "5"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.addPartitions(t.Context(), "t", 3, false); err != nil {
		t.Fatal(err)
	}
	l := m.liveTopic(old)
	if l == nil || l.config.RetentionMillis != 5 || l.partition(2) == nil || l != m.topic("t") {
		t.Fatalf("found %+v", l)
	}
	kept := 0
	m.live.Range(func(any, any) bool { kept++; return true })
	if kept != 1 {
		t.Errorf("%d descriptions of one topic are kept", kept)
	}
	if _, err := m.remove(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if m.liveTopic(old) != nil || m.liveTopic(l.Topic) != nil {
		t.Error("a deleted topic is found")
	}
}
