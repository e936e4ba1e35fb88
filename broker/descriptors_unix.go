//go:build unix

package broker

import "syscall"

// descriptorLimit is how many files the process may have open; 0: not known.
func descriptorLimit() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return uint64(l.Cur)
}
