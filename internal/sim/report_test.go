package sim

import (
	"strings"
	"testing"
	"time"
)

// TestTable: a report tells what was done, judged and found.
func TestTable(t *testing.T) {
	l := NewLedger(Sync)
	for _, e := range append(healthyTxns(), with(healthy(), CommitSeen{"g", p0, 4, 6})...) {
		l.Add(e)
	}
	l.Finish()
	r := &Report{Name: "a run", Checked: 3, Recovery: []time.Duration{time.Second}}
	r.Fault("kill")
	r.Take(l)
	r.Take(l) // another run of the same kind
	text := Table([]*Report{r})
	for _, want := range []string{"a run", "kill 1", "1000/1000/1", "g: 4 commits", "6 offsets seen", "4 starts, 16 records delivered",
		"transactions: 6 committed, 4 aborted (0 abandoned, 4 without an answer), 14 requests to end (2 stale), 2 fenced (2 records refused), 10 records shown, 6 copied; 0 torn",
		"right after 3 of the restarts", "committed-offset-fell: 2"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if r.Found() != 2 {
		t.Errorf("%d anomalies, want 2", r.Found())
	}
}
