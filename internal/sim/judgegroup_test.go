package sim

import (
	"slices"
	"testing"
)

// endOf is what Ledger.Clock says when the groups are done and the rest is to be
// read back.
func endOf(events []Event) int {
	return slices.IndexFunc(events, func(e Event) bool { _, back := e.(ReadBack); return back })
}

// TestEachLieAboutAGroupIsFound puts one lie into the healthy run, where m2 has p0 since
// epoch 2 and has committed all six records.
func TestEachLieAboutAGroupIsFound(t *testing.T) {
	h := healthy()
	at := endOf(h)
	m2, m3 := Owned{"g", "m2", 2, 1, p0}, Owned{"g", "m3", 4, 1, p0}
	later := m2
	later.Epoch = 5
	for _, c := range []struct {
		name   string
		events []Event
		want   Kind
	}{
		{"a former owner's commit is accepted", with(h, m3, Committed{m2, 6, at + 1}), ZombieCommit},
		{"a former owner's commit is accepted after the next one let go", with(h, m3, LetGo{"g", "m3", p0}, Committed{m2, 6, at + 2}), ZombieCommit},
		{"a former owner's epoch rises", with(h, m3, later), DoubleOwner},
		{"an owner's epoch rises over that of a later one", with(h, later, m3), DoubleOwner},
		{"a member is started at an older commit", with(h, Delivered{"g", "m3 grant 1", 6, p0, 4, rec(4)}), CommitRegressed},
		{"a member is started behind what was given", without(h, func(e Event) bool {
			d, given := e.(Delivered)
			return given && d.Offset < 3
		}), GroupSkipped},
		{"more is committed than was given", with(h, CommitSeen{"g", p0, 7, 6}), GroupSkipped},
		{"a member commits more than was given", with(h, Committed{m2, 7, at}), GroupSkipped},
		{"a member would commit more than was given", with(h, CommitUnknown{"g", p0, 7, 1, true}), GroupSkipped},
		{"a commit comes back from a process that is dead", with(h, CommitUnknown{"g", p0, 5, 1, false},
			Committed{Owned{"g", "m2", 2, 2, p0}, 6, at}, CommitSeen{"g", p0, 5, 6}), CommitRegressed},
		{"the end that the group came to is not the end", undelivered(h, Caught{"g", p0, 5, 5}), GroupSkipped},
		{"the last record is not given to the group", undelivered(replace(h, Acked{rec(5), 5}, Unknown{rec(5)}), Caught{"g", p0, 6, 6}), GroupSkipped},
	} {
		got := find(Sync, c.events)
		if got[c.want] != 1 || len(got) != 1 {
			t.Errorf("%s: found %v, want one %s", c.name, got, c.want)
		}
	}
}

// undelivered is a run in which the last record is not given to the group.
func undelivered(h []Event, end Caught) []Event {
	var out []Event
	for _, e := range h {
		switch x := e.(type) {
		case Delivered:
			if x.Offset == 5 {
				continue
			}
		case Committed:
			x.Offset = min(x.Offset, 5)
			e = x
		case CommitSeen:
			x.Offset, x.Floor = min(x.Offset, 5), min(x.Floor, 5)
			e = x
		case Caught:
			e = end
		}
		out = append(out, e)
	}
	return out
}

// TestWhatGroupsMayDo: none of it is an anomaly.
func TestWhatGroupsMayDo(t *testing.T) {
	h := healthy()
	at := endOf(h)
	m2, m3 := Owned{"g", "m2", 2, 1, p0}, Owned{"g", "m3", 4, 1, p0}
	before, again := m2, m2
	before.Epoch, again.Epoch = 3, 5
	static := Owned{"g", "instance 0", 3, 1, p0}
	for name, more := range map[string][]Event{
		"a commit was on its way when the partition was given on":   {m3, Committed{m2, 6, at}},
		"a commit without an answer is in force later":              {CommitUnknown{"g", p0, 5, 1, false}, CommitSeen{"g", p0, 5, 6}},
		"a commit is retried, and the first attempt is late":        {CommitUnknown{"g", p0, 5, 1, false}, Committed{m2, 6, at + 1}, CommitSeen{"g", p0, 5, 6}},
		"an epoch rises below that of the next owner":               {before, LetGo{"g", "m2", p0}, m3},
		"the next owner is heard of before the former one let go":   {m3, before, LetGo{"g", "m2", p0}},
		"a former owner is given the partition again":               {LetGo{"g", "m2", p0}, m3, LetGo{"g", "m3", p0}, again, Committed{again, 6, at + 4}},
		"a commit is answered after its partition was let go":       {LetGo{"g", "m2", p0}, Committed{m2, 6, at}, m3, LetGo{"g", "m3", p0}, again},
		"a static member comes back in the same epoch":              {static, LetGo{"g", "instance 0", p0}, static, Committed{static, 6, at + 3}},
		"a member names the epoch that it was given a partition in": {before, Committed{m2, 6, at + 1}},
		"a member reads again what was not committed":               {Delivered{"g", "m3 grant 1", 4, p0, 4, rec(4)}},
		"the offset of a group is asked for that has none":          {CommitSeen{"other", p0, -1, -1}},
	} {
		if got := find(Sync, with(h, more...)); len(got) > 0 {
			t.Errorf("%s: found %v", name, got)
		}
	}
}

// TestPowerCutForgivesGroupsInOSMode: what a power cut may take with durability os.
func TestPowerCutForgivesGroupsInOSMode(t *testing.T) {
	m3 := Owned{"g", "m3", 2, 2, p0}
	events := with(healthy(), Owned{"g", "m4", 4, 1, p0}, PowerCut{}, CommitSeen{"g", p0, 4, 6}, m3, Committed{m3, 9, 99}, Delivered{"g", "m3 grant 1", 6, p0, 2, rec(2)})
	if got := find(OS, events); len(got) > 0 {
		t.Errorf("os: found %v", got)
	}
	got := find(Sync, events)
	for _, kind := range []Kind{CommitRegressed, DoubleOwner, ZombieCommit, GroupSkipped} {
		if got[kind] == 0 {
			t.Errorf("sync: %s was not found (found: %v)", kind, got)
		}
	}
}

// TestGroupsAreCounted: what of the healthy run was judged.
func TestGroupsAreCounted(t *testing.T) {
	l := NewLedger(Sync)
	for _, e := range with(healthy(), CommitUnknown{"g", p0, 6, 1, false}, CommitUnknown{"g", p0, 6, 1, true}) {
		l.Add(e)
	}
	want := GroupCount{Commits: 2, Unanswered: 1, Refused: 1, Seen: 2, Owned: 3, Started: 2, Delivered: 8}
	if got := l.Groups()["g"]; got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if got := want.plus(want); got != (GroupCount{4, 2, 2, 4, 6, 4, 16}) {
		t.Errorf("twice: %+v", got)
	}
}
