package group

import "testing"

// TestFilters: case does not count, no words let all pass, and words that name nothing
// let nothing pass. Blanks count in types only, as in Kafka.
func TestFilters(t *testing.T) {
	for _, c := range []struct {
		words                []string
		stable, empty        bool
		classic, andConsumer bool
	}{
		{nil, true, true, true, true},
		{[]string{}, true, true, true, true},
		{[]string{"stable", "CLASSIC"}, true, false, true, false},
		{[]string{" STABLE ", "\tclassic", "x"}, true, false, false, false},
		{[]string{"Empty", "Stable", "consumer ", "Classic"}, true, true, true, false},
		{[]string{"Consumer", "classic"}, false, false, true, true},
		{[]string{""}, false, false, false, false},
		{[]string{"unknown", "share"}, false, false, false, false},
	} {
		f := StateFilter(c.words)
		if f.passes(string(Stable)) != c.stable || f.passes(string(Empty)) != c.empty {
			t.Errorf("states %q: Stable %v, Empty %v", c.words, f.passes(string(Stable)), f.passes(string(Empty)))
		}
		f = TypeFilter(c.words)
		if f.passes("classic") != c.classic || f.passes("consumer") != c.andConsumer {
			t.Errorf("types %q: classic %v, consumer %v", c.words, f.passes("classic"), f.passes("consumer"))
		}
	}
}
