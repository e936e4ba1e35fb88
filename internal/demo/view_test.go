package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir/broker/brokertest"
)

func midday() view {
	return view{
		elapsed: 3400 * time.Millisecond, in: 1554, lines: 3108,
		groups: []groupView{
			{name: stockGroup, processed: 1550, lag: 4, members: []memberView{
				{name: "stock-1", partitions: []int32{0, 1, 2, 3, 4, 5}}, {name: "stock-2", stopped: true},
			}},
			{name: fraudGroup, processed: 1554, members: []memberView{{name: "fraud-1", partitions: []int32{0, 1, 2, 3, 4, 5}}}},
			{name: recommendGroup, members: []memberView{{name: "recommendations-1"}}},
		},
		letters: 2,
		alerts:  []string{"a1", "a2", "a3", "a4", "a5", "a6"},
		events:  []string{"e1", "e2"},
	}
}

func TestFrame(t *testing.T) {
	var got strings.Builder
	for _, line := range midday().frame() {
		got.WriteString(line.text + "\n")
	}
	want := `orders  ████████████████████░░░░░░░░░░░░░░░░░░░░  1,554 of 3,108 lines in, 3.4 s

GROUP            PROCESSED     LAG  MEMBERS AND THEIR PARTITIONS
stock                1,550       4  stock-1: 0 1 2 3 4 5   stock-2: stopped
fraud                1,554       0  fraud-1: 0 1 2 3 4 5
recommendations          0       0  recommendations-1: none

dead letters: 2 (lines an application could not use, in topic orders.dlq)

LATEST ALERTS
a2
a3
a4
a5
a6

WHAT HAPPENED
e1
e2

`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
}

func TestAssigned(t *testing.T) {
	all, left, right := []int32{0, 1, 2, 3, 4, 5}, []int32{0, 1, 2}, []int32{3, 4, 5}
	for _, c := range []struct {
		name string
		of   [][]int32
		want bool
	}{
		{"one has all", [][]int32{all}, true},
		{"two share", [][]int32{left, right}, true},
		{"one of two has all", [][]int32{all, nil}, false},
		{"one of two has not got its part", [][]int32{left, nil}, false},
		{"nobody has any", [][]int32{nil}, false},
		{"a part is nobody's", [][]int32{left, {3, 4}}, false},
	} {
		g := groupView{}
		for _, p := range c.of {
			g.members = append(g.members, memberView{partitions: p})
		}
		if got := (view{groups: []groupView{g}}).assigned(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// screenshot plays output to a terminal that knows what live uses, and returns
// the lines that are to be seen.
func screenshot(t *testing.T, output string, columns int) (lines []string, cursorShown bool) {
	t.Helper()
	cursorShown = true
	lines, at := []string{""}, 0
	sequence := regexp.MustCompile(`^\x1b\[\??(\d*(?:;\d+)*)([A-Za-z])`)
	for i := 0; i < len(output); {
		if m := sequence.FindStringSubmatch(output[i:]); m != nil {
			switch m[2] {
			case "A":
				n, err := strconv.Atoi(m[1])
				if err != nil || n > at {
					t.Fatalf("the cursor is moved up by %q, from line %d", m[1], at)
				}
				at -= n
				lines[at] = "" // a line is written whole
			case "J":
				lines = lines[:at+1]
			case "h", "l":
				cursorShown = m[2] == "h"
			case "K", "m":
			default:
				t.Fatalf("unknown sequence %q", m[0])
			}
			i += len(m[0])
			continue
		}
		r, size := utf8.DecodeRuneInString(output[i:])
		i += size
		switch r {
		case '\r':
		case '\n':
			if at++; at == len(lines) {
				lines = append(lines, "")
			}
			lines[at] = ""
		default:
			lines[at] += string(r)
			if n := utf8.RuneCountInString(lines[at]); n >= columns {
				t.Fatalf("a line of %d columns wraps at %d: %s", n, columns, lines[at])
			}
		}
	}
	return lines, cursorShown
}

func TestLiveDrawsOverItself(t *testing.T) {
	const columns, rows = 50, 12
	for _, color := range []bool{false, true} {
		var out bytes.Buffer
		l := newScreen(&output{w: &out}, &Terminal{Color: color, Size: func() (int, int) { return columns, rows }}, 3108)
		v := midday()
		l.say(0, "the view has it")
		l.show(v)
		first, shown := screenshot(t, out.String(), columns)
		if shown || len(first) > rows {
			t.Errorf("after a frame the cursor is shown: %v; %d lines on %d rows", shown, len(first), rows)
		}
		v.in, v.groups[0].processed = 3108, 3108
		l.show(v)
		l.close()
		l.close()
		second, shown := screenshot(t, out.String(), columns)
		if !shown || len(second) != len(first) {
			t.Errorf("at the end the cursor is shown: %v; %d lines, then %d", shown, len(first), len(second))
		}
		if !strings.Contains(second[3], "3,108") || strings.Contains(strings.Join(second, "\n"), "1,550") {
			t.Errorf("the last frame is not the newest:\n%s", strings.Join(second, "\n"))
		}
		if got := regexp.MustCompile(`\x1b\[[0-9;]*m`).MatchString(out.String()); got != color {
			t.Errorf("colours: %v, want %v", got, color)
		}
	}
}

// TestLiveDay is the day as somebody sees it on a terminal: it ends with the
// cursor, with every number, and with all that a plain run says at the end.
func TestLiveDay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := day(t.Context(), brokertest.Start(t), &out, &Terminal{Size: func() (int, int) { return 100, 30 }}); err != nil {
			t.Errorf("Run: %v", err)
		}
		lines, shown := screenshot(t, out.String(), 100)
		text := strings.Join(lines, "\n")
		for _, want := range []string{"3,108 of 3,108 lines in", "stock-2: stopped", "dead letters: 21 ", "moved to stock-1 within", "All 16 numbers agree"} {
			if strings.Count(text, want) != 1 {
				t.Errorf("%d times %q, want once", strings.Count(text, want), want)
			}
		}
		if !shown {
			t.Errorf("the cursor is gone:\n%s", text)
		}
	})
}

