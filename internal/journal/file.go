package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

const (
	headerBlock   = 4096               // bytes; frames begin behind it
	fileMagic     = 0x7765697220776a6c // "weir wjl"
	formatVersion = 1
	maxSpares     = 2
	fileEnding    = ".journal"
	spareEnding   = ".spare"
)

// FormatError says that a file was written by a newer version of weir.
type FormatError struct {
	File             string
	Found, Supported uint32
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s has journal format %d, this version reads up to %d: use the version of weir that wrote it, or a newer one",
		e.File, e.Found, e.Supported)
}

// fileHead is the header block of a file.
type fileHead struct {
	seq         uint64
	incarnation uint32
	length      uint64 // of the file, in bytes; read by vouchedLength
}

func (h fileHead) encode() []byte {
	b := make([]byte, headerBlock)
	binary.BigEndian.PutUint64(b[0:], fileMagic)
	binary.BigEndian.PutUint32(b[8:], formatVersion)
	binary.BigEndian.PutUint32(b[12:], h.incarnation)
	binary.BigEndian.PutUint64(b[16:], h.seq)
	binary.BigEndian.PutUint64(b[28:], h.length)
	binary.BigEndian.PutUint32(b[24:], sumFileHead(b))
	return b
}

// sumFileHead sums the whole block but the checksum itself.
func sumFileHead(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:24], castagnoli), castagnoli, b[28:headerBlock])
}

// decodeFileHead reads a header block. A bad one is an ordinary thing: a file
// that was about to be used when the power went. A good one of a newer format
// is a FormatError without its file.
func decodeFileHead(b []byte) (fileHead, error) {
	if len(b) < headerBlock || binary.BigEndian.Uint64(b) != fileMagic {
		return fileHead{}, errors.New("no journal header")
	}
	if got, want := sumFileHead(b), binary.BigEndian.Uint32(b[24:]); got != want {
		return fileHead{}, fmt.Errorf("header checksum is %08x, the header says %08x", got, want)
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != formatVersion {
		return fileHead{}, &FormatError{Found: v, Supported: formatVersion}
	}
	return fileHead{seq: binary.BigEndian.Uint64(b[16:]), incarnation: binary.BigEndian.Uint32(b[12:])}, nil
}

// FirstFrame is the offset in a file at which its first frame begins.
const FirstFrame = headerBlock

// FileName is the name, in the journal's directory, of the file with a sequence
// number.
func FileName(seq uint64) string { return fmt.Sprintf("%020d%s", seq, fileEnding) }

// vouchedLength is the length that a header of this sequence number gives for the
// file, even if the file now ends within the header: no byte of a header is
// written before the length is durable. 0: none is given.
func vouchedLength(b []byte, seq uint64) int64 {
	if len(b) < 36 || binary.BigEndian.Uint64(b) != fileMagic || binary.BigEndian.Uint64(b[16:]) != seq {
		return 0
	}
	return int64(min(binary.BigEndian.Uint64(b[28:]), math.MaxInt64))
}

func (j *Journal) fileName(seq uint64) string { return filepath.Join(j.cfg.Dir, FileName(seq)) }

// parseFileName is the inverse of fileName for the last part of a name.
func parseFileName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, fileEnding)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil && seq > 0
}

// list finds the files. Those below the place of replay become spares; spares
// that a crash left half made are removed.
func (j *Journal) list() error {
	if err := j.cfg.FS.MkdirAll(j.cfg.Dir); err != nil {
		return err
	}
	names, err := j.cfg.FS.ReadDir(j.cfg.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(j.cfg.Dir, name)
		seq, ok := parseFileName(name)
		switch {
		case ok && seq >= j.mu.state.Replay.File:
			j.mu.files = append(j.mu.files, seq)
		case ok:
			if err := j.keepSpare(path); err != nil {
				return err
			}
		case strings.HasSuffix(name, spareEnding):
			if err := j.cfg.FS.Remove(path); err != nil {
				return err
			}
		}
	}
	slices.Sort(j.mu.files)
	return nil
}

// keepSpare makes a file a spare, or removes it if there are enough or if it
// has another size, after a change of the setting.
func (j *Journal) keepSpare(path string) error {
	info, err := j.cfg.FS.Stat(path)
	if err != nil {
		return err
	}
	if info.Size != j.cfg.FileBytes || len(j.mu.spares) >= maxSpares {
		return j.cfg.FS.Remove(path)
	}
	j.mu.spares = append(j.mu.spares, spare{path: path}) // nobody knows what of it was zeroed
	return nil
}

