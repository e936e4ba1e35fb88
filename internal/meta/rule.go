package meta

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a setting's value, by Kafka's numbers in DescribeConfigs.
type Kind int8

// The kinds in use.
const (
	Boolean Kind = 1
	String  Kind = 2
	Int     Kind = 3
	Short   Kind = 4
	Long    Kind = 5
	Double  Kind = 6
	List    Kind = 7
)

// String is the kind's name as Kafka's documentation writes it.
func (k Kind) String() string {
	switch k {
	case Boolean:
		return "boolean"
	case String:
		return "string"
	case Int:
		return "int"
	case Short:
		return "short"
	case Long:
		return "long"
	case Double:
		return "double"
	}
	return "list"
}

// ErrInvalidConfig is what Kafka answers with INVALID_CONFIG: a setting's name
// is unknown or its value is not allowed.
var ErrInvalidConfig = errors.New("invalid setting")

// rule says which values a setting may have.
type rule struct {
	kind    Kind
	allowed string // for people: "a whole number from 1 to 10"
	good    func(value string) bool
}

// check returns an error that names key, value and what is allowed.
func (r rule) check(name, value string) error {
	if r.good(value) {
		return nil
	}
	return fmt.Errorf("%w: %s: value %q is not allowed, it must be %s", ErrInvalidConfig, name, value, r.allowed)
}

// whole allows integers from lo to hi.
func whole(kind Kind, lo, hi int64) rule {
	allowed := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	if hi == math.MaxInt64 || kind == Int && hi == math.MaxInt32 {
		allowed = fmt.Sprintf("a whole number from %d on", lo)
	}
	return rule{kind, allowed, func(value string) bool {
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && n >= lo && n <= hi
	}}
}

func intFrom(lo int64) rule  { return whole(Int, lo, math.MaxInt32) }
func longFrom(lo int64) rule { return whole(Long, lo, math.MaxInt64) }

// decimal allows numbers from lo to hi.
func decimal(lo, hi float64) rule {
	return rule{Double, fmt.Sprintf("a number from %g to %g", lo, hi), func(value string) bool {
		f, err := strconv.ParseFloat(value, 64)
		return err == nil && f >= lo && f <= hi
	}}
}

// boolean allows true and false in any case, as Kafka does.
func boolean() rule {
	return rule{Boolean, "true or false", func(value string) bool {
		return strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
	}}
}

// only allows one value: that which weir's way of working amounts to.
func only(kind Kind, word, why string) rule {
	return rule{kind, word + " (" + why + ")", func(value string) bool { return strings.EqualFold(value, word) }}
}

func oneOf(words ...string) rule {
	return rule{String, "one of " + strings.Join(words, ", "), func(value string) bool {
		return slices.Contains(words, value)
	}}
}

// listOf allows one or more of words, each once, separated by commas.
func listOf(words ...string) rule {
	return rule{List, "a list of " + strings.Join(words, ", ") + ", each at most once", func(value string) bool {
		parts := splitList(value)
		for i, p := range parts {
			if !slices.Contains(words, p) || slices.Contains(parts[:i], p) {
				return false
			}
		}
		return len(parts) > 0
	}}
}

// matching allows what good says.
func matching(kind Kind, allowed string, good func(string) bool) rule {
	return rule{kind, allowed, good}
}

// either allows what one of two rules allows.
func either(a, b rule) rule {
	return rule{a.kind, a.allowed + " or " + b.allowed, func(value string) bool { return a.good(value) || b.good(value) }}
}

// splitList cuts a list at its commas; the empty string is the empty list.
func splitList(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// maxNearest is how many similar names an error lists.
const maxNearest = 3

// nearest returns the names most like name, the best first.
func nearest(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	limit := max(2, len(name)/3)
	name = name[:min(len(name), 2*maxSettingName)]
	for _, n := range names {
		d := distance(name, n)
		if d <= limit || len(name) > 3 && strings.Contains(n, name) {
			found = append(found, candidate{n, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.distance - b.distance })
	var out []string
	for _, c := range found[:min(len(found), maxNearest)] {
		out = append(out, c.name)
	}
	return out
}

// maxSettingName is longer than any name there is; of an unknown name no more
// than twice as many bytes are compared, because it comes from the wire.
const maxSettingName = 100

// distance is the number of single-byte edits between two words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// errUnknown names what was asked for and what may have been meant.
func errUnknown(what, name string, names []string) error {
	hint := ""
	if near := nearest(name, names); len(near) > 0 {
		hint = "; nearest: " + strings.Join(near, ", ")
	}
	return fmt.Errorf("%w: there is no %s named %q%s", ErrInvalidConfig, what, shorten(name), hint)
}

// shorten cuts a name that is longer than any there is.
func shorten(name string) string {
	if len(name) > maxSettingName {
		return name[:maxSettingName] + "…"
	}
	return name
}
