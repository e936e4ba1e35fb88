package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// target is where a reset moves a group.
type target struct {
	kind  targetKind
	n     int64  // of toOffset, toTime (milliseconds since 1970) and byShift
	group string // of fromGroup
	file  string // of fromFile
}

type targetKind uint8

const (
	toStart targetKind = iota + 1
	toEnd
	toOffset
	toTime
	byShift
	fromGroup
	fromFile
)

// targetFlags are the flags that name a target, as they were given; "" is none.
type targetFlags struct {
	start, end                                 bool
	offset, time, duration, shift, group, file string
}

// parse finds the one target that was given.
func (f targetFlags) parse(now time.Time) (target, error) {
	var found []target
	var given []string
	add := func(is bool, flag string, t target) {
		if is {
			found, given = append(found, t), append(given, flag)
		}
	}
	offset, err := parseFlag("--to-offset", f.offset, func(s string) (int64, error) {
		n, err := strconv.ParseUint(s, 10, 63)
		return int64(n), err
	}, "an offset, 0 or more")
	if err != nil {
		return target{}, err
	}
	shift, err := parseFlag("--shift", f.shift, func(s string) (int64, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		if n == math.MinInt64 {
			n++
		}
		return n, err
	}, "a number of records, such as +100 or -100")
	if err != nil {
		return target{}, err
	}
	at, err := parseFlag("--to-time", f.time, func(s string) (time.Time, error) { return parseTime(s, now) },
		"a time such as 2026-01-02T03:04:05Z, or milliseconds since 1970")
	if err != nil {
		return target{}, err
	}
	ago, err := parseFlag("--by-duration", f.duration, parseDuration, "how far back, such as 90m, 12h or 7d")
	if err != nil {
		return target{}, err
	}
	add(f.start, "--to-start", target{kind: toStart})
	add(f.end, "--to-end", target{kind: toEnd})
	add(f.offset != "", "--to-offset", target{kind: toOffset, n: offset})
	add(f.time != "", "--to-time", target{kind: toTime, n: at.UnixMilli()})
	add(f.duration != "", "--by-duration", target{kind: toTime, n: now.Add(-ago).UnixMilli()})
	add(f.shift != "", "--shift", target{kind: byShift, n: shift})
	add(f.group != "", "--from-group", target{kind: fromGroup, group: f.group})
	add(f.file != "", "--from-file", target{kind: fromFile, file: f.file})
	switch {
	case len(found) == 0:
		return target{}, usagef("where to? say one of --to-start, --to-end, --to-offset, --to-time, --by-duration, --shift, --from-group, --from-file")
	case len(found) > 1:
		return target{}, usagef("%s exclude each other", strings.Join(given, " and "))
	case found[0].kind == toTime && found[0].n < 0:
		return target{}, usagef("%s: that is before 1970", given[0])
	}
	return found[0], nil
}

// parseFlag reads the value of a flag, if it has one.
func parseFlag[T any](flag, value string, parse func(string) (T, error), want string) (T, error) {
	var zero T
	if value == "" {
		return zero, nil
	}
	v, err := parse(value)
	if err != nil {
		return zero, usagef("%s %s: want %s", flag, value, want)
	}
	return v, nil
}

// position is all that is known of one partition before a group is moved in it.
type position struct {
	mark
	start, end int64        // of the log
	timed      int64        // the first offset at or after the time of the target
	now        *kadm.Offset // committed; nil: none
	given      *kadm.Offset // by another group or a file; nil: none
	exact      bool         // given is to be taken as it is, and none means to delete: an undo
	err        error        // there is no such partition, or it was not told
}

// move is what a reset does in one partition.
type move struct {
	position
	after *kadm.Offset // nil: none
	note  string
}

// plan says where a group goes in one partition.
func (t target) plan(p position) move {
	m := move{position: p, after: p.now}
	if p.err != nil {
		return m
	}
	switch t.kind {
	case toStart:
		m.to(p.start)
	case toEnd:
		m.to(p.end)
	case toOffset:
		m.to(t.n)
	case toTime:
		m.to(p.timed)
		if p.timed >= p.end {
			m.note = "no record since then: the log's end"
		}
	case byShift:
		if p.now == nil {
			m.note = "never committed: nothing to shift"
			break
		}
		m.to(shifted(p.now.At, t.n))
	case fromGroup, fromFile:
		m.take(t)
	}
	return m
}

func shifted(at, by int64) int64 {
	if by > 0 && at > math.MaxInt64-by {
		return math.MaxInt64
	}
	return at + by
}

// to moves to an offset, but not out of the log: a member that found its offset
// there gone would begin at one end or the other, as its own settings say.
func (m *move) to(at int64) {
	o := kadm.Offset{Topic: m.topic, Partition: m.partition, At: at, LeaderEpoch: -1}
	switch {
	case at < m.start:
		o.At, m.note = m.start, fmt.Sprintf("%d is before the log's start", at)
	case at > m.end:
		o.At, m.note = m.end, fmt.Sprintf("%d is beyond the log's end", at)
	}
	m.after = &o
	if m.now != nil && m.now.At == o.At {
		m.after = m.now
	}
}

// take moves to what another group or a file has.
func (m *move) take(t target) {
	switch {
	case m.exact:
		m.after = m.given
		if m.given != nil && (m.given.At < m.start || m.given.At > m.end) {
			m.note = "not in the log any more; as it was"
		}
	case m.given == nil && t.kind == fromGroup:
		m.note = fmt.Sprintf("group %s has no offset here", t.group)
	case m.given == nil:
		m.note = "no offset in the file"
	default:
		m.to(m.given.At)
		if m.after.At == m.given.At && m.after != m.now {
			m.after = m.given
		}
	}
}

// changes is whether there is anything to write.
func (m *move) changes() bool {
	if m.err != nil || m.now == nil && m.after == nil {
		return false
	}
	return m.now == nil || m.after == nil || m.now.At != m.after.At ||
		m.exact && (m.now.LeaderEpoch != m.after.LeaderEpoch || m.now.Metadata != m.after.Metadata)
}

// cells are before, after, the difference, and the lag that follows.
func (m *move) cells() []any {
	var before, after, delta, lag any
	if m.now != nil {
		before = m.now.At
	}
	if m.after != nil {
		after = m.after.At
		if m.now != nil {
			delta = m.after.At - m.now.At
		}
		if m.err == nil {
			lag = max(m.end-m.after.At, 0)
		}
	}
	return []any{before, after, delta, lag}
}
