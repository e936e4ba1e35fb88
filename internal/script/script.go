package script

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata print into them")

// Run runs testdata/*.txt, at least so many, each as a test of its own. For each it calls
// start, which is given what to print to and returns what does a command.
func Run(t *testing.T, least int, start func(t *testing.T, out *strings.Builder) func(words []string)) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) < least {
		t.Fatalf("%d scripts in testdata, want at least %d (%v)", len(names), least, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var printed strings.Builder
			got := play(string(src), &printed, start(t, &printed))
			if *rewrite {
				if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(src) {
				t.Errorf("%s prints something else (see with -rewrite):\n%s", name, diff(string(src), got))
			}
		})
	}
}

// play returns the script with what its commands print now.
func play(src string, printed *strings.Builder, do func(words []string)) string {
	var out strings.Builder
	inOutput := false
	for in := bufio.NewScanner(strings.NewReader(src)); in.Scan(); {
		line := in.Text()
		switch {
		case line == "":
			inOutput = false
			out.WriteString("\n")
		case inOutput:
		case line == "----":
			inOutput = true
			out.WriteString(line + "\n" + printed.String())
			printed.Reset()
		default:
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				do(strings.Fields(line))
			}
		}
	}
	return out.String()
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

// Args are the words of a command behind its name, and its options.
type Args struct {
	Words   []string
	Options map[string]string
}

// Parse tells options from words. A word such as topic/0=5 is no option.
func Parse(words []string) Args {
	a := Args{Options: map[string]string{}}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok && !strings.Contains(k, "/") {
			a.Options[k] = v
		} else {
			a.Words = append(a.Words, w)
		}
	}
	return a
}

// Has tells whether the option is there.
func (a Args) Has(key string) bool { _, ok := a.Options[key]; return ok }

// Str is the option, or def.
func (a Args) Str(key, def string) string {
	if v, ok := a.Options[key]; ok {
		return v
	}
	return def
}

// Num is the option as a number, or def. It panics when it is none.
func (a Args) Num(key string, def int) int {
	n, err := strconv.Atoi(a.Str(key, strconv.Itoa(def)))
	if err != nil {
		panic(err)
	}
	return n
}

// Duration is the option as a duration, or def. It panics when it is none.
func (a Args) Duration(key, def string) time.Duration {
	d, err := time.ParseDuration(a.Str(key, def))
	if err != nil {
		panic(err)
	}
	return d
}
