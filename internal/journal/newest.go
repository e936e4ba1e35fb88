package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/weirstream/weir/internal/vfs"
)

const (
	newestName  = "newest"
	newestMagic = 0x7765697220776a6e // "weir wjn"
	newestSlot  = 512                // bytes from one slot to the next: each in a sector of its own
	newestBytes = 20                 // of a slot that are used
)

// noteNewest makes durable that a file was begun, before any frame goes into it:
// nothing else could tell its removal from the journal's end. The two slots are
// written in turn, so that one is whole after a crash. A full disk is forgiven:
// the slots then tell of an older file, or the next file makes them.
func (j *Journal) noteNewest(seq uint64) error {
	name := filepath.Join(j.cfg.Dir, newestName)
	f, err := j.cfg.FS.Open(name)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = j.cfg.FS.Create(name)
	}
	if err == nil {
		b := make([]byte, newestBytes)
		binary.BigEndian.PutUint64(b, newestMagic)
		binary.BigEndian.PutUint64(b[8:], seq)
		binary.BigEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
		_, err = f.WriteAt(b, int64(seq%2)*newestSlot)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil && made {
		err = j.cfg.FS.SyncDir(j.cfg.Dir)
	}
	if err != nil && isFull(err) {
		j.cfg.Logger.Warn("no room to note which journal file is the newest", "file", name, "error", err)
		return nil
	}
	return err
}

// CheckNewest returns the name of the newest file that is known to have been begun
// in sync mode, if it is gone although reading from st on needs it; otherwise
// nothing. It is for a directory that was not stopped cleanly: after a clean stop
// no file is needed.
func CheckNewest(fsys vfs.FS, dir string, st State) (missing string, err error) {
	f, err := fsys.Open(filepath.Join(dir, newestName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // of an earlier version, or nothing was ever appended
	}
	if err != nil {
		return "", fmt.Errorf("read which journal file is the newest: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	b := make([]byte, newestSlot+newestBytes)
	n, err := readFull(f, b, 0)
	if err != nil {
		return "", fmt.Errorf("read which journal file is the newest: %w", err)
	}
	seq := max(newestIn(b[:n]), newestIn(b[min(n, newestSlot):n]))
	if seq == 0 || seq < st.Replay.File {
		return "", nil
	}
	name := filepath.Join(dir, FileName(seq))
	if _, err := fsys.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return name, nil
}

// newestIn reads a slot; 0 means that it is empty or torn.
func newestIn(b []byte) uint64 {
	if len(b) < newestBytes || binary.BigEndian.Uint64(b) != newestMagic ||
		binary.BigEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], castagnoli) {
		return 0
	}
	return binary.BigEndian.Uint64(b[8:])
}
