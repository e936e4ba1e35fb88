package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const offsetHelp = `where to begin, and with FROM:TO where to end (TO itself is not read, and what is not there yet is not waited for):
start, end, N (an offset), +N (N after start), -N (N before end), @TIME;
TIME is now, -1h or -7d (ago), 2026-01-02T03:04Z, 2026-01-02, or milliseconds`

// bound is one end of what is consumed, before it is looked up in a partition.
type bound struct {
	kind boundKind
	n    int64 // records for afterStart and beforeEnd, an offset, or milliseconds since 1970
}

type boundKind uint8

const (
	unbounded boundKind = iota
	atStart
	atEnd
	afterStart
	beforeEnd
	atOffset
	atTime
)

// span is a parsed -o: from one bound to another, the second excluded; without
// a second one it goes on with what is still to come.
type span struct{ from, to bound }

// parseSpan reads the grammar of -o: BOUND or BOUND:BOUND. Times are full of
// colons: in a range that has a time in it, the colon that divides is the one
// before the second "@", or before the word or number that ends the range.
func parseSpan(s string, now time.Time) (span, error) {
	first, second, ranged := divide(s)
	from, err := parseBound(first, now)
	if err != nil {
		return span{}, fmt.Errorf("offset %q: %w", s, err)
	}
	if !ranged {
		return span{from: from}, nil
	}
	to, err := parseBound(second, now)
	if err != nil {
		return span{}, fmt.Errorf("offset %q: %w", s, err)
	}
	if from.kind == to.kind && (from.kind == atOffset || from.kind == atTime) && to.n < from.n {
		return span{}, fmt.Errorf("offset %q: ends before it begins", s)
	}
	return span{from, to}, nil
}

func divide(s string) (from, to string, ranged bool) {
	if i := strings.LastIndex(s, ":@"); i >= 0 {
		return s[:i], s[i+1:], true
	}
	if !strings.HasPrefix(s, "@") {
		return strings.Cut(s, ":")
	}
	for _, word := range []string{":end", ":start"} {
		if from, ok := strings.CutSuffix(s, word); ok {
			return from, word[1:], true
		}
	}
	return s, "", false
}

func parseBound(s string, now time.Time) (bound, error) {
	switch s {
	case "":
		return bound{}, errors.New("empty; want start, end, N, +N, -N or @TIME")
	case "start":
		return bound{kind: atStart}, nil
	case "end":
		return bound{kind: atEnd}, nil
	}
	if text, ok := strings.CutPrefix(s, "@"); ok {
		at, err := parseTime(text, now)
		if err != nil {
			return bound{}, err
		}
		return bound{atTime, at.UnixMilli()}, nil
	}
	kind, digits := atOffset, s
	switch s[0] {
	case '+':
		kind, digits = afterStart, s[1:]
	case '-':
		kind, digits = beforeEnd, s[1:]
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return bound{}, fmt.Errorf("%q is not start, end, N, +N, -N or @TIME", s)
	}
	return bound{kind, int64(n)}, nil
}

// timeLayouts are tried in order. Without a zone a time is UTC, as everything
// that weir prints.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02",
}

// parseTime reads a moment: now, a distance from now (-1h ago, 5m to come), a
// date with or without time, or digits: ten or fewer are seconds since 1970,
// more are milliseconds.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		if len(s) <= 10 {
			return time.Unix(int64(n), 0), nil
		}
		return time.UnixMilli(int64(n)), nil
	}
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	if d, err := parseDuration(s); err == nil {
		return now.Add(d), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time; want now, -1h, -7d, 2026-01-02T03:04Z, 2026-01-02 or milliseconds since 1970", s)
}

// parseDuration adds days to Go's durations, for whole numbers of them.
func parseDuration(s string) (time.Duration, error) {
	digits, ok := strings.CutSuffix(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	days, err := strconv.ParseInt(digits, 10, 64)
	const day = 24 * time.Hour
	if err != nil || days > math.MaxInt64/int64(day) || days < math.MinInt64/int64(day) {
		return 0, fmt.Errorf("%q is not a number of days", s)
	}
	return time.Duration(days) * day, nil
}

// resolve finds the offset of a bound in one partition whose log goes from
// start to end; byTime is the answer of the broker for a time, the first offset
// at or after it (end, if there is none yet).
func (b bound) resolve(start, end, byTime int64) int64 {
	switch b.kind {
	case atStart:
		return start
	case atEnd:
		return end
	case afterStart:
		return min(start+min(b.n, math.MaxInt64-start), end)
	case beforeEnd:
		return max(end-b.n, start)
	case atTime:
		return byTime
	default: // an offset; before the start there is nothing to read
		return max(b.n, start)
	}
}