// syncReplayed makes durable what Replay has accepted. After a killed process
// the frames may stand in the page cache only, and the frames of the new
// incarnation will say that they are synced.
func (j *Journal) syncReplayed() error {
	if len(j.mu.files) == 0 {
		return nil
	}
	for _, seq := range j.mu.files {
		if seq > j.end.File {
			break
		}
		f, err := j.cfg.FS.Open(j.fileName(seq))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return j.cfg.FS.SyncDir(j.cfg.Dir)
}

// openFile is a file that the writer writes or has written.
type openFile struct {
	vfs.File
	seq   uint64
	ready int64 // frames may go below this offset, see makeReady
}

// spare is a file that waits to be used.
type spare struct {
	path  string
	ready int64
}

// useFile makes the file with the next sequence number out of a spare, or anew,
// with a durable header, before any frame goes into it.
func (j *Journal) useFile(seq uint64, incarnation uint32) (openFile, error) {
	name := j.fileName(seq)
	f, ready, err := j.nextFile(name)
	if err != nil {
		return openFile{}, err
	}
	head := fileHead{seq: seq, incarnation: incarnation}
	if j.cfg.Sync {
		head.length = uint64(j.cfg.FileBytes)
		err = f.Sync() // the length first, as the header vouches for it
	}
	if err == nil {
		_, err = f.WriteAt(head.encode(), 0)
	}
	if err == nil && j.cfg.Sync {
		if err = f.Sync(); err == nil {
			err = j.cfg.FS.SyncDir(j.cfg.Dir)
		}
		if err == nil {
			err = j.noteNewest(seq)
		}
	}
	if err != nil {
		return openFile{}, errors.Join(err, f.Close())
	}
	return openFile{File: f, seq: seq, ready: max(ready, headerBlock)}, nil
}

// zeroAhead is how much is zeroed at once in front of the writer.
const zeroAhead = 1 << 20

// makeReady sees to it that frames never go into blocks that are reserved and
// were never written. Such a block becomes readable by a change of the file
// system's own books behind the write, and file systems were seen to lose that
// change in a power cut although fdatasync had reported success (ext4, with its
// log cut off: 3 of 73 cuts; 0 of 73 with blocks that held zeros). Spares are
// zeroed in the background; what is not is zeroed here, a piece ahead of the
// writer, and synced before any frame goes there.
func (j *Journal) makeReady(f *openFile, end int64) error {
	if !j.cfg.Zero || !j.cfg.Sync || end <= f.ready {
		return nil
	}
	to := min(max(end, f.ready+zeroAhead), j.cfg.FileBytes)
	zeros := make([]byte, min(zeroChunk, to-f.ready))
	for off := f.ready; off < to; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-off)], off); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	f.ready = to
	return nil
}

// retryFull is how long after a full disk the writer tries again.
const retryFull = 250 * time.Millisecond

// nextFile takes a spare or makes a file. On a full disk it waits for room: the
// frames stay where they are and nobody is told of them, so nothing is lost, and
// the bound of what is pending holds back those who append. Close ends the wait.
func (j *Journal) nextFile(name string) (f vfs.File, ready int64, err error) {
	for waits := 0; ; waits++ {
		if f, ready, err = j.takeSpare(name); err != nil || f != nil {
			return f, ready, err
		}
		if f, err = j.newFile(name); err == nil || !isFull(err) {
			return f, 0, err
		}
		if rerr := j.removeHalfMade(name); rerr != nil {
			return nil, 0, errors.Join(err, rerr)
		}
		if waits == 0 {
			j.cfg.Logger.Error("no room for the next journal file: appends wait until there is space", "error", err)
			if j.cfg.Full != nil {
				j.cfg.Full()
				continue
			}
		}
		select {
		case <-time.After(retryFull):
		case <-j.stopPrepare:
			return nil, 0, err
		case <-j.failed:
			return nil, 0, err
		}
	}
}

// takeSpare gives a spare its new name. Without a spare it returns nil.
func (j *Journal) takeSpare(name string) (f vfs.File, ready int64, err error) {
	j.mu.Lock()
	if len(j.mu.spares) == 0 {
		j.mu.Unlock()
		return nil, 0, nil
	}
	s := j.mu.spares[0]
	j.mu.spares = slices.Delete(j.mu.spares, 0, 1)
	j.mu.Unlock()
	if err := j.cfg.FS.Rename(s.path, name); err != nil {
		return nil, 0, err
	}
	f, err = j.cfg.FS.Open(name)
	return f, s.ready, err
}

// newFile makes a file without zeroing it: the writer is waiting.
func (j *Journal) newFile(name string) (vfs.File, error) {
	f, err := j.cfg.FS.Create(name)
	if err != nil {
		return nil, err
	}
	if err := f.Preallocate(0, j.cfg.FileBytes); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readFull reads up to len(p) bytes; the end of the file is no error.
func readFull(f io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
