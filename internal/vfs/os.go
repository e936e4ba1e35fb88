package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// OS returns the operating system's own file system.
//
// What the platforms differ in: Sync is fdatasync on Linux, F_FULLFSYNC on
// macOS, FlushFileBuffers on Windows. Preallocate reserves blocks on Linux
// only; elsewhere it sets the length, and a full disk shows at a later write.
// Windows has no way to sync a directory; NTFS logs its entries itself, so
// SyncDir only checks there that the directory exists.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	return wrapFile(openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL))
}

func (osFS) Open(name string) (File, error) {
	return wrapFile(openFile(name, os.O_RDWR))
}

// wrapFile keeps a nil *os.File from becoming a File that is not nil.
func wrapFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, sysErr(err)
	}
	return &osFile{f}, nil
}

func (osFS) Remove(name string) error             { return os.Remove(name) }
func (osFS) RemoveAll(name string) error          { return os.RemoveAll(name) }
func (osFS) Rename(oldName, newName string) error { return sysErr(os.Rename(oldName, newName)) }

func (o osFS) MkdirAll(name string) error {
	name = filepath.Clean(name)
	if info, err := os.Stat(name); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errNotDir}
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(name)
	if parent != name {
		if err := o.MkdirAll(parent); err != nil {
			return err
		}
	}
	// Another goroutine may have made it in between, and may not have synced
	// its entry yet; so both of them sync.
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return sysErr(err)
	}
	return o.SyncDir(parent)
}

func (osFS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	if info.IsDir() {
		return Info{IsDir: true}, nil
	}
	return Info{Size: info.Size()}, nil
}

func (osFS) SyncDir(name string) error { return syncDir(name) }
func (osFS) SyncAll(name string) error { return syncAll(name) }

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, sysErr(err)
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
	return f, nil
}

func (osFS) Usage(name string) (Usage, error) {
	u, err := usage(name)
	if err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return u, nil
}

// osFile is an open file of the operating system.
type osFile struct{ f *os.File }

func (o *osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }

func (o *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := o.f.WriteAt(p, off)
	return n, sysErr(err)
}

func (o *osFile) Close() error              { return o.f.Close() }
func (o *osFile) Truncate(size int64) error { return sysErr(o.f.Truncate(size)) }

func (o *osFile) Sync() error {
	if err := datasync(o.f); err != nil {
		return &fs.PathError{Op: "sync", Path: o.f.Name(), Err: err}
	}
	return nil
}

func (o *osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (o *osFile) Preallocate(off, n int64) error {
	if off < 0 || n < 0 {
		return &fs.PathError{Op: "preallocate", Path: o.f.Name(), Err: errInvalid}
	}
	if n == 0 {
		return nil
	}
	if err := preallocate(o.f, off, n); err != nil {
		return &fs.PathError{Op: "preallocate", Path: o.f.Name(), Err: sysErr(err)}
	}
	return nil
}

// extend grows a file to off+n and never shrinks it: what is left of
// Preallocate where the file system cannot reserve blocks.
func extend(f *os.File, off, n int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= off+n {
		return err
	}
	return f.Truncate(off + n)
}
