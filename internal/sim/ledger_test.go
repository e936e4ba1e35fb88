package sim

import (
	"slices"
	"strings"
	"testing"
)

var (
	p0 = Partition{"t", 0}
	p1 = Partition{"t", 1}
)

// rec is the record of writer 1 with this number.
func rec(seq int64) Record { return Record{1, seq} }

// healthy is what a broker without a fault gives: one idempotent writer, a
// live reader, a group of two members, a sampler, and all read back.
func healthy() []Event {
	m1, m2 := Owned{"g", "m1", 1, 1, p0}, Owned{"g", "m2", 2, 1, p0}
	out := []Event{m1, Owned{"g", "m2", 1, 1, p1}}
	for seq := range int64(6) {
		out = append(out, Sent{rec(seq), p0}, Acked{rec(seq), seq}, Bounds{p0, seq + 1, seq + 1},
			Read{"live", p0, seq, rec(seq)}, Delivered{"g", "m1 grant 1", -1, p0, seq, rec(seq)})
	}
	out = append(out,
		Committed{m1, 4, len(out) + 2}, CommitSeen{"g", p0, 4, 4}, LetGo{"g", "m1", p0},
		m2, Delivered{"g", "m2 grant 2", 4, p0, 4, rec(4)}, Delivered{"g", "m2 grant 2", 4, p0, 5, rec(5)},
		Committed{m2, 6, len(out) + 7}, CommitSeen{"g", p0, 6, 6}, Caught{"g", p0, 6, 6})
	for seq := range int64(6) {
		out = append(out, ReadBack{p0, seq, rec(seq)})
	}
	return append(out, EndOfLog{Partition: p0, High: 6}, EndOfLog{Partition: p1})
}

// find judges a stream of events.
func find(d Durability, events []Event) map[Kind]int {
	l := NewLedger(d)
	for _, e := range events {
		l.Add(e)
	}
	l.Finish()
	return l.Counts()
}

func TestHealthyRunHasNoAnomaly(t *testing.T) {
	for _, d := range []Durability{Sync, OS} {
		if got := find(d, healthy()); len(got) > 0 {
			t.Errorf("durability %d: found %v in a healthy run", d, got)
		}
	}
}

// without removes events that match.
func without(events []Event, match func(Event) bool) []Event {
	return slices.DeleteFunc(slices.Clone(events), match)
}

// with appends events before what is read back.
func with(events []Event, more ...Event) []Event {
	at := slices.IndexFunc(events, func(e Event) bool { _, back := e.(ReadBack); return back })
	return slices.Insert(slices.Clone(events), at, more...)
}

// replace replaces one event by others.
func replace(events []Event, old Event, by ...Event) []Event {
	at := slices.Index(events, old)
	if at < 0 {
		panic("no such event")
	}
	return slices.Concat(events[:at], by, events[at+1:])
}

