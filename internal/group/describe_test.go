package group

import "testing"

// TestFilterOf: case and blanks do not count, no words let all pass, and words that
// name nothing let nothing pass.
func TestFilterOf(t *testing.T) {
	for _, c := range []struct {
		words  []string
		stable bool
		empty  bool
	}{
		{nil, true, true},
		{[]string{}, true, true},
		{[]string{"stable"}, true, false},
		{[]string{" STABLE ", "x"}, true, false},
		{[]string{"Empty", "Stable"}, true, true},
		{[]string{""}, false, false},
	} {
		f := FilterOf(c.words)
		if f.passes(string(Stable)) != c.stable || f.passes(string(Empty)) != c.empty {
			t.Errorf("%q: Stable %v, Empty %v", c.words, f.passes(string(Stable)), f.passes(string(Empty)))
		}
	}
}
