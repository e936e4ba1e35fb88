// Package vfs is the only way to files below the wall: the real file system,
// and one in memory that can crash.
package vfs
