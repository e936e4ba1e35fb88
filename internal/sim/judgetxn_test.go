package sim

import (
	"slices"
	"testing"
	"time"
)

// The transactions of the healthy run: of producer "a", whose id is 7, the first is
// committed in two partitions, the second aborted, the third left and aborted when "b",
// whose id is 7, too, takes over, and the fourth, of "b", is without an answer to its end.
var (
	a1, a2, a3 = Txn{"a", 1}, Txn{"a", 2}, Txn{"a", 3}
	b1         = Txn{"b", 1}
	x0, x1     = Partition{"x", 0}, Partition{"x", 1}
	y0         = Partition{"y", 0}
	copied     = Txn{"c", 1}
)

func txnRec(seq int64) Record  { return Record{txnWriters, seq} }
func copyRec(seq int64) Record { return Record{txnWriters + 1, seq} }

func sentIn(txn Txn, seq int64, p Partition) Event { return SentIn{Sent{txnRec(seq), p}, txn} }

func backIn(p Partition, offset int64, r Record, producer int64) Event {
	return ReadBackIn{ReadBack{p, offset, r}, producer}
}

// healthyTxns is what a broker without a fault gives.
func healthyTxns() []Event {
	out := []Event{
		Copies{"x", "y"},
		sentIn(a1, 0, x0), sentIn(a1, 1, x1), Acked{txnRec(0), 0}, Acked{txnRec(1), 0},
		Watched{x0, 0, 1, 100 * time.Millisecond, time.Second}, EndAsked{a1, true}, EndAnswered{a1, true},
		Shown{"live", x0, 0, txnRec(0)}, Watched{x0, 2, 2, 100 * time.Millisecond, time.Second},
		sentIn(a2, 2, x0), Acked{txnRec(2), 2}, EndAsked{a2, false}, EndAsked{a2, false}, EndAnswered{a2, false},
		sentIn(a3, 3, x0), Acked{txnRec(3), 4}, Fenced{a3}, sentIn(a3, 4, x0), Refused{txnRec(4)}, EndAsked{a3, true},
		StaleEnd{b1, false},
		sentIn(b1, 5, x0), Acked{txnRec(5), 6}, EndAsked{b1, true},
		Shown{"live", x0, 6, txnRec(5)},
	}
	for i, from := range []int64{0, 1, 5} {
		out = append(out, SentIn{Sent{copyRec(int64(i)), y0}, copied}, Made{copyRec(int64(i)), txnRec(from)}, Acked{copyRec(int64(i)), int64(i)})
	}
	out = append(out, EndAsked{copied, true}, EndAnswered{copied, true}, CopiedAll{x0, 8, 8}, CopiedAll{x1, 2, 2})
	out = append(out,
		backIn(x0, 0, txnRec(0), 7), backIn(x0, 1, marker(7, true), 7), backIn(x0, 2, txnRec(2), 7), backIn(x0, 3, marker(7, false), 7),
		backIn(x0, 4, txnRec(3), 7), backIn(x0, 5, marker(7, false), 7), backIn(x0, 6, txnRec(5), 7), backIn(x0, 7, marker(7, true), 7),
		backIn(x1, 0, txnRec(1), 7), backIn(x1, 1, marker(7, true), 7),
		backIn(y0, 0, copyRec(0), 8), backIn(y0, 1, copyRec(1), 8), backIn(y0, 2, copyRec(2), 8), backIn(y0, 3, marker(8, true), 8),
		EndOfLog{Partition: x0, High: 8}, EndOfLog{Partition: x1, High: 2}, EndOfLog{Partition: y0, High: 4},
		Shown{"back", x0, 0, txnRec(0)}, Shown{"back", x0, 1, marker(7, true)}, Shown{"back", x0, 6, txnRec(5)}, ShownTo{"back", x0, 8},
		Shown{"back", x1, 0, txnRec(1)}, ShownTo{"back", x1, 2})
	return out
}

func TestHealthyTransactionsHaveNoAnomaly(t *testing.T) {
	for _, d := range []Durability{Sync, OS} {
		if got := find(d, healthyTxns()); len(got) > 0 {
			t.Errorf("durability %d: found %v in a healthy run", d, got)
		}
	}
}

// before puts events before one that is there.
func before(events []Event, at Event, more ...Event) []Event {
	return replace(events, at, append(slices.Clone(more), at)...)
}