// TestEachLieIsFound puts one lie into the healthy run; the kind must be found,
// and none that does not follow from it.
func TestEachLieIsFound(t *testing.T) {
	h := healthy()
	for _, c := range []struct {
		name   string
		events []Event
		want   []Kind
	}{
		{"an acknowledged record is dropped from the end", replace(replace(without(h, func(e Event) bool {
			r, live := e.(Read)
			d, given := e.(Delivered)
			return live && r.Offset == 5 || given && d.Offset == 5
		}), ReadBack{p0, 5, rec(5)}), EndOfLog{Partition: p0, High: 6}, EndOfLog{Partition: p0, High: 5}), []Kind{LostWrite, HighRegressed, GroupSkipped}},
		{"a record is there twice", replace(replace(h, EndOfLog{Partition: p0, High: 6}, EndOfLog{Partition: p0, High: 7}), ReadBack{p0, 5, rec(5)}, ReadBack{p0, 5, rec(5)}, ReadBack{p0, 6, rec(4)}), []Kind{Duplicate, Reordered}},
		{"a record of the end is there twice", replace(replace(h, EndOfLog{Partition: p0, High: 6}, EndOfLog{Partition: p0, High: 7}), ReadBack{p0, 5, rec(5)}, ReadBack{p0, 5, rec(5)}, ReadBack{p0, 6, rec(5)}), []Kind{Duplicate}},
		{"two records change places", replace(replace(h, ReadBack{p0, 1, rec(1)}, ReadBack{p0, 1, rec(2)}), ReadBack{p0, 2, rec(2)}, ReadBack{p0, 2, rec(1)}), []Kind{Reordered, WrongOffset, InconsistentValue}},
		{"a wrong offset is answered", replace(h, Acked{rec(3), 3}, Acked{rec(3), 4}), []Kind{WrongOffset}},
		{"an offset holds nothing", replace(replace(h, ReadBack{p0, 5, rec(5)}, ReadBack{p0, 6, rec(5)}), EndOfLog{Partition: p0, High: 6}, EndOfLog{Partition: p0, High: 7}), []Kind{OffsetGap, WrongOffset, ReadThenLost}},
		{"the end is behind the last record", replace(h, EndOfLog{Partition: p0, High: 6}, EndOfLog{Partition: p0, High: 8}), []Kind{OffsetGap}},
		{"a reader sees another record", replace(h, Read{"live", p0, 2, rec(2)}, Read{"live", p0, 2, rec(1)}), []Kind{InconsistentValue}},
		{"a record is shown and never kept", with(h, Sent{rec(6), p0}, Unknown{rec(6)}, Read{"live", p0, 6, rec(6)}), []Kind{ReadThenLost}},
		{"a reader is led past an offset", without(h, func(e Event) bool { return e == Read{"live", p0, 2, rec(2)} }), []Kind{PollSkip}},
		{"a reader is led back", with(h, Read{"live", p0, 3, rec(3)}), []Kind{NonmonotonicPoll}},
		{"a reader is given the same again", with(h, Read{"live", p0, 5, rec(5)}), []Kind{NonmonotonicPoll}},
		{"the high watermark falls", with(h, Bounds{p0, 5, 6}), []Kind{HighRegressed}},
		{"the stable offset falls", with(h, Bounds{p0, 6, 3}), []Kind{StableRegressed}},
		{"a commit is gone", with(h, CommitSeen{"g", p0, -1, 6}), []Kind{CommitLost}},
		{"a commit goes back", with(h, CommitSeen{"g", p0, 4, 6}), []Kind{CommitRegressed}},
		{"two owners in a generation", with(h, Owned{"g", "m3", 2, 1, p0}), []Kind{DoubleOwner}},
		{"two owners, the broker started in between", with(h, Owned{"g", "m3", 2, 2, p0}), []Kind{DoubleOwner}},
		{"no member is given a record", without(h, func(e Event) bool { r, ok := e.(Delivered); return ok && r.Offset == 0 }), []Kind{GroupSkipped}},
		{"the group does not come to the end", replace(h, Caught{"g", p0, 6, 6}, Caught{"g", p0, 4, 6}), []Kind{GroupStuck}},
		{"a record has no answer", with(h, Sent{rec(6), p0}), []Kind{ProducerStuck}},
		{"a record has no answer in time", with(h, Sent{rec(6), p0}, Stuck{rec(6)}), []Kind{ProducerStuck}},
		{"a record that nobody sent", with(h, Read{"other", p0, 2, Record{9, 9}}), []Kind{Phantom, InconsistentValue}},
		{"a record of another partition", replace(h, EndOfLog{Partition: p1}, ReadBack{p1, 0, rec(2)}, EndOfLog{Partition: p1, High: 1}), []Kind{Phantom, Duplicate}},
		{"an answer for what was not sent", with(h, Acked{rec(9), 9}), []Kind{Phantom}},
		{"bytes that nobody wrote", with(h, Garbled{p0, 1, "?"}), []Kind{Phantom}},
		{"the log cannot be read to its end", replace(h, EndOfLog{Partition: p0, High: 6}, EndOfLog{Partition: p0, High: 6, Why: "stuck"}), []Kind{Unreadable}},
		{"a log that is not there", with(without(h, func(e Event) bool { return e == EndOfLog{Partition: p1} }), Bounds{p1, 0, 0}), []Kind{Unreadable}},
		{"something found outside", with(h, Broken{Anomaly{SlowStop, "x"}}), []Kind{SlowStop}},
	} {
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

// TestNoAnswerMayMeanBoth: a record without an answer may be there or not, but
// not twice.
func TestNoAnswerMayMeanBoth(t *testing.T) {
	base := with(healthy(), Sent{rec(6), p0}, Unknown{rec(6)})
	there := replace(base, EndOfLog{Partition: p0, High: 6}, ReadBack{p0, 6, rec(6)}, EndOfLog{Partition: p0, High: 7})
	twice := replace(base, EndOfLog{Partition: p0, High: 6}, ReadBack{p0, 6, rec(6)}, ReadBack{p0, 7, rec(6)}, EndOfLog{Partition: p0, High: 8})
	for name, events := range map[string][]Event{"absent": base, "there": there} {
		if got := find(Sync, events); len(got) > 0 {
			t.Errorf("%s: found %v", name, got)
		}
	}
	if got := find(Sync, twice); got[Duplicate] != 1 {
		t.Errorf("twice: found %v", got)
	}
	late := with(healthy(), CommitUnknown{"g", p0, 5, 1, false}, CommitSeen{"g", p0, 5, 6})
	if got := find(Sync, late); len(got) > 0 {
		t.Errorf("a commit without an answer came into force late: found %v", got)
	}
}

// TestFloorIsTheHighestCommit, whatever order the answers came in.
func TestFloorIsTheHighestCommit(t *testing.T) {
	l := NewLedger(Sync)
	if got := l.Floor("g", p0); got != -1 {
		t.Errorf("floor %d before any commit", got)
	}
	for _, offset := range []int64{4, 6, 5} {
		l.Add(Committed{Owned{"g", "m1", 1, 1, p0}, offset, 0})
	}
	if got := l.Floor("g", p0); got != 6 {
		t.Errorf("floor %d, want 6", got)
	}
}

// TestWeakPromises: what acks=1, acks=0 and durability os may lose, and when.
func TestWeakPromises(t *testing.T) {
	// lost is a run whose only record was acknowledged and is gone.
	lost := func(acks Acks, between ...Event) []Event {
		out := append([]Event{Writes{1, acks, acks != AcksAll}, Sent{rec(0), p0}}, between...)
		return append(out, EndOfLog{Partition: p0})
	}
	ack, cut, later := Acked{rec(0), 0}, PowerCut{}, Sent{rec(0), p0}
	for _, c := range []struct {
		name   string
		d      Durability
		events []Event
		found  bool
	}{
		{"acks=all, killed", Sync, lost(AcksAll, ack), true},
		{"acks=all, power cut", Sync, lost(AcksAll, ack, cut), true},
		{"acks=1, killed", Sync, lost(AcksLeader, ack), true},
		{"acks=1, power cut", Sync, lost(AcksLeader, ack, cut), false},
		{"acks=1, answered as the power went", Sync, lost(AcksLeader, cut, ack), false},
		{"acks=1, sent after the power cut", Sync, lost(AcksLeader, cut, later, ack), true},
		{"acks=0, killed", Sync, lost(AcksNone, Acked{rec(0), -1}), false},
		{"os, killed", OS, lost(AcksAll, ack), true},
		{"os, power cut", OS, lost(AcksAll, ack, cut), false},
		{"os, sent after the power cut", OS, lost(AcksAll, cut, later, ack), true},
	} {
		if got := find(c.d, c.events); (got[LostWrite] > 0) != c.found {
			t.Errorf("%s: found %v, want a lost write: %v", c.name, got, c.found)
		}
	}
	// Without idempotence a retry may repeat a record, but what nobody sent stays wrong.
	twice := []Event{Writes{1, AcksLeader, true}, Sent{rec(0), p0}, Sent{rec(1), p0}, Acked{rec(0), 2}, Acked{rec(1), 1},
		ReadBack{p0, 0, rec(0)}, ReadBack{p0, 1, rec(1)}, ReadBack{p0, 2, rec(0)}, EndOfLog{Partition: p0, High: 3}}
	if got := find(Sync, twice); len(got) > 0 {
		t.Errorf("repeated without idempotence: found %v", got)
	}
}

// TestPowerCutForgivesNoReadInSyncMode: what a consumer saw is durable.
func TestPowerCutForgivesNoReadInSyncMode(t *testing.T) {
	events := []Event{Writes{1, AcksLeader, true}, Sent{rec(0), p0}, Acked{rec(0), 0}, Bounds{p0, 1, 1},
		Read{"live", p0, 0, rec(0)}, PowerCut{}, Bounds{p0, 0, 0}, EndOfLog{Partition: p0}}
	got := find(Sync, events)
	if got[ReadThenLost] != 1 || got[HighRegressed] == 0 || got[StableRegressed] == 0 || got[LostWrite] != 0 {
		t.Errorf("sync: found %v", got)
	}
	if got := find(OS, events); len(got) > 0 {
		t.Errorf("os: found %v", got)
	}
}

// TestDeletedTopicIsForgotten: its records need not be anywhere, and must not be
// in the next life of the name.
func TestDeletedTopicIsForgotten(t *testing.T) {
	one, two := Partition{"t#1", 0}, Partition{"t#2", 0}
	events := []Event{Sent{rec(0), one}, Acked{rec(0), 0}, Deleted{"t#1"}, EndOfLog{Partition: two}}
	if got := find(Sync, events); len(got) > 0 {
		t.Errorf("found %v", got)
	}
	undead := append(slices.Clone(events[:3]), ReadBack{two, 0, rec(0)}, EndOfLog{Partition: two, High: 1})
	if got := find(Sync, undead); got[Phantom] != 1 {
		t.Errorf("a record of an earlier life: found %v", got)
	}
}

func TestFindingsAreCountedAndBounded(t *testing.T) {
	l := NewLedger(Sync)
	for i := range int64(3 * maxKept) {
		l.Add(Garbled{p0, i, strings.Repeat("x", 1000)})
	}
	if n, kept := l.Counts()[Phantom], len(l.First()); n != 3*maxKept || kept != maxKept {
		t.Errorf("counted %d, kept %d", n, kept)
	}
	if text := l.First()[0].String(); len(text) > 200 {
		t.Errorf("an anomaly of %d bytes: %s", len(text), text)
	}
}

// TestValueTellsItsRecord: no other record has its bytes, and none of them can
// change unseen.
func TestValueTellsItsRecord(t *testing.T) {
	for _, n := range []int{0, 12, 13, 20, 100, 701} {
		r := Record{7, 1 << 40}
		b := value(r, n)
		if len(b) != max(n, recordHeader) {
			t.Errorf("%d bytes, want %d", len(b), n)
		}
		if got, ok := identify(b); !ok || got != r {
			t.Errorf("%d bytes: %v, %v", n, got, ok)
		}
		for i := recordHeader; i < len(b); i++ {
			b[i] ^= 4
			if _, ok := identify(b); ok {
				t.Errorf("%d bytes: byte %d can change", n, i)
			}
			b[i] ^= 4
		}
	}
	if _, ok := identify(nil); ok {
		t.Error("no bytes are no record")
	}
}
