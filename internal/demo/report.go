package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// report prints what remains of the day: findings, dead letters, and the check.
func report(out *output, findings []string, read reports, rows []row, t *Terminal) {
	lines := []styled{{}, {bold, "What the applications found:"}}
	for _, text := range findings {
		lines = append(lines, styled{normal, "  " + text})
	}
	for _, line := range slices.Concat(lines, letterLines(read.letters), checkLines(rows)) {
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
	refused := map[place][]letter{}
	for _, l := range letters {
		at := place{l.partition, l.offset}
		refused[at] = append(refused[at], l)
	}
	lines := []styled{
		{},
		{bold, fmt.Sprintf("Dead letters: %d lines are broken for one or more of the applications, which put them", len(refused))},
		{bold, fmt.Sprintf("into topic %s (%d records) and went on. Why, as the records' headers say:", deadLetterTopic, len(letters))},
	}
	lines = append(lines, reasons(letters)...)
	lines = append(lines, styled{}, styled{dim, "  INVOICE   PRODUCT   PIECES  REFUSED BY"})
	var table []styled
	for _, ls := range refused {
		line := ls[0].line
		table = append(table, styled{normal, fmt.Sprintf("  %-9s %-8s %7d  %s", line.Invoice, line.StockCode, line.Quantity, strings.Join(refusers(ls), ", "))})
	}
	slices.SortFunc(table, func(a, b styled) int { return cmp.Compare(a.text, b.text) })
	return append(lines, table...)
}

// reasons lists what each application objected to.
func reasons(letters []letter) (lines []styled) {
	for _, app := range refusers(letters) {
		said := map[string]bool{}
		for _, l := range letters {
			if l.app == app {
				said[l.reason] = true
			}
		}
		for _, reason := range slices.Sorted(maps.Keys(said)) {
			lines = append(lines, styled{normal, fmt.Sprintf("  %-16s %s", app, reason)})
		}
	}
	return lines
}

// refusers are the applications the letters come from, each once, in the order
// they are shown.
func refusers(letters []letter) []string {
	return slices.DeleteFunc(groups(), func(app string) bool {
		return !slices.ContainsFunc(letters, func(l letter) bool { return l.app == app })
	})
}

// checkLines is the table of numbers, and the verdict.
func checkLines(rows []row) []styled {
	lines := []styled{
		{},
		{bold, "The numbers found behind the broker, and computed from the file without one:"},
		{},
		{dim, fmt.Sprintf("  %-50s %14s %14s", "", "FOUND", "FROM THE FILE")},
	}
	for _, r := range rows {
		text := fmt.Sprintf("  %s%s %14s %14s", r.what, strings.Repeat(" ", max(0, 50-utf8.RuneCountInString(r.what))), r.found, r.want)
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
