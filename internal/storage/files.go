package storage

import (
	"bytes"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/weirstream/weir/internal/vfs"
)

// fileSet bounds the open files. It is a clock: files form a ring, a hand
// passes over them, and one that was not used since the last pass is closed,
// after a sync if it was written. The set's lock is taken when a file is opened
// or closed, never for a read or a write.
type fileSet struct {
	fs      vfs.FS
	dir     string // what SyncAll is asked for
	max     int
	fail    func(error)
	crowded func() // asks for a checkpoint
	mu      struct {
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
	// syncing is held from the moment dirty is cleared until the sync has ended:
	// who finds the file clean may rely on it.
	syncing sync.Mutex
	// lost says that a sync failed. It is set before dirty is cleared, for good: the
	// kernel may have dropped what was written, and the next sync would say nothing.
	lost atomic.Bool

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
	return f.open(func(fsys vfs.FS, name string) (vfs.File, error) {
		if h, err := fsys.Open(name); !errors.Is(err, fs.ErrNotExist) {
			return h, err
		}
		return fsys.Create(name)
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

// holds says whether b stands at off already, and marks the file as written, so
// that the next sync covers b all the same.
func (f *file) holds(b []byte, off int64) bool {
	h, err := f.acquire()
	if err != nil {
		return false
	}
	defer f.release()
	w := windows.Get().(*window)
	defer windows.Put(w)
	for len(b) > 0 {
		n := min(len(b), len(w.b))
		if k, _ := h.ReadAt(w.b[:n], off); k < n || !bytes.Equal(w.b[:n], b[:n]) {
			return false
		}
		b, off = b[n:], off+int64(n)
	}
	f.dirty.Store(true)
	return true
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
	f.syncing.Lock()
	defer f.syncing.Unlock()
	if !f.dirty.Load() {
		return f.intact()
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.f == nil || f.lost.Load() {
		return f.intact()
	}
	f.dirty.Store(false)
	return f.note(f.f.Sync())
}

// note remembers that a sync failed.
func (f *file) note(err error) error {
	if err != nil {
		f.lost.Store(true)
	}
	return err
}

// errLost is what every sync of a file says after one that failed.
var errLost = errors.New("a sync of the file failed before")

func (f *file) intact() error {
	if f.lost.Load() {
		return errLost
	}
	return nil
}

// unsynced says whether bytes of the file may not be durable: written and not
// synced, or being synced by another goroutine right now.
func (f *file) unsynced() bool {
	if !f.syncing.TryLock() {
		return true
	}
	defer f.syncing.Unlock()
	return f.dirty.Load() || f.lost.Load()
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
		err = f.note(f.f.Sync())
	}
	if cerr := f.f.Close(); err == nil {
		err = cerr
	}
	f.f = nil
	f.dirty.Store(false)
	return err
}

// append writes b at off and leaves the file as it was found, open or closed.
// It is for files that are written seldom and need no sync: kept open, they
// would drive out those that do.
func (f *file) append(b []byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil {
		_, err := f.f.WriteAt(b, off)
		f.dirty.Store(true)
		return err
	}
	h, err := f.set.fs.Open(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		h, err = f.set.fs.Create(f.name)
	}
	if err != nil {
		return err
	}
	_, err = h.WriteAt(b, off)
	return errors.Join(err, h.Close())
}

// opened takes f into the ring and closes others if there are too many. Files
// with nothing to sync go first. If there are none, the set grows to twice its
// size while a checkpoint, which syncs many at once, is asked for. Only then are
// written files synced and closed, an eighth of the set together.
func (s *fileSet) opened(f *file) {
	s.mu.Lock()
	if f.slot < 0 {
		f.slot = len(s.mu.ring)
		s.mu.ring = append(s.mu.ring, f)
	}
	over := len(s.mu.ring) - s.max
	if over <= 0 {
		s.mu.Unlock()
		return
	}
	victims := s.pick(f, min(over, 8), false)
	crowded := len(victims) == 0
	if len(s.mu.ring) > 2*s.max {
		victims = append(victims, s.pick(f, 1+s.max/8, true)...)
	}
	s.mu.Unlock()
	if crowded {
		s.crowded()
	}
	save := true
	if len(victims) > syncAllAbove {
		save = false
		if err := s.fs.SyncAll(s.dir); err != nil {
			for _, v := range victims {
				v.lost.Store(true)
			}
			s.fail(err)
		}
	}
	for _, v := range victims {
		if err := v.closeLocked(save); err != nil {
			s.fail(err)
		}
		v.mu.Unlock()
	}
}

// pick finds at most n files to close, takes them out of the ring and returns
// them locked. The one just opened stays, or its opener would never get to use
// it; one that is being used just now is passed over, for its user may be
// the caller.
func (s *fileSet) pick(except *file, n int, written bool) (victims []*file) {
	for range min(2*len(s.mu.ring), 64+2*n) {
		if len(victims) == n || len(s.mu.ring) == 0 {
			break
		}
		s.mu.hand = (s.mu.hand + 1) % len(s.mu.ring)
		v := s.mu.ring[s.mu.hand]
		if v == except || !written && v.dirty.Load() || v.used.Swap(false) || !v.mu.TryLock() {
			continue
		}
		if !written && v.dirty.Load() {
			v.mu.Unlock()
			continue
		}
		s.drop(v)
		victims = append(victims, v)
	}
	return victims
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
