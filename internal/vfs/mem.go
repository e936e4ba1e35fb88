package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Mem is a file system in memory that can crash. It starts with an empty root
// directory; absolute and relative names are the same, from the root. Bytes
// never written cost no memory, so a preallocated file is free.
type Mem struct {
	mu       sync.RWMutex
	root     *node
	capacity int64 // bytes
	used     int64 // bytes of reserved pages, of removed but open files too
	pending  []change
}

// NewMem makes an empty file system without a capacity limit.
func NewMem() *Mem {
	return &Mem{root: newDir(), capacity: math.MaxInt64}
}

// SetCapacity sets the size of the file system in bytes. Below what is in use
// already, everything that needs another page fails with ENOSPC.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// node is a file or a directory. The names that lead to it are in its parent.
type node struct {
	dir     bool
	entries map[string]*node // of a directory, as a program sees it
	durable map[string]*node // of a directory, as the disk has it

	data   content
	linked bool // a name leads to it
	open   int  // handles
	locked bool
}

func newDir() *node {
	return &node{dir: true, entries: map[string]*node{}, durable: map[string]*node{}, linked: true}
}

func split(name string) []string {
	name = filepath.Clean(name)
	name = strings.TrimPrefix(name, filepath.VolumeName(name))
	return strings.FieldsFunc(name, func(r rune) bool {
		return r == filepath.Separator || r == '/'
	})
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// find returns the node with this name. The caller holds mu, as for all
// helpers below it.
func (m *Mem) find(name string) (*node, error) {
	n := m.root
	for _, part := range split(name) {
		if part == "." {
			continue
		}
		if !n.dir {
			return nil, errNotDir
		}
		next := n.entries[part]
		if next == nil {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

// findParent returns the directory of a name, and the name's last part.
func (m *Mem) findParent(name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 || parts[len(parts)-1] == "." {
		return nil, "", errInvalid
	}
	d, err := m.find(filepath.Join(parts[:len(parts)-1]...))
	if err == nil && !d.dir {
		err = errNotDir
	}
	return d, parts[len(parts)-1], err
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.create(name)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	n.open++
	return &memFile{m: m, n: n, name: name}, nil
}

func (m *Mem) create(name string) (*node, error) {
	d, base, err := m.findParent(name)
	if err != nil {
		return nil, err
	}
	if d.entries[base] != nil {
		return nil, fs.ErrExist
	}
	n := &node{linked: true}
	d.entries[base] = n
	m.pending = append(m.pending, change{to: entry{d, base}, node: n})
	return n, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err == nil && n.dir {
		err = errIsDir
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n.open++
	return &memFile{m: m, n: n, name: name}, nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.root
	for _, part := range split(name) {
		if part == "." {
			continue
		}
		next := d.entries[part]
		if next == nil {
			next = newDir()
			d.entries[part] = next
			m.pending = append(m.pending, change{to: entry{d, part}, node: next})
			m.syncEntries(func(e entry) bool { return e == entry{d, part} })
		}
		if !next.dir {
			return pathError("mkdir", name, errNotDir)
		}
		d = next
	}
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, err := m.findDir(name)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	return slices.Sorted(maps.Keys(d.entries)), nil
}

func (m *Mem) findDir(name string) (*node, error) {
	d, err := m.find(name)
	if err == nil && !d.dir {
		err = errNotDir
	}
	return d, err
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return Info{Size: n.data.size, IsDir: n.dir}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.findDir(name)
	if err != nil {
		return pathError("syncdir", name, err)
	}
	m.syncEntries(func(e entry) bool { return e.dir == d })
	return nil
}

// SyncAll implements FS.
func (m *Mem) SyncAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.findDir(name)
	if err != nil {
		return pathError("syncall", name, err)
	}
	below := map[*node]bool{}
	d.walk(func(n *node) {
		if n.dir {
			below[n] = true
		} else {
			n.data.sync()
		}
	})
	m.syncEntries(func(e entry) bool { return below[e.dir] })
	return nil
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, child := range n.entries {
		child.walk(visit)
	}
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		n, err = m.create(name)
	}
	switch {
	case err != nil:
	case n.dir:
		err = errIsDir
	case n.locked:
		err = ErrLocked
	}
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	n.locked = true
	n.open++
	return &memLock{memFile{m: m, n: n, name: name}}, nil
}

// Usage implements FS.
func (m *Mem) Usage(name string) (Usage, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.find(name); err != nil {
		return Usage{}, pathError("statfs", name, err)
	}
	return Usage{Total: m.capacity, Free: max(0, m.capacity-m.used), Block: pageSize}, nil
}
