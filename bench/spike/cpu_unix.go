//go:build unix

package main

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used, in the kernel on its behalf included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
