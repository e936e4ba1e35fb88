package storage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// A backup is a tar archive of the files that a data directory would have after a
// clean stop at one moment, its cut:
//
//	format
//	topics/<topic id>/<segment>.log, all that the checkpoint lists
//	checkpoint
//
// The cut is taken under the locks of all partitions at once, so a commit to
// several of them is in it whole or not at all, and offsets committed by groups
// never lie behind it. Nothing is read or written under the locks. Segments never
// change below the cut and are pinned until they are copied, so producers,
// retention and the cleaner go on meanwhile. The journal is not needed: all that
// the cut holds is in segments.
//
// The checkpoint comes last: an archive that was cut short has none, and is
// refused. Indexes are left out; they are made anew.

// cut is the moment that a backup shows.
type cut struct {
	records  [][]byte
	segments []cutSegment
}

type cutSegment struct {
	*segment
	size int64
}

// Backup writes an archive of everything that was acknowledged before it began,
// and perhaps of more, to w. Each batch is verified on the way; a damaged one
// ends it with a *CorruptError. The store serves as before meanwhile.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	c, newest, err := s.cut()
	if err != nil {
		return err
	}
	defer c.unpin()
	// What is in the archive must be nothing that a power cut can still take here:
	// its offsets would then be given a second time.
	if err := s.Wait(ctx, newest, Durable); err != nil {
		return err
	}
	out := tar.NewWriter(w)
	now := s.cfg.Now()
	if err := tarFile(out, "format", fmt.Appendf(nil, "weir data %d\n", formatVersion), now); err != nil {
		return err
	}
	for _, seg := range c.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := seg.copyTo(out, now); err != nil {
			return fmt.Errorf("back up %s: %w", seg.log.name, err)
		}
	}
	// A restored log may end before what clients have seen: a later leader epoch
	// has them look where their offsets stand.
	b := encodeCheckpoint(&checkpoint{clean: true, durability: s.cfg.Durability, epoch: s.epoch + 1}, c.records)
	if err := tarFile(out, "checkpoint", b, now); err != nil {
		return err
	}
	return out.Close()
}

// cut describes all partitions at one moment, pins their segments, and returns
// the newest frame that the cut may hold.
func (s *Store) cut() (*cut, LSN, error) {
	if !s.ready.Load() {
		return nil, 0, errors.New("storage is not recovered yet")
	}
	s.changing.Lock() // no topic comes or goes
	defer s.changing.Unlock()
	var parts []*Partition
	for _, t := range *s.topics.Load() {
		parts = append(parts, t.partitions()...)
	}
	slices.SortFunc(parts, (*Partition).compare)
	for _, p := range parts {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	select {
	case <-s.closing:
		return nil, 0, ErrClosed
	case <-s.failed:
		return nil, 0, s.Err()
	default:
	}
	c := &cut{}
	for _, p := range parts {
		p.addTo(c)
	}
	return c, LSN(s.j.Next().LSN - 1), nil
}

// addTo adds the partition to a cut; mu is held. One that begins behind the end that a
// power cut left it has offsets and no segments.
func (p *Partition) addTo(c *cut) {
	st := p.current()
	if len(st.segments) == 0 && st.next == 0 {
		return
	}
	c.records = append(c.records, appendPartition(nil, &st))
	p.state.Lock()
	defer p.state.Unlock()
	for _, seg := range p.state.segments {
		seg.pin() // the log holds a pin itself, so it is there
		c.segments = append(c.segments, cutSegment{seg, seg.size.Load()})
	}
}

func (c *cut) unpin() {
	for _, seg := range c.segments {
		seg.unpin()
	}
}

// copyTo verifies the segment and writes its bytes to the archive.
func (s cutSegment) copyTo(out *tar.Writer, now time.Time) error {
	if s.size > 0 {
		if err := s.checkPrefixes(0, s.size); err != nil {
			return err
		}
	}
	for pos := int64(0); pos < s.size; {
		n, err := s.checkBatch(pos, s.size)
		if err != nil {
			return err
		}
		pos += n
	}
	dir, name := filepath.Split(s.log.name)
	head := tarHeader(path.Join("topics", filepath.Base(dir), name), s.size, now)
	if err := out.WriteHeader(head); err != nil {
		return err
	}
	_, err := io.Copy(out, io.NewSectionReader(s.log, 0, s.size))
	return err
}

func tarHeader(name string, size int64, now time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: now.Truncate(time.Second)}
}

