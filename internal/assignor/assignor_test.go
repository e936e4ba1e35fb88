package assignor

import "testing"

func TestFind(t *testing.T) {
	for _, name := range Names() {
		if assign, ok := Find(name); !ok || assign == nil {
			t.Errorf("Find(%q) finds nothing, though Names tells it", name)
		}
	}
	if _, ok := Find("sticky"); ok {
		t.Error("Find finds an assignor that Names does not tell")
	}
}
