package vfs

import (
	"errors"
	"io"
)

// ErrLocked is returned by Lock when another holder has the file.
var ErrLocked = errors.New("vfs: locked by another holder")

// FS is a file system. Names use the operating system's separator; all
// operations on one FS are safe for concurrent use. Errors wrap the sentinel
// errors of io/fs and the errno values of syscall, so errors.Is works with
// fs.ErrNotExist, syscall.ENOSPC and syscall.EIO.
type FS interface {
	// Create makes a new file for reading and writing. It fails with
	// fs.ErrExist if name exists. The directory entry is durable only after
	// SyncDir of its directory.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Remove deletes one file or empty directory. An open file stays readable
	// through its handles.
	Remove(name string) error
	// RemoveAll deletes a tree; a missing one is no error.
	RemoveAll(name string) error
	// Rename replaces newName. It is durable only after SyncDir.
	Rename(oldName, newName string) error
	// MkdirAll makes a directory (mode 0700) and its parents, and makes every
	// new directory entry durable before it returns.
	MkdirAll(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)
	// Stat describes a file or directory.
	Stat(name string) (Info, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
	// SyncAll makes all that was written below a directory durable at once.
	SyncAll(name string) error
	// Lock takes an exclusive lock on a file, made if absent, until Close.
	Lock(name string) (io.Closer, error)
	// Usage tells the size of the file system that holds name, and the bytes
	// free on it.
	Usage(name string) (Usage, error)
}

// File is an open file. ReadAt and WriteAt are safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the length in bytes.
	Size() (int64, error)
	// Truncate sets the length in bytes.
	Truncate(size int64) error
	// Sync makes the contents and the length durable (fdatasync).
	Sync() error
	// Preallocate reserves the blocks of [off, off+n) and extends the length
	// to off+n; what was not written reads as zero.
	Preallocate(off, n int64) error
}

// Info describes a file or directory.
type Info struct {
	Size  int64 // bytes; 0 for a directory
	IsDir bool
}

// Usage is the state of a file system, in bytes.
type Usage struct {
	Total int64
	Free  int64 // available to this user
	// Block is what a file is given at once: a byte has room where another of its block
	// is. 0: not known.
	Block int64
}