func tarFile(out *tar.Writer, name string, b []byte, now time.Time) error {
	if err := out.WriteHeader(tarHeader(name, int64(len(b)), now)); err != nil {
		return err
	}
	_, err := out.Write(b)
	return err
}

// ErrArchive: what is restored is no whole archive of a backup.
var ErrArchive = errors.New("not a whole backup")

var archivedLog = regexp.MustCompile(`^topics/[0-9a-f]{32}/[0-9]+-[0-9]{20}(-[0-9]+)?\.log$`)

// Restore makes the data directory dir, which must not exist or be empty, out of
// an archive that Backup wrote; what another Restore left there that was broken
// off is replaced. The directory does not open before Finish: whoever calls it
// checks the result first, for the batches are not looked at.
func Restore(ctx context.Context, fsys vfs.FS, r io.Reader, dir string) (err error) {
	lock, err := beginDirectory(fsys, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	t := &restored{fs: fsys, dir: dir, sizes: map[string]int64{}, dirs: map[string]bool{}}
	in := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		err = t.entry(h, in)
		if errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrArchive) {
			err = fmt.Errorf("%w: %w", ErrArchive, err)
		}
		if err != nil {
			return fmt.Errorf("restore %s: %w", h.Name, err)
		}
	}
	return t.finish()
}

// restored is what came out of an archive.
type restored struct {
	fs         vfs.FS
	dir        string
	sizes      map[string]int64 // of the segments, by name in the archive
	dirs       map[string]bool
	format     bool
	checkpoint []byte
}

func (t *restored) entry(h *tar.Header, r io.Reader) error {
	switch {
	case h.Typeflag != tar.TypeReg || t.checkpoint != nil:
		return fmt.Errorf("%w: unexpected entry", ErrArchive)
	case h.Name == "format":
		b, err := io.ReadAll(io.LimitReader(r, 1<<10))
		if err != nil {
			return err
		}
		t.format = true
		if err := writeDurable(t.fs, filepath.Join(t.dir, "format"), b); err != nil {
			return err
		}
		return (&Store{cfg: Config{FS: t.fs, Dir: t.dir}}).checkFormat()
	case h.Name == "checkpoint":
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		t.checkpoint = b
		return nil
	case t.format && archivedLog.MatchString(h.Name):
		return t.log(h, r)
	}
	return fmt.Errorf("%w: unexpected entry", ErrArchive)
}

func (t *restored) log(h *tar.Header, r io.Reader) error {
	name := filepath.Join(t.dir, filepath.FromSlash(h.Name))
	if dir := filepath.Dir(name); !t.dirs[dir] {
		t.dirs[dir] = true
		if err := t.fs.MkdirAll(dir); err != nil {
			return err
		}
	}
	f, err := t.fs.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(&fileWriter{f: f}, r)
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Sync()
	}
	t.sizes[h.Name] = n
	return errors.Join(err, f.Close())
}

// finish makes the directory one that opens.
func (t *restored) finish() error {
	if t.checkpoint == nil {
		return fmt.Errorf("%w: it ends before its checkpoint, which comes last", ErrArchive)
	}
	c, err := decodeCheckpoint(t.checkpoint)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	for i := range c.partitions {
		p := &c.partitions[i]
		for _, s := range p.segments {
			name := path.Join("topics", fmt.Sprintf("%x", p.topic[:]), segmentFile{s.base, s.generation}.name(p.partition)+".log")
			if size, ok := t.sizes[name]; !ok || size != s.size {
				return fmt.Errorf("%w: %s has %d bytes, the checkpoint says %d", ErrArchive, name, size, s.size)
			}
		}
	}
	for dir := range t.dirs {
		if err := t.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return writeDurable(t.fs, filepath.Join(t.dir, "checkpoint"), t.checkpoint)
}

// fileWriter writes a file from its start on.
type fileWriter struct {
	f  vfs.File
	at int64
}

func (w *fileWriter) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.at)
	w.at += int64(n)
	return n, err
}
