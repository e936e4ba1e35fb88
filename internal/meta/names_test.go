package meta

import (
	"errors"
	"strings"
	"testing"
)

func TestTopicNames(t *testing.T) {
	for _, name := range []string{"a", "A.b_c-9", "...", "_", strings.Repeat("x", MaxTopicName), OffsetsTopic} {
		if err := CheckTopicName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", strings.Repeat("x", MaxTopicName+1), "a b", "a/b", "ä", "a\x00", "a:b", "a\n", `a\b`, "a*"} {
		if err := CheckTopicName(name); !errors.Is(err, ErrInvalidTopic) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestInternalNames(t *testing.T) {
	for name, want := range map[string]bool{
		"__consumer_offsets": true, "__transaction_state": true, "__cluster_metadata": true, "__mine": false, "orders": false,
	} {
		if IsInternal(name) != want {
			t.Errorf("%s: internal is %v", name, !want)
		}
	}
}

func TestIDs(t *testing.T) {
	s := FormatID(id(7))
	if got, err := ParseID(s); err != nil || got != id(7) || len(s) != 22 {
		t.Errorf("%s is %v, %v", s, got, err)
	}
	for _, bad := range []string{"", "qgAA", s + "A", s[:21] + "=", s[:21] + "B", "!" + s[1:]} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}
