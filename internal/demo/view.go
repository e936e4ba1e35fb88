package demo

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// view is what there is to see at one moment.
type view struct {
	elapsed   time.Duration
	in, lines int // lines acknowledged by the broker, of all
	groups    []groupView
	letters   int      // dead letters
	alerts    []string // newest last
	events    []string // newest last
}

type groupView struct {
	name           string
	processed, lag int
	members        []memberView
}

type memberView struct {
	name       string
	partitions []int32
	stopped    bool
}

// assigned tells whether every group has all partitions, and every member some.
func (v view) assigned() bool {
	for _, g := range v.groups {
		n := 0
		for _, m := range g.members {
			if len(m.partitions) == 0 {
				return false
			}
			n += len(m.partitions)
		}
		if n != partitions {
			return false
		}
	}
	return true
}

// styled is a line and how it is set off.
type styled struct{ sgr, text string }

// The styles, as parameters of the control sequence SGR.
const (
	normal = ""
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	green  = "32"
	yellow = "33"
)

const (
	shownEvents = 3
	barWidth    = 40
)

// frame is the live view. It has the same number of lines every time, so that it
// can be drawn over itself.
func (v view) frame() []styled {
	full := barWidth * v.in / max(v.lines, 1)
	lines := []styled{
		{bold, fmt.Sprintf("orders  %s%s  %s of %s lines in, %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full),
			number(v.in), number(v.lines), strings.TrimSpace(seconds(v.elapsed)))},
		{},
		{dim, fmt.Sprintf("%-16s %9s %7s  %s", "GROUP", "PROCESSED", "LAG", "MEMBERS AND THEIR PARTITIONS")},
	}
	for _, g := range v.groups {
		lines = append(lines, styled{normal, fmt.Sprintf("%-16s %9s %7s  %s", g.name, number(g.processed), number(g.lag), g.memberText())})
	}
	lines = append(lines, styled{}, styled{yellow, fmt.Sprintf("dead letters: %d (lines an application could not use, in topic %s)", v.letters, deadLetterTopic)},
		styled{}, styled{dim, "LATEST ALERTS"})
	lines = append(lines, newest(v.alerts, latestAlerts)...)
	lines = append(lines, styled{}, styled{dim, "WHAT HAPPENED"})
	return append(lines, newest(v.events, shownEvents)...)
}

func (g groupView) memberText() string {
	var parts []string
	for _, m := range g.members {
		switch {
		case len(m.partitions) > 0:
			parts = append(parts, m.name+": "+list(m.partitions))
		case m.stopped:
			parts = append(parts, m.name+": stopped")
		default:
			parts = append(parts, m.name+": none")
		}
	}
	return strings.Join(parts, "   ")
}

// newest is the last n texts, filled up to n lines.
func newest(texts []string, n int) []styled {
	texts = texts[max(0, len(texts)-n):]
	lines := make([]styled, n)
	for i, text := range texts {
		lines[i].text = text
	}
	return lines
}

// number has a comma between thousands.
func number(n int) string {
	text := strconv.Itoa(n)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(text) - 3; i > first; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func seconds(d time.Duration) string { return fmt.Sprintf("%4.1f s", d.Seconds()) }

// list names partitions.
func list(partitions []int32) string {
	if len(partitions) == 0 {
		return "none"
	}
	texts := make([]string, len(partitions))
	for i, p := range partitions {
		texts[i] = strconv.Itoa(int(p))
	}
	return strings.Join(texts, " ")
}
