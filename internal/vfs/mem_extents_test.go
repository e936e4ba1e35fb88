package vfs

import (
	"testing"

	"pgregory.net/rapid"
)

func TestExtentsAgainstSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e extents
		set := map[int64]bool{}
		page := rapid.Int64Range(0, 40)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				from := page.Draw(t, "from")
				to := from + 1 + page.Draw(t, "more")
				var missing int64
				for i := from; i < to; i++ {
					if !set[i] {
						missing++
					}
					set[i] = true
				}
				if got := e.missing(from, to); got != missing {
					t.Fatalf("missing(%d, %d) = %d, want %d in %v", from, to, got, missing, e)
				}
				e.add(from, to)
			},
			"cut": func(t *rapid.T) {
				from := page.Draw(t, "from")
				before := e.count()
				for i := range set {
					if i >= from {
						delete(set, i)
					}
				}
				if got := e.cut(from); got != before-int64(len(set)) {
					t.Fatalf("cut(%d) = %d, want %d", from, got, before-int64(len(set)))
				}
			},
			"": func(t *rapid.T) {
				if e.count() != int64(len(set)) {
					t.Fatalf("%d pages in %v, want %d", e.count(), e, len(set))
				}
				for i, x := range e {
					if x.from >= x.to || i > 0 && e[i-1].to >= x.from {
						t.Fatalf("ranges touch or are empty: %v", e)
					}
				}
			},
		})
	})
}
