package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/weirstream/weir/internal/vfs"
)

// zeroChunk is how much is zeroed between two looks at whether to stop.
const zeroChunk = 1 << 20

// prepare recycles released files and makes spares, off the writer's path. It
// is the only goroutine that removes files once the journal has started.
func (j *Journal) prepare() {
	for {
		select {
		case <-j.stopPrepare:
			return
		case <-j.failed:
			return
		case <-j.wakePrepare:
		}
		err := j.recycle()
		if err == nil && j.wantsSpare() {
			err = j.makeSpare()
		}
		switch {
		case err == nil:
		case isFull(err):
			// The writer will try again when it needs the file; until then
			// there may be room.
			j.cfg.Logger.Warn("no room for a spare journal file; appends stop when the current file is full", "error", err)
		default:
			j.fail(err)
			return
		}
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// recycle turns files that are below the released position, and that writer
// and syncer have left, into spares or removes them.
func (j *Journal) recycle() error {
	for _, seq := range j.takeReleased() {
		path := j.fileName(seq)
		info, err := j.cfg.FS.Stat(path)
		if err != nil {
			return fmt.Errorf("recycle %s: %w", path, err)
		}
		j.mu.Lock()
		ready := j.mu.ready[seq]
		delete(j.mu.ready, seq)
		j.mu.Unlock()
		if info.Size == j.cfg.FileBytes && j.addSpare(spare{path, ready}) {
			continue
		}
		if err := j.cfg.FS.Remove(path); err != nil {
			return fmt.Errorf("recycle %s: %w", path, err)
		}
	}
	return nil
}

// takeReleased takes the released files off the list.
func (j *Journal) takeReleased() []uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	below := j.mu.state.Replay.File
	if j.mu.current.File != nil {
		below = min(below, j.mu.current.seq)
	}
	for _, f := range j.mu.old {
		below = min(below, f.seq)
	}
	n, _ := slices.BinarySearch(j.mu.files, below)
	out := slices.Clone(j.mu.files[:n])
	j.mu.files = slices.Delete(j.mu.files, 0, n)
	return out
}

// FreeSpares removes the files that wait to be used, for a full disk, and says
// whether there were any. It is for the time before Start.
func (j *Journal) FreeSpares() (bool, error) {
	j.mu.Lock()
	spares := j.mu.spares
	j.mu.spares = nil
	j.mu.Unlock()
	for i, s := range spares {
		if err := j.cfg.FS.Remove(s.path); err != nil {
			return i > 0, fmt.Errorf("free spare journal file: %w", err)
		}
	}
	return len(spares) > 0, nil
}

func (j *Journal) addSpare(s spare) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.mu.spares) >= maxSpares {
		return false
	}
	j.mu.spares = append(j.mu.spares, s)
	return true
}

// spareFrom is the offset in the current file at which a spare is made.
func (j *Journal) spareFrom() int64 { return j.cfg.FileBytes / 4 }

// wantsSpare: one spare is made ahead, but not before a quarter of the current
// file is used, so that a broker that hardly writes takes one file only.
func (j *Journal) wantsSpare() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.mu.spares) == 0 && j.mu.next.Offset >= j.spareFrom()
}

func (j *Journal) makeSpare() (err error) {
	j.mu.Lock()
	j.mu.spareSeq++
	path := filepath.Join(j.cfg.Dir, fmt.Sprintf("%d%s", j.mu.spareSeq, spareEnding))
	j.mu.Unlock()
	f, err := j.newFile(path)
	ready := int64(0)
	if err == nil && j.cfg.Zero {
		ready, err = j.zero(f)
	}
	if err == nil && j.cfg.Sync {
		err = f.Sync()
	}
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		if isFull(err) {
			err = errors.Join(err, j.removeHalfMade(path))
		}
		return fmt.Errorf("make spare journal file: %w", err)
	}
	if !j.addSpare(spare{path, ready}) {
		return j.cfg.FS.Remove(path)
	}
	return nil
}

// zero writes zeros to all of a file, unless the journal stops in between, and
// tells how far it came.
func (j *Journal) zero(f vfs.File) (to int64, err error) {
	zeros := make([]byte, min(zeroChunk, j.cfg.FileBytes))
	for to < j.cfg.FileBytes {
		select {
		case <-j.stopPrepare:
			return to, nil
		case <-j.failed:
			return to, nil
		default:
		}
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), j.cfg.FileBytes-to)], to)
		to += int64(n)
		if err != nil {
			return to, err
		}
	}
	return to, nil
}

// removeHalfMade gives back the room that a spare took before the disk was full.
func (j *Journal) removeHalfMade(path string) error {
	if err := j.cfg.FS.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