// txnLies are healthy runs with one lie each.
func txnLies() []struct {
	name   string
	events []Event
	want   []Kind
} {
	h := healthyTxns()
	swap := func(old, by Event) []Event { return replace(h, old, by) }
	commit1, abort1 := backIn(x1, 1, marker(7, true), 7), backIn(x1, 1, marker(7, false), 7)
	return []struct {
		name   string
		events []Event
		want   []Kind
	}{
		{"a commit is torn", swap(commit1, abort1), []Kind{TornTxn, AbortedShown, Phantom}},
		{"a marker is missing", replace(swap(EndOfLog{Partition: x1, High: 2}, EndOfLog{Partition: x1, High: 1}), commit1), []Kind{TornTxn, AbortedShown, Phantom}},
		{"an end without an answer is torn", replace(swap(commit1, abort1), EndAnswered{a1, true}), []Kind{TornTxn, AbortedShown, Phantom}},
		{"a commit that was answered is aborted", replace(replace(without(h, func(e Event) bool { s, ok := e.(Shown); return ok && (s.Record == txnRec(0) || s.Record == txnRec(1)) }),
			commit1, abort1), backIn(x0, 1, marker(7, true), 7), backIn(x0, 1, marker(7, false), 7)), []Kind{WrongEnd, Phantom}},
		{"an abort that was answered is committed", swap(backIn(x0, 3, marker(7, false), 7), backIn(x0, 3, marker(7, true), 7)), []Kind{WrongEnd, CommittedHidden, CopyLost}},
		{"a commit that nobody asked for", without(replace(h, backIn(x0, 3, marker(7, false), 7), backIn(x0, 3, marker(7, true), 7)), func(e Event) bool { return e == EndAnswered{a2, false} }),
			[]Kind{WrongEnd, CommittedHidden, CopyLost}},
		{"both ends are answered", before(h, EndAnswered{a1, true}, EndAsked{a1, false}, EndAnswered{a1, false}), []Kind{WrongEnd}},
		{"a transaction stays open", replace(without(h, func(e Event) bool {
			return e == Shown{"back", x0, 6, txnRec(5)} || e == Shown{"live", x0, 6, txnRec(5)}
		}),
			backIn(x0, 7, marker(7, true), 7), backIn(x0, 7, marker(9, true), 9)), []Kind{StableHangs, Phantom}},
		{"the stable offset hangs", before(h, Fenced{a3}, Watched{x0, 4, 5, time.Second, time.Second}, Watched{x0, 4, 5, time.Second, time.Second}, Watched{x0, 4, 6, time.Millisecond, time.Second}), []Kind{StableHangs}},
		{"aborted data is shown", before(h, ShownTo{"back", x1, 2}, Shown{"other", x0, 2, txnRec(2)}), []Kind{AbortedShown, CommittedHidden}},
		{"data is shown before its end", before(h, EndAsked{b1, true}, Shown{"other", x0, 0, txnRec(0)}, Shown{"other", x0, 6, txnRec(5)}), []Kind{AbortedShown, CommittedHidden}},
		{"a reader is led past what is committed", without(h, func(e Event) bool { return e == Shown{"live", x0, 0, txnRec(0)} }), []Kind{CommittedHidden}},
		{"the last that is committed is not shown", without(h, func(e Event) bool { return e == Shown{"back", x0, 6, txnRec(5)} }), []Kind{CommittedHidden}},
		{"a reader of what is committed is led back", before(h, ShownTo{"back", x1, 2}, Shown{"live", x0, 0, txnRec(0)}), []Kind{NonmonotonicPoll}},
		{"a reader is shown another record", swap(Shown{"live", x0, 6, txnRec(5)}, Shown{"live", x0, 6, txnRec(0)}), []Kind{InconsistentValue}},
		{"a fenced producer's record is taken", swap(Refused{txnRec(4)}, Acked{txnRec(4), 5}), []Kind{ZombieTxn, LostWrite}},
		{"a fenced producer's record is in the log", replace(swap(EndOfLog{Partition: x0, High: 8}, EndOfLog{Partition: x0, High: 10}), EndOfLog{Partition: x1, High: 2},
			EndOfLog{Partition: x1, High: 2}, backIn(x0, 8, txnRec(4), 7), backIn(x0, 9, marker(7, false), 7)), []Kind{ZombieTxn, Reordered}},
		{"a fenced producer commits", before(h, StaleEnd{b1, false}, EndAnswered{a3, true}), []Kind{ZombieTxn, WrongEnd}},
		{"an end of long ago is accepted", swap(StaleEnd{b1, false}, StaleEnd{b1, true}), []Kind{ZombieTxn}},
		{"a copy is lost", swap(Made{copyRec(1), txnRec(1)}, Made{copyRec(9), txnRec(1)}), []Kind{CopyLost}},
		{"there are two copies", swap(Made{copyRec(1), txnRec(1)}, Made{copyRec(1), txnRec(0)}), []Kind{CopyTwice, CopyLost}},
		{"a copy of what is aborted", swap(Made{copyRec(1), txnRec(1)}, Made{copyRec(1), txnRec(2)}), []Kind{Phantom, CopyLost}},
		{"copiers do not come to the end", swap(CopiedAll{x0, 8, 8}, CopiedAll{x0, 6, 8}), []Kind{GroupStuck}},
	}
}

