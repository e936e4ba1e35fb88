package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync leaves out the time stamps, which fsync would write at the price of
// a second write to the file system's journal.
func datasync(f *os.File) error {
	return control(f, unix.Fdatasync)
}

func preallocate(f *os.File, off, n int64) error {
	err := control(f, func(fd int) error { return unix.Fallocate(fd, 0, off, n) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return extend(f, off, n)
	}
	return err
}

// syncAll syncs the whole file system that holds name in one call.
func syncAll(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(control(d, unix.Syncfs), d.Close())
}
