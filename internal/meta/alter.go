package meta

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// AlterOp is what an Alteration does, by Kafka's numbers in IncrementalAlterConfigs.
type AlterOp int8

// The operations.
const (
	AlterSet      AlterOp = 0
	AlterDelete   AlterOp = 1 // back to the default; a name that is not set is no error
	AlterAppend   AlterOp = 2 // adds to a list what it has not
	AlterSubtract AlterOp = 3 // takes from a list what it has
)

// Alteration is one change of a setting (KIP-339).
type Alteration struct {
	Name  string
	Op    AlterOp
	Value string // of AlterDelete: not looked at
}

// AlterTopic returns the settings of a topic after changes. The error wraps
// ErrInvalidConfig and names key, value and what is allowed.
func (s *Settings) AlterTopic(configs map[string]string, changes []Alteration) (map[string]string, error) {
	next, err := alter(configs, changes, func(name string) (string, bool) {
		d := definition(topicSettings, name)
		if d == nil || d.rule.kind != List {
			return "", false
		}
		return s.topicDefault(d).value, true
	})
	if err == nil {
		_, err = s.TopicConfig(next)
	}
	return next, err
}

// AlterGroup is AlterTopic for the settings of a consumer group.
func (s *Settings) AlterGroup(configs map[string]string, changes []Alteration) (map[string]string, error) {
	next, err := alter(configs, changes, func(string) (string, bool) { return "", false }) // none is a list
	if err == nil {
		_, err = s.GroupConfig(next)
	}
	return next, err
}

// alter makes changes on a copy. list tells the default of a setting that is a list.
func alter(configs map[string]string, changes []Alteration, list func(name string) (def string, ok bool)) (map[string]string, error) {
	next := maps.Clone(configs)
	if next == nil {
		next = map[string]string{}
	}
	for _, c := range changes {
		switch c.Op {
		case AlterSet:
			next[c.Name] = c.Value
		case AlterDelete:
			delete(next, c.Name)
		case AlterAppend, AlterSubtract:
			value, ok := list(c.Name)
			if !ok {
				return nil, fmt.Errorf("%w: %s is no list, so nothing can be appended to it or subtracted from it", ErrInvalidConfig, shorten(c.Name))
			}
			if set, ok := next[c.Name]; ok {
				value = set
			}
			next[c.Name] = alterList(value, c)
		default:
			return nil, fmt.Errorf("%w: there is no operation %d", ErrInvalidConfig, c.Op)
		}
	}
	return next, nil
}

func alterList(value string, c Alteration) string {
	parts := splitList(value)
	for _, p := range splitList(c.Value) {
		has := slices.Contains(parts, p)
		switch {
		case c.Op == AlterAppend && !has:
			parts = append(parts, p)
		case c.Op == AlterSubtract && has:
			parts = slices.DeleteFunc(parts, func(q string) bool { return q == p })
		}
	}
	return strings.Join(parts, ",")
}
