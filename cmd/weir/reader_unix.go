//go:build unix

package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// readerGone returns true once nobody reads standard output any more, and false
// when ctx ends first or standard output is no pipe. It looks five times a second.
func readerGone(ctx context.Context) bool {
	info, err := os.Stdout.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(os.Stdout.Fd())}}
	for ctx.Err() == nil {
		n, err := unix.Poll(fds, 200)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		case n > 0:
			return fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	}
	return false
}
