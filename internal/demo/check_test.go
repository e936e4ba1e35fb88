package demo

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/internal/demo/shop"
)

func expectedOfTheDay(t *testing.T) answers {
	t.Helper()
	lines, err := shop.Day()
	if err != nil {
		t.Fatal(err)
	}
	return expected(lines)
}

// TestEveryNumberCanBeWrong falsifies one number after the other: the rows that
// show it, and no others, must say so.
func TestEveryNumberCanBeWrong(t *testing.T) {
	want := expectedOfTheDay(t)
	other := func(list []string) []string { return append([]string{"another"}, list[1:]...) }
	for _, c := range []struct {
		row     string
		falsify func(*answers)
	}{
		{"lines in topic", func(a *answers) { a.totals.Lines++ }},
		{"committed by stock", func(a *answers) { a.committed[stockGroup]-- }},
		{"committed by fraud", func(a *answers) { a.committed[fraudGroup] = 0 }},
		{"committed by recommendations", func(a *answers) { delete(a.committed, recommendGroup) }},
		{"pieces sold", func(a *answers) { a.totals.Pieces-- }},
		{"less than 50 pieces", func(a *answers) { a.low = a.low[1:] }},
		{"less than 50 pieces", func(a *answers) { a.low = other(a.low) }},
		{"stock-alerts", func(a *answers) { a.announcedLow = a.announcedLow[1:] }},
		{"stock-alerts", func(a *answers) { a.announcedLow = other(a.announcedLow) }},
		{"returns of 15", func(a *answers) { a.totals.LargeReturns++ }},
		{"fraud-alerts", func(a *answers) { a.announcedReturns++ }},
		{"customers with", func(a *answers) { a.bursts = nil }},
		{"customers with", func(a *answers) { a.bursts = other(a.bursts) }},
		{"fraud-alerts", func(a *answers) { a.announcedBursts = append(a.announcedBursts[:1:1], a.announcedBursts...) }},
		{"pairs of products", func(a *answers) { a.totals.Pairs-- }},
		{"invoices with the pair", func(a *answers) { a.totals.TopCount++ }},
		{"invoices with the pair", func(a *answers) { a.totals.TopPair.First = "another" }},
		{"dead letters of stock", func(a *answers) { a.totals.BadStock++ }},
		{"dead letters of fraud", func(a *answers) { a.totals.BadFraud = 0 }},
		{"dead letters of recommendations", func(a *answers) { a.totals.BadBaskets-- }},
	} {
		got := want
		got.committed = maps.Clone(want.committed)
		if rows := compare(got, want); wrong(rows) != 0 {
			t.Fatalf("the file disagrees with itself: %v", rows)
		}
		c.falsify(&got)
		rows := compare(got, want)
		for _, r := range rows {
			if !r.ok && (!strings.Contains(r.what, c.row) || r.found == r.want) {
				t.Errorf("falsified %q: %+v is wrong", c.row, r)
			}
		}
		if wrong(rows) != 1 {
			t.Errorf("falsified %q: %d rows are wrong, want 1", c.row, wrong(rows))
		}
	}
}

func TestFoundCountsWhatWasReported(t *testing.T) {
	apps := newApplications()
	sell := func(code string, pieces int) {
		if _, _, err := apps.stock.Add(shop.Line{StockCode: code, Quantity: pieces, PricePence: 1}); err != nil {
			t.Fatal(err)
		}
	}
	sell("low", 240)
	sell("silent", 240)
	sell("back", 240)
	sell("back", -200)
	got := found(apps, reports{
		stock: []stockAlert{{StockCode: "low"}, {StockCode: "back"}, {StockCode: "low"}},
		fraud: []fraudAlert{{Kind: kindBurst, Customer: "b"}, {Kind: kindReturn, Customer: "r"}, {Kind: kindBurst, Customer: "a"}, {Kind: "unknown"}},
		letters: []letter{
			{app: stockGroup}, {app: stockGroup}, {app: fraudGroup}, {app: recommendGroup}, {app: "someone"},
		},
	})
	want := answers{
		totals: shop.Totals{Pieces: 520, LowStock: 2, BadStock: 2, BadFraud: 1, BadBaskets: 1},
		low:    []string{"low", "silent"}, committed: map[string]int{},
		announcedLow: []string{"low"}, announcedReturns: 1, announcedBursts: []string{"a", "b"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answers{})); diff != "" {
		t.Error(diff)
	}
}

