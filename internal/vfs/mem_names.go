package vfs

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
)

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.findParent(name)
	if err == nil {
		switch n := d.entries[base]; {
		case n == nil:
			err = fs.ErrNotExist
		case len(n.entries) > 0:
			err = errNotEmpty
		default:
			m.unlink(d, base)
			return nil
		}
	}
	return pathError("remove", name, err)
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.findParent(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError("removeall", name, err)
	}
	if d.entries[base] != nil {
		m.removeTree(d, base)
	}
	return nil
}

// removeTree removes children first, one change each, because a power cut may
// come between any two of them.
func (m *Mem) removeTree(d *node, base string) {
	n := d.entries[base]
	for _, child := range slices.Sorted(maps.Keys(n.entries)) {
		m.removeTree(n, child)
	}
	m.unlink(d, base)
}

func (m *Mem) unlink(d *node, base string) {
	n := d.entries[base]
	delete(d.entries, base)
	m.pending = append(m.pending, change{to: entry{d, base}})
	m.drop(n)
}

// drop gives a node's space back once neither name nor handle is left.
func (m *Mem) drop(n *node) {
	n.linked = false
	if n.open == 0 {
		m.used -= n.data.reserved.cut(0) * pageSize
	}
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldName, newName); err != nil {
		return pathError("rename", oldName+" to "+newName, err)
	}
	return nil
}

func (m *Mem) rename(oldName, newName string) error {
	from, oldBase, err := m.findParent(oldName)
	if err != nil {
		return err
	}
	to, newBase, err := m.findParent(newName)
	if err != nil {
		return err
	}
	n, old := from.entries[oldBase], to.entries[newBase]
	switch {
	case n == nil:
		return fs.ErrNotExist
	case n == old:
		return nil
	case n.dir && isPrefix(split(oldName), split(newName)):
		return errInvalid
	case old == nil:
	case old.dir && !n.dir:
		return errIsDir
	case !old.dir && n.dir:
		return errNotDir
	case len(old.entries) > 0:
		return errNotEmpty
	}
	delete(from.entries, oldBase)
	to.entries[newBase] = n
	if old != nil {
		m.drop(old)
	}
	m.pending = append(m.pending, change{to: entry{to, newBase}, from: entry{from, oldBase}, node: n})
	return nil
}

func isPrefix(prefix, of []string) bool {
	return len(of) > len(prefix) && slices.Equal(of[:len(prefix)], prefix)
}