// TestLiveInterrupted: the cursor comes back whatever ends the run.
func TestLiveInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, interrupt := context.WithCancel(t.Context())
		err := day(ctx, brokertest.Start(t), &watcher{w: &out, for_: "stopping", then: interrupt}, &Terminal{Size: func() (int, int) { return 0, 0 }})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v, want context.Canceled", err)
		}
		if !strings.HasSuffix(out.String(), showCursor) {
			t.Error("the cursor is not shown at the end")
		}
	})
}

// TestLiveShrinks: a smaller frame leaves nothing of the larger one.
func TestLiveShrinks(t *testing.T) {
	var out bytes.Buffer
	rows := 24
	l := newScreen(&output{w: &out}, &Terminal{Size: func() (int, int) { return 100, rows }}, 3108)
	l.show(midday())
	rows = 6
	l.show(midday())
	lines, _ := screenshot(t, out.String(), 100)
	if len(lines) != rows {
		t.Errorf("%d lines on %d rows:\n%s", len(lines), rows, strings.Join(lines, "\n"))
	}
}

func TestPlainTellsProgressByQuarters(t *testing.T) {
	var out bytes.Buffer
	p := newScreen(&output{w: &out}, nil, 100)
	for in := 0; in <= 100; in += 5 {
		p.show(view{in: in, lines: 100, elapsed: time.Second})
	}
	p.close()
	var got []string
	for _, m := range regexp.MustCompile(`(\d+) of 100 lines in`).FindAllStringSubmatch(out.String(), -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff([]string{"25", "50", "75"}, got); diff != "" || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%s\n%q", diff, out.String())
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 29086: "29,086", 1234567: "1,234,567", -350: "-350", -1350: "-1,350"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		text    string
		columns int
		want    string
	}{
		{"short", 80, "short"},
		{"12345", 6, "12345"},
		{"123456", 6, "1234…"}, // the last column stays free: some terminals wrap there
		{"██████", 6, "████…"},
		{"unknown width", 0, "unknown width"},
	} {
		if got := clip(c.text, c.columns); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.text, c.columns, got, c.want)
		}
	}
}

func TestListOfPartitions(t *testing.T) {
	if got := fmt.Sprint(list(nil), "; ", list([]int32{0, 3, 12})); got != "none; 0 3 12" {
		t.Error(got)
	}
}
