package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Terminal is what is known of the terminal that Config.Out is.
type Terminal struct {
	Color bool
	Size  func() (columns, rows int) // asked again for every frame; 0 if not known
}

// screen shows the run to whoever looks on.
type screen interface {
	say(at time.Duration, text string) // something happened
	show(v view)
	close() // may be called again
}

func newScreen(out *output, t *Terminal, lines int) screen {
	if t == nil {
		return &plain{out: out, step: lines / 4, next: lines / 4}
	}
	return &live{out: out, terminal: t}
}

// output remembers the first error of writing: there is no use in going on, and
// no place to check at every line.
type output struct {
	w   io.Writer
	err error
}

func (o *output) printf(format string, args ...any) {
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.w, format, args...)
	}
}

// plain writes one line for each thing that happens, without control sequences.
type plain struct {
	out        *output
	step, next int // lines in between two reports of progress, and at the next
}

func (p *plain) say(at time.Duration, text string) { p.out.printf("%s  %s\n", seconds(at), text) }

func (p *plain) show(v view) {
	if v.in < p.next || v.in == v.lines {
		return
	}
	p.next = (v.in/p.step + 1) * p.step
	var parts []string
	for _, g := range v.groups {
		parts = append(parts, g.name+" "+number(g.processed))
	}
	p.say(v.elapsed, fmt.Sprintf("%s of %s lines in; processed by %s; dead letters %d", number(v.in), number(v.lines), strings.Join(parts, ", "), v.letters))
}

func (p *plain) close() {}

// live draws the newest view over the last one.
type live struct {
	out      *output
	terminal *Terminal
	drawn    int // lines of the last frame, with the cursor below them
	hidden   bool
}

// What moves the cursor of every terminal (ECMA-48).
const (
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
	cursorUpFmt = "\r\x1b[%dA"
)

func (l *live) say(time.Duration, string) {} // the view has it

func (l *live) show(v view) {
	columns, rows := l.terminal.Size()
	lines := v.frame()
	if rows > 0 {
		lines = lines[:min(len(lines), rows-1)] // what scrolls away cannot be drawn over
	}
	var b strings.Builder
	if !l.hidden {
		l.hidden = true
		b.WriteString(hideCursor)
	}
	if l.drawn > 0 {
		fmt.Fprintf(&b, cursorUpFmt, l.drawn)
	}
	for _, line := range lines {
		b.WriteString(paint(l.terminal.Color, line.sgr, clip(line.text, columns)) + clearLine + "\n")
	}
	b.WriteString(clearBelow)
	l.drawn = len(lines)
	l.out.printf("%s", b.String())
}

func (l *live) close() {
	if l.hidden {
		l.hidden = false
		l.out.printf("%s", showCursor)
	}
}

// clip keeps a line from wrapping, which would spoil the count of lines.
func clip(text string, columns int) string {
	runes := []rune(text)
	if columns <= 1 || len(runes) < columns {
		return text
	}
	return string(runes[:columns-2]) + "…"
}

// paint sets a text off, if colours are wanted.
func paint(color bool, sgr, text string) string {
	if !color || sgr == "" || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[m"
}
