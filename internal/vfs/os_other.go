//go:build !linux

package vfs

import (
	"io/fs"
	"os"
	"path/filepath"
)

func datasync(f *os.File) error { return f.Sync() }

func preallocate(f *os.File, off, n int64) error { return extend(f, off, n) }

// syncAll syncs file by file: there is no call here that syncs a file system
// and reports its errors.
func syncAll(name string) error {
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDir(path)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := openFile(path, os.O_RDWR)
		if err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			f.Close()
			return err
		}
		return f.Close()
	})
}