// TestEachLieAboutATransactionIsFound puts one lie into the healthy run; its kinds must
// be found, and none besides.
func TestEachLieAboutATransactionIsFound(t *testing.T) {
	for _, c := range txnLies() {
		got := find(Sync, c.events)
		for _, kind := range c.want {
			if got[kind] == 0 {
				t.Errorf("%s: %s was not found (found: %v)", c.name, kind, got)
			}
			delete(got, kind)
		}
		if len(got) > 0 {
			t.Errorf("%s: found %v besides", c.name, got)
		}
	}
}

// unended is a run in which the transaction without an answer to its end is aborted, and
// its record not shown and not copied.
func unended(h []Event) []Event {
	h = without(h, func(e Event) bool {
		switch e := e.(type) {
		case Shown:
			return e.Record == txnRec(5)
		case Made:
			return e.From == txnRec(5)
		case SentIn:
			return e.Record == copyRec(2)
		case Acked:
			return e.Record == copyRec(2)
		}
		return e == backIn(y0, 3, marker(8, true), 8)
	})
	h = replace(h, backIn(x0, 7, marker(7, true), 7), backIn(x0, 7, marker(7, false), 7))
	h = replace(h, backIn(y0, 2, copyRec(2), 8), backIn(y0, 2, marker(8, true), 8))
	return replace(h, EndOfLog{Partition: y0, High: 4}, EndOfLog{Partition: y0, High: 3})
}

// TestWhatTransactionsMayDo: none of it is an anomaly.
func TestWhatTransactionsMayDo(t *testing.T) {
	h := healthyTxns()
	for name, events := range map[string][]Event{
		"an end without an answer did nothing":    unended(h),
		"a late end is answered as the first was": before(h, StaleEnd{b1, false}, EndAsked{a1, true}, EndAnswered{a1, true}),
		"the stable offset waits and goes on": before(h, Fenced{a3}, Watched{x0, 4, 5, time.Second, time.Second}, Watched{x0, 4, 5, time.Second, time.Second},
			Watched{x0, 5, 6, time.Second, time.Second}, Watched{x0, 5, 6, time.Second, time.Second}),
		"a commit was asked for before another producer took over": before(h, Fenced{a3}, EndAsked{a3, true}),
	} {
		if got := find(Sync, events); len(got) > 0 {
			t.Errorf("%s: found %v", name, got)
		}
	}
}

// TestPowerCutForgivesTransactionsInOSMode: what a power cut may take with durability os.
func TestPowerCutForgivesTransactionsInOSMode(t *testing.T) {
	for _, c := range txnLies() {
		events := append([]Event{PowerCut{}}, c.events...)
		got := find(OS, events)
		delete(got, GroupStuck) // copiers come to the end of what there is
		delete(got, LostWrite)  // sent after the cut
		delete(got, Reordered)
		if len(got) > 0 {
			t.Errorf("%s: found %v", c.name, got)
		}
	}
}

// TestTransactionsAreCounted: what of the healthy run was judged.
func TestTransactionsAreCounted(t *testing.T) {
	l := NewLedger(Sync)
	for _, e := range append(healthyTxns(), sentIn(Txn{"d", 1}, 9, x0), Acked{txnRec(9), 8}, backIn(x0, 8, txnRec(9), 7), backIn(x0, 9, marker(7, false), 7)) {
		l.Add(e)
	}
	l.Finish()
	want := TxnCount{Committed: 3, Aborted: 3, Unanswered: 2, Abandoned: 1, Ends: 7, Stale: 1, Fenced: 1, Refused: 1, Shown: 5, Copied: 3}
	if got := l.Transactions(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if got := want.plus(want); got != (TxnCount{6, 6, 4, 2, 14, 2, 2, 2, 10, 6}) {
		t.Errorf("twice: %+v", got)
	}
}
