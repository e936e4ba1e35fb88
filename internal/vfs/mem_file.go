package vfs

import "io/fs"

// memFile is an open file of a Mem. It leads to the node and not to the name,
// so it stays valid when the name goes.
type memFile struct {
	m      *Mem
	n      *node
	name   string
	closed bool
}

// check refuses what an open file refuses. The caller holds m.mu.
func (f *memFile) check(op string, off, n int64) error {
	if f.closed {
		return pathError(op, f.name, fs.ErrClosed)
	}
	if off < 0 || n < 0 {
		return pathError(op, f.name, errInvalid)
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if err := f.check("read", off, 0); err != nil {
		return 0, err
	}
	return f.n.data.readAt(p, off)
}

// WriteAt implements io.WriterAt. On a full file system it writes the pages
// there is room for, and says how much that was.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", off, 0); err != nil || len(p) == 0 {
		return 0, err
	}
	for n := 0; n < len(p); {
		page := (off + int64(n)) / pageSize
		if !f.m.reserve(f.n, page, page+1) {
			return n, pathError("write", f.name, errNoSpace)
		}
		n += f.n.data.writePage(p[n:], off+int64(n))
	}
	return len(p), nil
}

// reserve takes pages [from, to) for a file, or none if there is no room.
func (m *Mem) reserve(n *node, from, to int64) bool {
	need := n.data.reserved.missing(from, to)
	if need == 0 {
		return true
	}
	if need > (m.capacity-m.used)/pageSize {
		return false
	}
	n.data.reserved.add(from, to)
	m.used += need * pageSize
	return true
}

// Close implements io.Closer.
func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.close()
}

func (f *memFile) close() error {
	if err := f.check("close", 0, 0); err != nil {
		return err
	}
	f.closed = true
	f.n.open--
	if !f.n.linked {
		f.m.drop(f.n)
	}
	return nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	return f.n.data.size, f.check("stat", 0, 0)
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", size, 0); err != nil {
		return err
	}
	f.m.used -= f.n.data.reserved.cut(pagesOf(size)) * pageSize
	f.n.data.truncate(size)
	return nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync", 0, 0); err != nil {
		return err
	}
	f.n.data.sync()
	return nil
}

// Preallocate implements File.
func (f *memFile) Preallocate(off, n int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("preallocate", off, n); err != nil || n == 0 {
		return err
	}
	if !f.m.reserve(f.n, off/pageSize, pagesOf(off+n)) {
		return pathError("preallocate", f.name, errNoSpace)
	}
	if off+n > f.n.data.size {
		f.n.data.truncate(off + n)
	}
	return nil
}

// memLock is a lock on a file of a Mem.
type memLock struct{ f memFile }

// Close gives the lock up.
func (l *memLock) Close() error {
	l.f.m.mu.Lock()
	defer l.f.m.mu.Unlock()
	if err := l.f.close(); err != nil {
		return err
	}
	l.f.n.locked = false
	return nil
}
