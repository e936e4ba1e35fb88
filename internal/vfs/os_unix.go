//go:build unix

package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func openFile(name string, flag int) (*os.File, error) {
	return os.OpenFile(name, flag, 0o600)
}

// sysErr has nothing to translate: unix errors are syscall.Errno already.
func sysErr(err error) error { return err }

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockFile uses flock, which belongs to the open file: a second Lock in the
// same process is refused too, and a killed process holds nothing.
func lockFile(f *os.File) error {
	err := control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func usage(name string) (Usage, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(name, &s) }); err != nil {
		return Usage{}, err
	}
	size := int64(s.Bsize)
	return Usage{Total: int64(s.Blocks) * size, Free: int64(s.Bavail) * size, Block: size}, nil
}

// control runs fn on the descriptor while keeping the file open, and again
// when a signal interrupted it.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var opErr error
	err = c.Control(func(fd uintptr) {
		opErr = retry(func() error { return fn(int(fd)) })
	})
	if err != nil {
		// The poller's own error for this is not exported.
		return fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return opErr
}

func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
