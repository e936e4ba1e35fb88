package cli

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestParseSpan(t *testing.T) {
	ms := func(h, m int) int64 { return time.Date(2026, 1, 2, h, m, 0, 0, time.UTC).UnixMilli() }
	at := func(n int64) bound { return bound{atTime, n} }
	for _, c := range []struct {
		in   string
		want span
	}{
		{"start", span{from: bound{kind: atStart}}},
		{"end", span{from: bound{kind: atEnd}}},
		{"0", span{from: bound{kind: atOffset}}},
		{"42", span{from: bound{atOffset, 42}}},
		{"+5", span{from: bound{afterStart, 5}}},
		{"-5", span{from: bound{beforeEnd, 5}}},
		{"3:9", span{bound{atOffset, 3}, bound{atOffset, 9}}},
		{"3:3", span{bound{atOffset, 3}, bound{atOffset, 3}}},
		{"start:end", span{bound{kind: atStart}, bound{kind: atEnd}}},
		{"-10:end", span{bound{beforeEnd, 10}, bound{kind: atEnd}}},
		{"+1:-1", span{bound{afterStart, 1}, bound{beforeEnd, 1}}},
		{"@now", span{from: at(ms(12, 0))}},
		{"@-1h", span{from: at(ms(11, 0))}},
		{"@-1h30m", span{from: at(ms(10, 30))}},
		{"@-7d", span{from: at(noon.AddDate(0, 0, -7).UnixMilli())}},
		{"@1h", span{from: at(ms(13, 0))}},
		{"@2026-01-02", span{from: at(ms(0, 0))}},
		{"@2026-01-02T03:04", span{from: at(ms(3, 4))}},
		{"@2026-01-02T03:04Z", span{from: at(ms(3, 4))}},
		{"@2026-01-02T03:04:00Z", span{from: at(ms(3, 4))}},
		{"@2026-01-02T05:04+02:00", span{from: at(ms(3, 4))}},
		{"@2026-01-02T03:04:00.000Z", span{from: at(ms(3, 4))}},
		{"@1767322800", span{from: at(1767322800000)}},
		{"@1767322800123", span{from: at(1767322800123)}},
		{"@-1h:@now", span{at(ms(11, 0)), at(ms(12, 0))}},
		{"@2026-01-02T03:04Z:@2026-01-02T05:06Z", span{at(ms(3, 4)), at(ms(5, 6))}},
		{"@2026-01-02T03:04Z:end", span{at(ms(3, 4)), bound{kind: atEnd}}},
		{"5:@2026-01-02T03:04", span{bound{atOffset, 5}, at(ms(3, 4))}},
	} {
		got, err := parseSpan(c.in, noon)
		if err != nil || got != c.want {
			t.Errorf("parseSpan(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
}

func TestParseSpanRefuses(t *testing.T) {
	for _, in := range []string{
		"", ":", "beginning", "5:", ":5", "9:3", "@", "@now:@-1h", "@yesterday", "--1", "+-1", "1.5", "+", "-", "@:",
		"99999999999999999999", "1:2:3", "@-1x", "@-999999999999d", "start:", "5 ",
	} {
		got, err := parseSpan(in, noon)
		if err == nil {
			t.Errorf("parseSpan(%q) = %+v, want an error", in, got)
		} else if !strings.Contains(err.Error(), `"`+in+`"`) {
			t.Errorf("parseSpan(%q): the error does not name it: %v", in, err)
		}
	}
}

func TestResolve(t *testing.T) {
	const start, end, byTime = 10, 20, 15
	for _, c := range []struct {
		in   string
		want int64
	}{
		{"start", 10}, {"end", 20}, {"+3", 13}, {"+30", 20}, {"+9223372036854775807", 20},
		{"-3", 17}, {"-30", 10}, {"12", 12}, {"3", 10}, {"30", 30}, {"@-1h", 15},
	} {
		s, err := parseSpan(c.in, noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.from.resolve(start, end, byTime); got != c.want {
			t.Errorf("%s in a log of %d to %d is %d, want %d", c.in, start, end, got, c.want)
		}
	}
}

// FuzzParseSpan: nothing panics, and what is accepted resolves inside the log,
// but for an offset that is not there yet.
func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"start:end", "+1:-1", "@-1h:@now", "@2026-01-02T03:04Z:@2026-01-02T05:06+01:00", "3:9", "@1767322800123", "@-7d"} {
		f.Add(s, int64(0), int64(100))
	}
	f.Fuzz(func(t *testing.T, s string, start, end int64) {
		if start < 0 || end < start {
			t.Skip("no log has such bounds")
		}
		got, err := parseSpan(s, noon)
		if err != nil {
			return
		}
		for _, b := range []bound{got.from, got.to} {
			if b.kind == unbounded {
				continue
			}
			at := b.resolve(start, end, start)
			if at < start || (at > end && b.kind != atOffset) {
				t.Errorf("%q resolves to %d, outside of %d to %d", s, at, start, end)
			}
		}
	})
}
