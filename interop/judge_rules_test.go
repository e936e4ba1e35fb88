//go:build unix

package interop

import (
	"slices"
	"strings"
	"testing"
)

// TestJudge: each thing that must not happen is complained of, and what may
// happen is not. The stories are written one event a line.
func TestJudge(t *testing.T) {
	assigned := func(member string, partitions ...int32) entry {
		return entry{member: member, Event: "assigned", Partitions: partitions}
	}
	gone := func(member, event string, partitions ...int32) entry {
		return entry{member: member, Event: event, Partitions: partitions}
	}
	record := func(member string, offset int64, value string) entry {
		return entry{member: member, Event: "record", Offset: offset, Value: value}
	}
	commit := func(member string, offset int64) entry {
		return entry{member: member, Event: "committed", Offsets: map[int32]int64{0: offset}}
	}
	zero := []entry{assigned("a", 0), record("a", 0, "0")}
	for _, c := range []struct {
		name    string
		entries []entry
		acked   int64
		want    string // in the only complaint; empty: none
	}{
		{"handed over", append(zero[:2:2], commit("a", 1), gone("a", "revoked", 0), assigned("b", 0), record("b", 1, "1")), 2, ""},
		{"taken over from a dead member, read again", append(zero[:2:2], gone("a", killed), assigned("b", 0), record("b", 0, "0"), commit("b", 1)), 1, ""},
		{"the next process of a static member", append(zero[:2:2], gone("a", "left"), assigned("a", 0), record("a", 0, "0")), 1, ""},
		{"two owners", append(zero[:2:2], assigned("b", 0)), 1, "assigned to b while a has it"},
		{"assigned twice", append(zero[:2:2], assigned("a", 0)), 1, "assigned to a while a has it"},
		{"revoked from another", append(zero[:2:2], gone("b", "revoked", 0)), 1, `revoked from b, but "a" has it`},
		{"read without having it", append(zero[:2:2], gone("a", "revoked", 0), record("a", 1, "1")), 2, `a reads offset 1, but "" has it`},
		{"skipped", append(zero[:2:2], record("a", 2, "2"), gone("a", "lost", 0), assigned("b", 0), record("b", 1, "1")), 3, "a reads offset 2, not 1"},
		{"rewound", append(zero[:2:2], record("a", 1, "1"), record("a", 1, "1")), 2, "a reads offset 1, not 2"},
		{"another record", append(zero[:2:2], record("a", 1, "7")), 2, `reads "7" at offset 1`},
		{"commit moved back", append(zero[:2:2], record("a", 1, "1"), commit("a", 2), commit("a", 1)), 2, "a commits 1 after 2"},
		{"commit beyond what was read", append(zero[:2:2], commit("a", 2)), 1, "commits 2, but 1 was read by nobody"},
		{"never read", zero, 2, "record 1 of 2 was read by nobody"},
	} {
		got := judge(c.entries, map[int32]int64{0: c.acked})
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: complaints %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDisturbed: only a partition that went and came back counts, and not when
// its member itself went and came back.
func TestDisturbed(t *testing.T) {
	since := []entry{
		{member: "a", Event: "revoked", Partitions: []int32{0}},
		{member: "a", Event: "left"},
		{member: "a", Event: "revoked", Partitions: []int32{1, 2}},
	}
	if got := disturbed(since, []int32{0, 2}); !slices.Equal(got, []string{"partition 2 was revoked from a, which has it again"}) {
		t.Errorf("complaints %q", got)
	}
}

// TestJournal: the lines of members add up to who has what, which records are
// read without a gap, and what is committed; other lines do not count.
func TestJournal(t *testing.T) {
	j := newJournal()
	for _, l := range []string{
		`{"at":1,"event":"joined"}`,
		`SLF4J: some words`,
		`{"error":"no event"}`,
		`{"at":5,"event":"assigned","partitions":[2,0,1]}`,
		`{"at":6,"event":"record","partition":2,"offset":1,"value":"1"}`,
		`{"at":7,"event":"record","partition":2,"offset":0,"value":"0"}`,
		`{"at":9,"event":"revoked","partitions":[0]}`,
		`{"at":8,"event":"committed","offsets":{"2":2}}`,
	} {
		j.line("a", l)
	}
	if got := j.holds("a"); !slices.Equal(got, []int32{1, 2}) {
		t.Errorf("a has %v", got)
	}
	if got := j.mu.read[2]; got != 2 {
		t.Errorf("%d records of partition 2 are read", got)
	}
	if got := j.commits(); got[2] != 2 || len(got) != 1 {
		t.Errorf("committed %v", got)
	}
	var order []string
	for _, e := range j.entries() {
		order = append(order, e.Event)
	}
	if got := strings.Join(order, " "); got != "joined assigned record record committed revoked" {
		t.Errorf("the order is %s", got)
	}
	j.add(entry{member: "a", Event: killed, At: 10})
	if got := j.holds("a"); got != nil {
		t.Errorf("a dead member has %v", got)
	}
}
