package storage

import (
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/internal/vfs"
)

// fileSet bounds the open files. It is a clock: files form a ring, a hand
// passes over them, and one that was not used since the last pass is closed,
// after a sync if it was written. The set's lock is taken when a file is opened
// or closed, never for a read or a write.
type fileSet struct {
	fs   vfs.FS
	max  int
	fail func(error)
	mu   struct {
		sync.Mutex
		ring []*file
		hand int
	}
}

// file is a file that is opened when needed.
type file struct {
	set  *fileSet
	name string
	used atomic.Bool
	// dirty says that bytes were written and not synced. It is set after the
	// write: set before, a sync in between would clear it too early.
	dirty atomic.Bool

	mu   sync.RWMutex // read-held while f is in use
	f    vfs.File     // nil while closed
	slot int          // place in the ring, guarded by fileSet.mu
}

func (s *fileSet) file(name string) *file { return &file{set: s, name: name, slot: -1} }

// acquire returns the open file and keeps it open until release.
func (f *file) acquire() (vfs.File, error) {
	for {
		f.mu.RLock()
		if f.f != nil {
			if !f.used.Load() {
				f.used.Store(true)
			}
			return f.f, nil
		}
		f.mu.RUnlock()
		if err := f.open((vfs.FS).Open); err != nil {
			return nil, err
		}
	}
}

func (f *file) release() { f.mu.RUnlock() }

func (f *file) open(how func(vfs.FS, string) (vfs.File, error)) error {
	f.mu.Lock()
	if f.f != nil {
		f.mu.Unlock()
		return nil
	}
	h, err := how(f.set.fs, f.name)
	if err == nil {
		f.f = h
		f.used.Store(true)
	}
	f.mu.Unlock()
	if err == nil {
		f.set.opened(f)
	}
	return err
}

// create makes the file, which must not exist.
func (f *file) create() error { return f.open((vfs.FS).Create) }

// openOrCreate makes the file if it is absent.
func (f *file) openOrCreate() error {
	return f.open(func(fs vfs.FS, name string) (vfs.File, error) {
		if h, err := fs.Open(name); err == nil {
			return h, nil
		}
		return fs.Create(name)
	})
}

func (f *file) writeAt(b []byte, off int64) error {
	h, err := f.acquire()
	if err != nil {
		return err
	}
	_, err = h.WriteAt(b, off)
	f.dirty.Store(true)
	f.release()
	return err
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	h, err := f.acquire()
	if err != nil {
		return 0, err
	}
	defer f.release()
	return h.ReadAt(b, off)
}

func (f *file) size() (int64, error) {
	h, err := f.acquire()
	if err != nil {
		return 0, err
	}
	defer f.release()
	return h.Size()
}

func (f *file) truncate(n int64) error {
	h, err := f.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	err = h.Truncate(n)
	f.dirty.Store(true)
	return err
}

// sync makes durable what was written before the call. A file that is closed
// was synced when it was.
func (f *file) sync() error {
	if !f.dirty.Load() {
		return nil
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.f == nil {
		return nil
	}
	f.dirty.Store(false)
	return f.f.Sync()
}

// close closes the file; save says whether what was written shall be synced.
func (f *file) close(save bool) error {
	f.set.forget(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closeLocked(save)
}

func (f *file) closeLocked(save bool) error {
	if f.f == nil {
		return nil
	}
	var err error
	if save && f.dirty.Load() {
		err = f.f.Sync()
		f.dirty.Store(false)
	}
	if cerr := f.f.Close(); err == nil {
		err = cerr
	}
	f.f = nil
	return err
}

func (s *fileSet) opened(f *file) {
	s.mu.Lock()
	if f.slot < 0 {
		f.slot = len(s.mu.ring)
		s.mu.ring = append(s.mu.ring, f)
	}
	var victims []*file
	for len(s.mu.ring) > s.max {
		v := s.pick()
		if v == nil {
			break
		}
		victims = append(victims, v)
	}
	s.mu.Unlock()
	for _, v := range victims {
		if err := v.closeLocked(true); err != nil {
			s.fail(err)
		}
		v.mu.Unlock()
	}
}

// pick finds a file to close, takes it out of the ring and returns it locked.
// One that is being used just now is passed over: its user may be the caller.
func (s *fileSet) pick() *file {
	for range 2 * len(s.mu.ring) {
		s.mu.hand = (s.mu.hand + 1) % len(s.mu.ring)
		v := s.mu.ring[s.mu.hand]
		if v.used.Swap(false) || !v.mu.TryLock() {
			continue
		}
		s.drop(v)
		return v
	}
	return nil
}

func (s *fileSet) drop(f *file) {
	last := len(s.mu.ring) - 1
	s.mu.ring[f.slot] = s.mu.ring[last]
	s.mu.ring[f.slot].slot = f.slot
	s.mu.ring[last] = nil
	s.mu.ring = s.mu.ring[:last]
	f.slot = -1
}

func (s *fileSet) forget(f *file) {
	s.mu.Lock()
	if f.slot >= 0 {
		s.drop(f)
	}
	s.mu.Unlock()
}

func (s *fileSet) closeAll() error {
	s.mu.Lock()
	all := append([]*file(nil), s.mu.ring...)
	s.mu.Unlock()
	var first error
	for _, f := range all {
		if err := f.close(false); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (s *fileSet) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.ring)
}
