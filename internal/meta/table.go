package meta

import (
	"slices"
	"strings"
)

// row is a row of a table of settings, which is sorted by their names.
type row interface{ key() string }

func (d setting) key() string      { return d.name }
func (d topicSetting) key() string { return d.name }
func (d groupSetting) key() string { return d.name }

// definition finds the row of a setting, or nil.
func definition[T row](table []T, name string) *T {
	i, ok := slices.BinarySearchFunc(table, name, func(d T, name string) int { return strings.Compare(d.key(), name) })
	if !ok {
		return nil
	}
	return &table[i]
}

// settingNames lists the names of all settings of a table.
func settingNames[T row](table []T) []string {
	list := make([]string, len(table))
	for i := range table {
		list[i] = table[i].key()
	}
	return list
}
