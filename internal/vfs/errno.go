package vfs

import "syscall"

// Errors of every platform; errors.Is finds them in what this package returns.
const (
	errNotDir   = syscall.ENOTDIR
	errIsDir    = syscall.EISDIR
	errInvalid  = syscall.EINVAL
	errNotEmpty = syscall.ENOTEMPTY
	errNoSpace  = syscall.ENOSPC
)
