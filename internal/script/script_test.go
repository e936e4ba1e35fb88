package script

import (
	"fmt"
	"strings"
	"testing"
)

// TestPlay: what stands behind "----" is replaced, all else is kept, and each block
// begins with nothing printed.
func TestPlay(t *testing.T) {
	src := "# why\nadd 2\nadd 3\n----\nsomething old\nmore of it\n\nadd 1\n----\n"
	want := "# why\nadd 2\nadd 3\n----\n2\n5\n\nadd 1\n----\n6\n"
	var printed strings.Builder
	sum := 0
	got := play(src, &printed, func(words []string) {
		if words[0] != "add" {
			t.Errorf("command %q", words)
		}
		n := 0
		_, _ = fmt.Sscan(words[1], &n)
		sum += n
		fmt.Fprintln(&printed, sum)
	})
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if says := diff(src, got); says != "line 5\nwant something old\ngot  2" {
		t.Errorf("diff says %q", says)
	}
}

// TestArgs tells words from options.
func TestArgs(t *testing.T) {
	a := Parse([]string{"A", "n=7", "orders/0=5", "wait=2s", "empty="})
	if strings.Join(a.Words, " ") != "A orders/0=5" || a.Num("n", 1) != 7 || a.Num("m", 1) != 1 ||
		a.Duration("wait", "1s").Seconds() != 2 || !a.Has("empty") || a.Str("empty", "x") != "" || a.Has("A") {
		t.Errorf("%+v", a)
	}
}
