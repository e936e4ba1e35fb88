package sim

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Ledger is the book of what clients were promised and shown. It judges events
// as they come where it can and the rest in Finish. It may be used by several
// goroutines; the events of one record, reader or group's sampler come in order.
type Ledger struct {
	durability Durability

	mu         sync.Mutex
	cuts       int // power cuts so far
	writers    map[int32]Writes
	fates      map[Record]*fate
	partitions map[Partition]*partition
	deleted    map[string]bool
	readers    map[readerOf]int64 // next offset
	groups     map[groupOf]*groupOffsets
	owners     map[ownership]string
	holdings   map[holder]int32 // who has what, and the last epoch that this is known of
	tops       map[groupOf][]top
	counts     map[string]*GroupCount
	txns       txnBook
	clock      int // events so far
	acked      int
	lost       int // acknowledged, gone, and forgiven
	findings   findings
}

// fate is what is known of one record.
type fate struct {
	partition Partition
	cuts      int // Ledger.cuts when it was sent
	offset    int64
	state     state
	txn       *transaction // nil: none
	zombie    bool         // sent when its producer had been fenced
	decided   decision     // when the logs have been read back
}

type state int8

const (
	open state = iota // sent, no answer yet
	acked
	unknown
)

// partition is what was shown of one partition.
type partition struct {
	shown        map[int64]Record // by live readers
	high, stable int64
	back         []entry
	end          *EndOfLog
	watched      int64         // the last stable offset when it moved last
	hangs        time.Duration // since then
}

type entry struct {
	offset   int64
	record   Record
	producer int64 // id, of a record in a transaction
}

type readerOf struct {
	reader    string
	partition Partition
}

type groupOf struct {
	group     string
	partition Partition
}

type groupOffsets struct {
	acked   int64         // highest
	some    bool          // one commit at least was acknowledged
	unknown map[int64]int // commits without an answer: the process that they may be in force in at the latest
	given   int64         // all offsets below it were given to some member
	caught  bool          // it came to the end of the log
}

type ownership struct {
	groupOf
	epoch int32
}

type holder struct {
	groupOf
	member string
}

// top is a claim on a partition in a higher epoch than all claims before it.
type top struct {
	member string
	epoch  int32
	clock  int // when it was made
}

// GroupCount is how much of a group was judged.
type GroupCount struct {
	Commits    int // acknowledged, of one partition each
	Unanswered int // commits that were given up
	Refused    int // commits that were answered to come from no member, or from an older generation or epoch
	Seen       int // committed offsets that the broker told
	Owned      int // partitions that were given to a member, where epochs are judged
	Started    int // how often a member began where its group stood
	Delivered  int // records
}

// NewLedger makes an empty ledger for a broker that runs in this mode.
func NewLedger(d Durability) *Ledger {
	return &Ledger{
		durability: d,
		writers:    map[int32]Writes{}, fates: map[Record]*fate{}, partitions: map[Partition]*partition{},
		deleted: map[string]bool{}, readers: map[readerOf]int64{}, groups: map[groupOf]*groupOffsets{},
		owners: map[ownership]string{}, holdings: map[holder]int32{}, tops: map[groupOf][]top{},
		counts: map[string]*GroupCount{}, txns: newTxnBook(),
	}
}

// Add takes one event in.
func (l *Ledger) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	e.apply(l)
}

// Clock is how many events were added so far.
func (l *Ledger) Clock() int { l.mu.Lock(); defer l.mu.Unlock(); return l.clock }

// Floor is the highest acknowledged commit; -1 if there is none.
func (l *Ledger) Floor(group string, p Partition) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.groups[groupOf{group, p}]; g != nil && g.some {
		return g.acked
	}
	return -1
}

// Acked is how many records were acknowledged so far.
func (l *Ledger) Acked() int { l.mu.Lock(); defer l.mu.Unlock(); return l.acked }

// Groups is how much of each group was judged so far.
func (l *Ledger) Groups() map[string]GroupCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]GroupCount{}
	for name, c := range l.counts {
		out[name] = *c
	}
	return out
}

// Lost is how many acknowledged records are gone that no promise covered.
func (l *Ledger) Lost() int { l.mu.Lock(); defer l.mu.Unlock(); return l.lost }

// Counts is how many anomalies of each kind were found so far.
func (l *Ledger) Counts() map[Kind]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.findings.count)
}

// First is the first anomalies that were found, at most 50.
func (l *Ledger) First() []Anomaly {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.findings.first)
}

// Pending returns the records that have no answer.
func (l *Ledger) Pending() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Record
	for r, f := range l.fates {
		if f.state == open {
			out = append(out, r)
		}
	}
	return out
}

func (l *Ledger) partition(p Partition) *partition {
	x := l.partitions[p]
	if x == nil {
		x = &partition{shown: map[int64]Record{}}
		l.partitions[p] = x
	}
	return x
}

func (l *Ledger) group(name string, p Partition) *groupOffsets {
	k := groupOf{name, p}
	g := l.groups[k]
	if g == nil {
		g = &groupOffsets{unknown: map[int64]int{}}
		l.groups[k] = g
	}
	return g
}

func (l *Ledger) count(group string) *GroupCount {
	c := l.counts[group]
	if c == nil {
		c = &GroupCount{}
		l.counts[group] = c
	}
	return c
}

// forgiven says whether the record may be missing although it was acknowledged.
// A record that was sent before the cut may have been answered before it, too.
func (l *Ledger) forgiven(r Record, f *fate) bool {
	w, cut := l.writers[r.Writer], f.cuts < l.cuts
	switch {
	case w.Acks == AcksNone:
		return true
	case w.Acks == AcksLeader, l.durability == OS:
		return cut
	}
	return false
}

// forgetful says whether a power cut may have taken what readers had seen.
func (l *Ledger) forgetful() bool { return l.durability == OS && l.cuts > 0 }