func TestReportSaysWrong(t *testing.T) {
	rows := []row{count("these", 1, 1), count("those", 2, 3)}
	var out bytes.Buffer
	report(&output{w: &out}, nil, reports{}, rows, &Terminal{Color: true})
	for _, want := range []string{"No dead letters.", "\x1b[1;31m  those ", "  WRONG\x1b[m\n", "WRONG: 1 of 2 numbers differ"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "agree") {
		t.Errorf("it says that the numbers agree:\n%s", out.String())
	}
}

func TestFindingsOfAnEmptyDay(t *testing.T) {
	apps := newApplications()
	got := findings(apps, found(apps, reports{}))
	want := []string{
		"stock            no product runs low",
		"fraud            no large return",
		"recommendations  nothing was bought together",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadLetter(t *testing.T) {
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	whole := []kgo.RecordHeader{
		header(headerApp, "an older one"), // the record was a dead letter before
		header(headerApp, fraudGroup), header(headerMessage, "why"), header(headerPartition, "3"), header(headerOffset, "41"),
	}
	got, err := readLetter(&kgo.Record{Headers: whole, Value: []byte(`{"invoice":"7"}`)})
	want := letter{app: fraudGroup, reason: "why", partition: 3, offset: 41, line: shop.Line{Invoice: "7"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(letter{})); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for name, rec := range map[string]*kgo.Record{
		"no headers":       {Value: []byte(`{}`)},
		"a bad offset":     {Headers: append(whole[:4:4], header(headerOffset, "x")), Value: []byte(`{}`)},
		"not JSON":         {Headers: whole, Value: []byte(`{`)},
		"without a value":  {Headers: whole},
		"a bad partition":  {Headers: append(whole[:5:5], header(headerPartition, "-")), Value: []byte(`{}`)},
		"of another shape": {Headers: whole, Value: []byte(`[]`)},
	} {
		if _, err := readLetter(rec); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestForeignRecords: what others write into the topics ends in an error that
// names the place, not in a number.
func TestForeignRecords(t *testing.T) {
	for _, topic := range []string{stockAlerts.Name, fraudAlerts.Name, deadLetterTopic} {
		r := &reader{changed: make(chan struct{}, 1)}
		r.mu.read = map[string]int64{}
		r.take(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: topic, Partitions: []kgo.FetchPartition{{
			Records: []*kgo.Record{{Topic: topic, Offset: 5, Value: []byte("no JSON")}},
		}}}}}})
		if r.mu.err == nil || !strings.Contains(r.mu.err.Error(), topic+" offset 5") {
			t.Errorf("%s: %v", topic, r.mu.err)
		}
	}
}

func TestLettersTable(t *testing.T) {
	line := shop.Line{Invoice: "536589", StockCode: "21777", Quantity: -10}
	var got []string
	for _, l := range letterLines([]letter{
		{app: recommendGroup, reason: "r2", partition: 1, offset: 7, line: line},
		{app: stockGroup, reason: "r1", partition: 1, offset: 7, line: line},
		{app: stockGroup, reason: "r0", partition: 2, offset: 7, line: shop.Line{Invoice: "1", StockCode: "A", Quantity: 1}},
		{app: stockGroup, reason: "r1", partition: 1, offset: 7, line: line}, // once more
	}) {
		got = append(got, l.text)
	}
	want := []string{
		"",
		"Dead letters: 2 lines are broken for one or more of the applications, which put them",
		"into topic orders.dlq (4 records) and went on. Why, as the records' headers say:",
		"  stock            r0",
		"  stock            r1",
		"  recommendations  r2",
		"",
		"  INVOICE   PRODUCT   PIECES  REFUSED BY",
		"  1         A              1  stock",
		"  536589    21777        -10  stock, recommendations",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAlertSentences(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{stockAlert{"A1", "LAMP", 12}.String(), "stock: 12 pieces left of LAMP (A1), time to reorder"},
		{stockAlert{"A1", "LAMP", -3}.String(), "stock: 3 pieces too few of LAMP (A1), time to reorder"},
		{fraudAlert{Kind: kindReturn, Customer: "7", Invoice: "C9", Pence: 1705}.String(), "fraud: customer 7 returns goods for 17.05 pounds (invoice C9)"},
		{fraudAlert{Kind: kindBurst, Customer: "7"}.String(), "fraud: customer 7 has 3 invoices within an hour"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
