//go:build !linux

package vfs

import (
	"errors"
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
		if gone(err) {
			return nil // removed or renamed since its directory was read
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			if err := syncDir(path); !gone(err) {
				return err
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := openFile(path, os.O_RDWR)
		if gone(err) {
			return nil
		}
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

func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
