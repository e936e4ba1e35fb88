package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/weirstream/weir/internal/vfs"
)

// ErrUnfinished: a restore or a salvage into the directory has not come to its
// end. It opens for nobody until that is done again, from the start.
var ErrUnfinished = errors.New("a restore or a salvage into it was broken off: run that again, which replaces what is there, or remove the directory")

// unfinishedName is the file that stands in a directory from before anything else
// is made there until all is durable and checked.
const unfinishedName = "unfinished"

// makings are the names that a restore or a salvage makes.
var makings = []string{"checkpoint", "checkpoint.tmp", "format", "format.tmp", "topics"}

// beginDirectory makes a data directory that is to be filled, marks it as
// unfinished, and keeps others out until the lock is closed. What an earlier one
// left that was broken off is removed; a directory that holds anything else is
// refused with fs.ErrExist.
func beginDirectory(fsys vfs.FS, dir string) (lock io.Closer, err error) {
	if _, err := leftIn(fsys, dir); err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	if lock, err = fsys.Lock(filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	if err := beginLocked(fsys, dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func beginLocked(fsys vfs.FS, dir string) error {
	left, err := leftIn(fsys, dir) // again: whoever had the lock may have gone on
	if err != nil {
		return err
	}
	mark := filepath.Join(dir, unfinishedName)
	if !slices.Contains(left, unfinishedName) {
		f, err := fsys.Create(mark)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	for _, name := range left {
		if name == unfinishedName || name == "lock" {
			continue
		}
		if err := fsys.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove what was broken off: %w", err)
		}
	}
	return fsys.MkdirAll(filepath.Join(dir, "topics"))
}

// leftIn lists what was broken off in a directory: nothing if it is empty or not
// there.
func leftIn(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	marked := slices.Contains(names, unfinishedName)
	for _, name := range names {
		if name != unfinishedName && name != "lock" && !(marked && slices.Contains(makings, name)) {
			return nil, fmt.Errorf("directory %s is not empty: %w", dir, fs.ErrExist)
		}
	}
	return names, nil
}

// Finish makes a directory one that opens, after Restore and a check of the
// result.
func Finish(fsys vfs.FS, dir string) error {
	if err := fsys.Remove(filepath.Join(dir, unfinishedName)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// checkFinished refuses a directory that is not finished.
func checkFinished(fsys vfs.FS, dir string) error {
	_, err := fsys.Stat(filepath.Join(dir, unfinishedName))
	switch {
	case err == nil:
		return fmt.Errorf("data directory %s: %w", dir, ErrUnfinished)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("open data directory %s: %w", dir, err)
}
