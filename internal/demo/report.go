package demo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// report prints what remains of the day: the dead letters and the check.
func report(out *output, read reports, rows []row, t *Terminal) {
	for _, line := range append(letterLines(read.letters), checkLines(rows)...) {
		out.printf("%s\n", paint(t != nil && t.Color, line.sgr, line.text))
	}
}

// letterLines lists the lines that were refused, by whom and why.
func letterLines(letters []letter) []styled {
	if len(letters) == 0 {
		return []styled{{}, {bold, "No dead letters."}}
	}
	type place struct {
		partition int
		offset    int64
	}
	refusals := map[place][]letter{}
	reasons := map[string]bool{}
	for _, l := range letters {
		at := place{l.partition, l.offset}
		refusals[at] = append(refusals[at], l)
		reasons[fmt.Sprintf("  %-16s %s", l.app, l.reason)] = true
	}
	lines := []styled{
		{},
		{bold, fmt.Sprintf("Dead letters: %d lines of the file are broken for some application, which put them into", len(refusals))},
		{bold, fmt.Sprintf("topic %s (%d records) and went on. Why, from the records' headers:", deadLetterTopic, len(letters))},
	}
	for _, g := range groups() {
		for reason := range reasons {
			if strings.HasPrefix(strings.TrimSpace(reason), g+" ") {
				lines = append(lines, styled{normal, reason})
			}
		}
	}
	lines = append(lines, styled{}, styled{dim, "  INVOICE   PRODUCT   PIECES  REFUSED BY"})
	var table []styled
	for _, ls := range refusals {
		var by []string
		for _, g := range groups() {
			if slices.ContainsFunc(ls, func(l letter) bool { return l.app == g }) {
				by = append(by, g)
			}
		}
		line := ls[0].line
		table = append(table, styled{normal, fmt.Sprintf("  %-9s %-8s %7d  %s", line.Invoice, line.StockCode, line.Quantity, strings.Join(by, ", "))})
	}
	slices.SortFunc(table, func(a, b styled) int { return cmp.Compare(a.text, b.text) })
	return append(lines, table...)
}

// checkLines is the table of numbers, and the verdict.
func checkLines(rows []row) []styled {
	lines := []styled{
		{},
		{bold, "Found behind the broker, against computed from the file without one:"},
		{},
		{dim, fmt.Sprintf("  %-53s %16s %16s", "", "FOUND", "FROM THE FILE")},
	}
	for _, r := range rows {
		text := fmt.Sprintf("  %s%s %16s %16s", r.what, strings.Repeat(" ", max(0, 53-utf8.RuneCountInString(r.what))), r.found, r.want)
		if r.ok {
			lines = append(lines, styled{normal, text + "  ok"})
		} else {
			lines = append(lines, styled{red, text + "  WRONG"})
		}
	}
	verdict := styled{green, fmt.Sprintf("All %d numbers agree: nothing was lost, nothing was counted twice.", len(rows))}
	if n := wrong(rows); n > 0 {
		verdict = styled{red, fmt.Sprintf("WRONG: %d of %d numbers differ from the file.", n, len(rows))}
	}
	return append(lines, styled{}, verdict)
}
