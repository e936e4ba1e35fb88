package cli

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"pgregory.net/rapid"
)

func at(offset int64) *kadm.Offset { return &kadm.Offset{At: offset, LeaderEpoch: -1} }

func TestTargetFlags(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	for _, c := range []struct {
		flags targetFlags
		want  target
		fails string
	}{
		{flags: targetFlags{start: true}, want: target{kind: toStart}},
		{flags: targetFlags{end: true}, want: target{kind: toEnd}},
		{flags: targetFlags{offset: "7"}, want: target{kind: toOffset, n: 7}},
		{flags: targetFlags{time: "1767323045000"}, want: target{kind: toTime, n: 1767323045000}},
		{flags: targetFlags{time: "2026-01-02T03:04:05Z"}, want: target{kind: toTime, n: 1767323045000}},
		{flags: targetFlags{time: "2026-01-02T04:04:05.5+01:00"}, want: target{kind: toTime, n: 1767323045500}},
		{flags: targetFlags{duration: "90m"}, want: target{kind: toTime, n: now.UnixMilli() - 5_400_000}},
		{flags: targetFlags{duration: "2d"}, want: target{kind: toTime, n: now.UnixMilli() - 172_800_000}},
		{flags: targetFlags{shift: "+10"}, want: target{kind: byShift, n: 10}},
		{flags: targetFlags{shift: "10"}, want: target{kind: byShift, n: 10}},
		{flags: targetFlags{shift: "-10"}, want: target{kind: byShift, n: -10}},
		{flags: targetFlags{group: "g"}, want: target{kind: fromGroup, group: "g"}},
		{flags: targetFlags{file: "f"}, want: target{kind: fromFile, file: "f"}},
		{flags: targetFlags{}, fails: "where to?"},
		{flags: targetFlags{start: true, shift: "1"}, fails: "--to-start and --shift exclude each other"},
		{flags: targetFlags{offset: "-1"}, fails: "--to-offset -1: want an offset"},
		{flags: targetFlags{offset: "9223372036854775808"}, fails: "want an offset"},
		{flags: targetFlags{time: "yesterday"}, fails: "--to-time yesterday: want a time"},
		{flags: targetFlags{time: "1969-01-01"}, fails: "before 1970"},
		{flags: targetFlags{duration: "x"}, fails: "--by-duration x: want how far back"},
		{flags: targetFlags{shift: "1.5"}, fails: "--shift 1.5: want a number"},
	} {
		got, err := c.flags.parse(now)
		if c.fails != "" {
			if exitCode(err) != ExitUsage || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%+v: %v, want %q", c.flags, err, c.fails)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%+v: %+v, %v; want %+v", c.flags, got, err, c.want)
		}
	}
}

