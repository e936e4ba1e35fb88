package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weirstream/weir/internal/demo/shop"
)

// answers are the numbers of the day, from behind the broker or from the file.
type answers struct {
	totals    shop.Totals
	low       []string       // products below the reorder point, sorted
	bursts    []string       // customers, sorted
	committed map[string]int // lines that each group has committed

	// What the topics of alerts hold.
	announcedLow     []string // those of low that an alert was about, sorted
	announcedReturns int
	announcedBursts  []string
}

// expected computes the answers from the lines alone.
func expected(lines []shop.Line) answers {
	s, f := shop.NewStock(), shop.NewFraud()
	for _, l := range lines {
		_, _, _ = s.Add(l) // what they refuse is counted by shop.Expected
		_, _, _ = f.Add(l)
	}
	a := answers{totals: shop.Expected(lines), low: slices.Sorted(slices.Values(s.Low())), bursts: f.Bursts(), committed: map[string]int{}}
	for _, g := range groups() {
		a.committed[g] = len(lines)
	}
	a.announcedLow, a.announcedReturns, a.announcedBursts = a.low, a.totals.LargeReturns, a.bursts
	return a
}

// found puts together what the stopped applications hold and have reported.
// What only the broker knows (offsets) is left for the caller to add.
func found(apps *applications, read reports) answers {
	a := answers{
		totals: shop.Total(apps.stock.Stock, apps.fraud.Fraud, apps.baskets.Baskets),
		low:    slices.Sorted(slices.Values(apps.stock.Low())), bursts: apps.fraud.Bursts(), committed: map[string]int{},
	}
	about := map[string]bool{}
	for _, alert := range read.stock {
		if slices.Contains(a.low, alert.StockCode) { // others were reported, and came back
			about[alert.StockCode] = true
		}
	}
	a.announcedLow = slices.Sorted(maps.Keys(about))
	for _, alert := range read.fraud {
		switch alert.Kind {
		case kindReturn:
			a.announcedReturns++
		case kindBurst:
			a.announcedBursts = append(a.announcedBursts, alert.Customer)
		}
	}
	slices.Sort(a.announcedBursts)
	for _, l := range read.letters {
		switch l.app {
		case stockGroup:
			a.totals.BadStock++
		case fraudGroup:
			a.totals.BadFraud++
		case recommendGroup:
			a.totals.BadBaskets++
		}
	}
	return a
}

// findings is what each application has to say at the end of its day.
func findings(apps *applications, a answers) []string {
	name := apps.baskets.Name
	said := []string{"no product runs low", "no large return", "nothing was bought together"}
	if low := apps.stock.Low(); len(low) > 0 {
		said[0] = fmt.Sprintf("%d products run low, first of all %s (%s)", len(low), name(low[0]), low[0])
	}
	if a.totals.LargeReturns > 0 {
		said[1] = fmt.Sprintf("%d large returns; customers with many invoices at once: %s", a.totals.LargeReturns, strings.Join(a.bursts, " "))
	}
	if t := a.totals; t.TopCount > 0 {
		said[2] = fmt.Sprintf("%s + %s (%d invoices)", name(t.TopPair.First), name(t.TopPair.Second), t.TopCount)
	}
	for i, g := range groups() {
		said[i] = fmt.Sprintf("%-16s %s", g, said[i])
	}
	return said
}

// row is one number of the check.
type row struct {
	what        string
	found, want string
	ok          bool
}

func count(what string, found, want int) row {
	return row{what, number(found), number(want), found == want}
}

func set(what string, found, want []string) row {
	r := count(what, len(found), len(want))
	if r.ok && !slices.Equal(found, want) {
		r.ok = false
		r.found += " (others)"
	}
	return r
}

// compare lists each number as found and as wanted.
func compare(found, want answers) []row {
	f, w := found.totals, want.totals
	rows := []row{count("lines in topic "+orders.Name, f.Lines, w.Lines)}
	for _, g := range groups() {
		rows = append(rows, count("lines processed and committed by "+g, found.committed[g], want.committed[g]))
	}
	top := count("invoices with the pair bought together most often", f.TopCount, w.TopCount)
	if top.ok && f.TopPair != w.TopPair {
		top.ok, top.found = false, top.found+" (another)"
	}
	return append(rows,
		count("pieces sold, less what was returned", f.Pieces, w.Pieces),
		set(fmt.Sprintf("products with less than %d pieces left", shop.ReorderPoint), found.low, want.low),
		set("  of these, announced in topic "+stockAlerts.Name, found.announcedLow, want.announcedLow),
		count(fmt.Sprintf("returns of %d pounds or more", shop.LargeReturnPence/100), f.LargeReturns, w.LargeReturns),
		count("  announced in topic "+fraudAlerts.Name, found.announcedReturns, want.announcedReturns),
		set(fmt.Sprintf("customers with %d invoices within an hour", shop.BurstInvoices), found.bursts, want.bursts),
		set("  announced in topic "+fraudAlerts.Name, found.announcedBursts, want.announcedBursts),
		count("pairs of products bought together", f.Pairs, w.Pairs),
		top,
		count("dead letters of stock", f.BadStock, w.BadStock),
		count("dead letters of fraud", f.BadFraud, w.BadFraud),
		count("dead letters of recommendations", f.BadBaskets, w.BadBaskets),
	)
}

func wrong(rows []row) (n int) {
	for _, r := range rows {
		if !r.ok {
			n++
		}
	}
	return n
}
