package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what one fault run did and found.
type Report struct {
	Name      string
	Faults    map[string]int // by kind
	Acked     int            // records
	Sent      int64          // bytes, where records are not counted
	Groups    map[string]GroupCount
	Txns      TxnCount
	Checked   int             // restarts after which the groups' offsets were asked for at once
	Lost      int             // acknowledged records that are gone and that no promise covered
	Recovery  []time.Duration // from start to listening, after a fault
	Return    []time.Duration // from space to the first acknowledgement
	Anomalies map[Kind]int
	First     []Anomaly
	Took      time.Duration
}

// Fault counts one fault.
func (r *Report) Fault(kind string) {
	if r.Faults == nil {
		r.Faults = map[string]int{}
	}
	r.Faults[kind]++
}

// Take takes the ledger's findings in.
func (r *Report) Take(l *Ledger) {
	if r.Anomalies == nil {
		r.Anomalies = map[Kind]int{}
	}
	for kind, n := range l.Counts() {
		r.Anomalies[kind] += n
	}
	r.First = append(r.First, l.First()...)
	r.Acked += l.Acked()
	if r.Groups == nil {
		r.Groups = map[string]GroupCount{}
	}
	for name, c := range l.Groups() {
		r.Groups[name] = r.Groups[name].plus(c)
	}
	r.Txns = r.Txns.plus(l.Transactions())
	r.Lost += l.Lost()
}

// Found is the number of anomalies.
func (r *Report) Found() int {
	n := 0
	for _, c := range r.Anomalies {
		n += c
	}
	return n
}

// Percentile of durations, p from 0 to 100; 0 if there are none.
func Percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	s := slices.Clone(all)
	slices.Sort(s)
	return s[min(len(s)-1, len(s)*p/100)]
}

func (c GroupCount) plus(d GroupCount) GroupCount {
	return GroupCount{c.Commits + d.Commits, c.Unanswered + d.Unanswered, c.Refused + d.Refused, c.Seen + d.Seen,
		c.Owned + d.Owned, c.Started + d.Started, c.Delivered + d.Delivered}
}

func (c GroupCount) String() string {
	return fmt.Sprintf("%d commits (and %d refused, %d without an answer), %d offsets seen, %d owners, %d starts, %d records delivered",
		c.Commits, c.Refused, c.Unanswered, c.Seen, c.Owned, c.Started, c.Delivered)
}

func (c TxnCount) plus(d TxnCount) TxnCount {
	return TxnCount{c.Committed + d.Committed, c.Aborted + d.Aborted, c.Unanswered + d.Unanswered, c.Abandoned + d.Abandoned,
		c.Ends + d.Ends, c.Stale + d.Stale, c.Fenced + d.Fenced, c.Refused + d.Refused, c.Shown + d.Shown, c.Copied + d.Copied}
}

func (c TxnCount) String() string {
	return fmt.Sprintf("%d committed, %d aborted (%d abandoned, %d without an answer), %d requests to end (%d stale), %d fenced (%d records refused), %d records shown, %d copied",
		c.Committed, c.Aborted, c.Abandoned, c.Unanswered, c.Ends, c.Stale, c.Fenced, c.Refused, c.Shown, c.Copied)
}

// Table prints reports, one a line.
func Table(reports []*Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s %9s %9s  %-21s %-8s  %s\n", "run", "acked", "anomalies", "recovery p50/p99/n ms", "took", "faults")
	for _, r := range reports {
		var faults []string
		for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
			faults = append(faults, fmt.Sprintf("%s %d", kind, r.Faults[kind]))
		}
		recovery := fmt.Sprintf("%d/%d/%d", Percentile(r.Recovery, 50).Milliseconds(), Percentile(r.Recovery, 99).Milliseconds(), len(r.Recovery))
		fmt.Fprintf(&b, "%-26s %9d %9d  %-21s %-8s  %s\n", r.Name, r.Acked, r.Found(), recovery, r.Took.Round(time.Second/10), strings.Join(faults, ", "))
		for _, name := range slices.Sorted(maps.Keys(r.Groups)) {
			fmt.Fprintf(&b, "%-26s %s: %v\n", "", name, r.Groups[name])
		}
		if r.Txns.Ends > 0 {
			fmt.Fprintf(&b, "%-26s transactions: %v; %d torn\n", "", r.Txns, r.Anomalies[TornTxn]+r.Anomalies[WrongEnd])
		}
		if r.Checked > 0 {
			fmt.Fprintf(&b, "%-26s offsets of all groups asked for right after %d of the restarts\n", "", r.Checked)
		}
		if r.Sent > 0 {
			fmt.Fprintf(&b, "%-26s %d MiB of log\n", "", r.Sent>>20)
		}
		if r.Lost > 0 {
			fmt.Fprintf(&b, "%-26s without a promise (acks=1 or durability os at a power cut, acks=0): %d records gone\n", "", r.Lost)
		}
		if len(r.Return) > 0 {
			fmt.Fprintf(&b, "%-26s writing again after space returned: p50 %v, max %v\n", "", Percentile(r.Return, 50).Round(time.Millisecond), slices.Max(r.Return).Round(time.Millisecond))
		}
		for _, kind := range slices.Sorted(maps.Keys(r.Anomalies)) {
			fmt.Fprintf(&b, "%-26s %s: %d\n", "", kind, r.Anomalies[kind])
		}
	}
	return b.String()
}
