package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadingOS is OS for a program that changes no existing file: Open asks for no
// right to write, so that it works where a failing disk was mounted read-only.
// Lock takes the lock of a file that is there with what rights there are; on a
// file system that cannot be written nobody else writes either, so that there a
// missing file is no reason to refuse.
func ReadingOS() FS { return readingFS{} }

type readingFS struct{ osFS }

func (readingFS) Open(name string) (File, error) {
	return wrapFile(openFile(name, os.O_RDONLY))
}

func (r readingFS) Lock(name string) (io.Closer, error) {
	c, err := r.osFS.Lock(name)
	if !errors.Is(err, syscall.EROFS) && !errors.Is(err, fs.ErrPermission) {
		return c, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
	return f, nil
}