// TestPlan moves in a log that goes from 10 to 20.
func TestPlan(t *testing.T) {
	to := func(kind targetKind, n int64) target { return target{kind: kind, n: n, group: "other"} }
	for name, c := range map[string]struct {
		to    target
		p     position
		after *kadm.Offset
		note  string
		same  bool // nothing is written
	}{
		"start":                    {to: to(toStart, 0), p: position{now: at(15)}, after: at(10)},
		"end":                      {to: to(toEnd, 0), p: position{now: at(15)}, after: at(20)},
		"never committed":          {to: to(toEnd, 0), after: at(20)},
		"already there":            {to: to(toEnd, 0), p: position{now: at(20)}, after: at(20), same: true},
		"offset":                   {to: to(toOffset, 12), p: position{now: at(15)}, after: at(12)},
		"offset before the start":  {to: to(toOffset, 3), p: position{now: at(15)}, after: at(10), note: "3 is before the log's start"},
		"offset beyond the end":    {to: to(toOffset, 99), p: position{now: at(15)}, after: at(20), note: "99 is beyond the log's end"},
		"offset just before":       {to: to(toOffset, 9), p: position{now: at(15)}, after: at(10), note: "9 is before the log's start"},
		"offset just beyond":       {to: to(toOffset, 21), p: position{now: at(15)}, after: at(20), note: "21 is beyond the log's end"},
		"offset at the end":        {to: to(toOffset, 20), p: position{now: at(15)}, after: at(20)},
		"time":                     {to: to(toTime, 1), p: position{now: at(15), timed: 17}, after: at(17)},
		"time after all records":   {to: to(toTime, 1), p: position{now: at(15), timed: 20}, after: at(20), note: "no record since then: the log's end"},
		"shift forward":            {to: to(byShift, 3), p: position{now: at(15)}, after: at(18)},
		"shift back":               {to: to(byShift, -3), p: position{now: at(15)}, after: at(12)},
		"shift out of the log":     {to: to(byShift, -9), p: position{now: at(15)}, after: at(10), note: "6 is before the log's start"},
		"shift by very much":       {to: to(byShift, math.MaxInt64), p: position{now: at(15)}, after: at(20), note: "9223372036854775807 is beyond the log's end"},
		"shift of nothing":         {to: to(byShift, 3), note: "never committed: nothing to shift", same: true},
		"other group":              {to: to(fromGroup, 0), p: position{now: at(15), given: at(11)}, after: at(11)},
		"other group has none":     {to: to(fromGroup, 0), p: position{now: at(15)}, after: at(15), note: "group other has no offset here", same: true},
		"file":                     {to: to(fromFile, 0), p: position{now: at(15), given: at(11)}, after: at(11)},
		"file is out of the log":   {to: to(fromFile, 0), p: position{now: at(15), given: at(1)}, after: at(10), note: "1 is before the log's start"},
		"file has none":            {to: to(fromFile, 0), p: position{now: at(15)}, after: at(15), note: "no offset in the file", same: true},
		"undo":                     {to: to(fromFile, 0), p: position{now: at(15), given: at(11), exact: true}, after: at(11)},
		"undo of a first commit":   {to: to(fromFile, 0), p: position{now: at(15), exact: true}},
		"undo of nothing":          {to: to(fromFile, 0), p: position{exact: true}, same: true},
		"undo leaves the log":      {to: to(fromFile, 0), p: position{now: at(15), given: at(1), exact: true}, after: at(1), note: "not in the log any more; as it was"},
		"undo of the metadata":     {to: to(fromFile, 0), p: position{now: at(15), given: &kadm.Offset{At: 15, LeaderEpoch: -1, Metadata: "m"}, exact: true}, after: &kadm.Offset{At: 15, LeaderEpoch: -1, Metadata: "m"}},
		"partition does not exist": {to: to(toEnd, 0), p: position{err: failed()}, same: true},
	} {
		c.p.start, c.p.end = 10, 20
		m := c.to.plan(c.p)
		if diff := cmp.Diff(c.after, m.after); diff != "" || m.note != c.note || m.changes() == c.same {
			t.Errorf("%s: note %q, want %q; changes %v; after:\n%s", name, m.note, c.note, m.changes(), diff)
		}
	}
}

// TestPlanStaysInTheLog: whatever is asked for, and an undo brings back what was.
func TestPlanStaysInTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(0, 60)
		maybe := func(name string) *kadm.Offset {
			if rapid.Bool().Draw(t, name) {
				return &kadm.Offset{At: offset.Draw(t, name+" offset"), LeaderEpoch: rapid.Int32Range(-1, 3).Draw(t, name+" epoch"), Metadata: rapid.StringMatching("[ab]?").Draw(t, name+" metadata")}
			}
			return nil
		}
		p := position{mark: mark{"t", 3}, now: maybe("now"), given: maybe("given")}
		p.start = offset.Draw(t, "start")
		p.end = p.start + offset.Draw(t, "records")
		p.timed = min(p.start+offset.Draw(t, "timed"), p.end)
		to := target{kind: targetKind(rapid.IntRange(1, 7).Draw(t, "kind")), n: rapid.OneOf(rapid.Int64(), rapid.Int64Range(-70, 130)).Draw(t, "n")}
		if to.kind == toOffset {
			to.n = max(to.n, 0)
		}
		m := to.plan(p)
		if m.changes() && (m.after == nil || m.after.At < p.start || m.after.At > p.end) {
			t.Fatalf("%+v moves to %+v", p, m.after)
		}
		if !m.changes() {
			return
		}
		given, err := undoOf("g", []move{m}, time.Time{}).given("g")
		if err != nil {
			t.Fatal(err)
		}
		p.given, p.exact, p.now = given.offsets[p.mark], given.exact, m.after
		back := target{kind: fromFile}.plan(p)
		was := m.now
		if was != nil {
			was = &kadm.Offset{Topic: "t", Partition: 3, At: was.At, LeaderEpoch: was.LeaderEpoch, Metadata: was.Metadata}
		}
		if diff := cmp.Diff(was, back.after); diff != "" || !back.changes() {
			t.Fatalf("the undo does not bring back what was:\n%s", diff)
		}
	})
}
