package journal

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/weirstream/weir/internal/vfs"
)

// CorruptError says that a frame which had been synced cannot be read. The
// journal is never cut there by itself: what follows was acknowledged.
type CorruptError struct {
	File   string
	Offset int64 // bytes from the start of the file
	LSN    LSN   // the frame that should stand there
	Synced LSN   // it is recorded that frames up to this one were synced
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal is corrupt: %s, byte %d: frame %d: %s; frames up to %d had been synced: restore the file from a copy, or the data directory from a backup",
		e.File, e.Offset, e.LSN, e.Reason, e.Synced)
}

// Replay calls f for each frame from State.Replay on. The entries and their
// bytes are valid during the call. A torn tail ends it quietly; corruption is
// a *CorruptError and nothing more is replayed. An error of f ends it and is
// returned as it is. It may be called again, before Start.
func (j *Journal) Replay(f func(lsn LSN, entries []Entry) error) error {
	st := j.mu.state
	r := replayer{j: j, visit: f, pos: st.Replay}
	defer r.close()
	for i, span := range st.Spans {
		if i > 0 {
			if r.pos.LSN != span.First {
				break
			}
			r.pos = span.Start
		}
		r.incarnation, r.last = span.Incarnation, 0
		if i+1 < len(st.Spans) {
			r.last = st.Spans[i+1].First - 1
		}
		if err := r.span(); err != nil {
			return err
		}
	}
	j.end = r.pos
	return r.judge()
}

// replayer walks the frames of one span after another.
type replayer struct {
	j           *Journal
	visit       func(LSN, []Entry) error
	pos         Position
	incarnation uint32
	last        LSN // of the span, if another one follows; else 0

	in      window
	entries []Entry
	bad     badFrame // why the walk ended at pos
}

// badFrame is a place where the frame wanted was not found.
type badFrame struct {
	at     Position
	reason string
	began  bool // its header was there: torn or corrupt, not just absent
}

// span visits frames until the next one is bad or absent.
func (r *replayer) span() error {
	for r.last == 0 || r.pos.LSN <= r.last {
		next, bad, err := r.frame(r.pos)
		if err == nil && bad.reason != "" {
			// The frame may not have fitted into the rest of the file.
			start := Position{File: r.pos.File + 1, Offset: headerBlock, LSN: r.pos.LSN}
			var there badFrame
			next, there, err = r.frame(start)
			if there.reason != "" {
				if there.began && !bad.began {
					bad = there
				}
				r.bad = bad
				return err
			}
		}
		if err != nil {
			return err
		}
		r.pos = next
	}
	return nil
}

// frame visits the frame at pos and returns the place behind it, or says why
// it is none.
func (r *replayer) frame(pos Position) (Position, badFrame, error) {
	bad := badFrame{at: pos, reason: "file is missing"}
	if ok, err := r.open(pos.File); err != nil || !ok {
		return pos, bad, err
	}
	switch {
	case r.in.damage != "":
		bad.reason = r.in.damage
		return pos, bad, nil
	case r.in.head.seq != pos.File || r.in.head.incarnation != r.incarnation:
		bad.reason = "file is not of this incarnation"
		return pos, bad, nil
	}
	bad.reason = "no frame"
	head, err := r.in.at(pos.Offset, frameHeader)
	if err != nil {
		return pos, bad, err
	}
	h, ok := decodeHead(head)
	if !ok || h.lsn != pos.LSN || h.incarnation != r.incarnation {
		return pos, bad, nil
	}
	bad.began, bad.reason = true, "it is longer than the file"
	size := alignUp(h.length)
	if size > r.in.size-pos.Offset {
		return pos, bad, nil
	}
	whole, err := r.in.at(pos.Offset, size)
	if err != nil || int64(len(whole)) < size {
		return pos, bad, err
	}
	if err := checkFrame(whole, h); err != nil {
		bad.reason = err.Error()
		return pos, bad, nil
	}
	if r.entries, err = decodeEntries(whole, h, r.entries); err != nil {
		bad.reason = err.Error()
		return pos, bad, nil
	}
	if err := r.visit(h.lsn, r.entries); err != nil {
		return pos, badFrame{}, err
	}
	return Position{File: pos.File, Offset: pos.Offset + size, LSN: pos.LSN + 1}, badFrame{}, nil
}

// judge tells a torn tail from corruption.
func (r *replayer) judge() error {
	if r.bad.reason == "" {
		return nil
	}
	lsn := r.pos.LSN
	synced := r.j.mu.state.Synced
	if synced < lsn {
		found, err := r.evidence()
		if err != nil {
			return err
		}
		synced = max(synced, found)
	}
	if synced >= lsn {
		return &CorruptError{File: r.j.fileName(r.bad.at.File), Offset: r.bad.at.Offset, LSN: lsn, Synced: synced, Reason: r.bad.reason}
	}
	if r.bad.began {
		r.j.cfg.Logger.Info("journal ends in a torn frame; nothing says that it was synced, so it is cut",
			"file", r.j.fileName(r.bad.at.File), "offset", r.bad.at.Offset, "lsn", uint64(lsn), "reason", r.bad.reason)
	}
	return nil
}

// evidence looks through all that stands behind the end for frames of this
// incarnation or a later one, and returns the highest synced LSN they tell of.
func (r *replayer) evidence() (LSN, error) {
	e := &r.j.evidence
	if e.done && e.at == r.pos {
		return e.lsn, nil
	}
	var synced LSN
	for _, seq := range r.j.mu.files {
		if seq < r.pos.File {
			continue
		}
		from := int64(headerBlock)
		if seq == r.pos.File {
			from = r.pos.Offset
		}
		found, err := r.scan(seq, from)
		if err != nil {
			return 0, err
		}
		synced = max(synced, found)
	}
	e.at, e.lsn, e.done = r.pos, synced, true
	return synced, nil
}

// scan looks for frames at every place where one can begin. Behind a good one
// it goes on, so that what looks like a frame inside a record does not count.
func (r *replayer) scan(seq uint64, off int64) (LSN, error) {
	var synced LSN
	if ok, err := r.open(seq); err != nil || !ok {
		return 0, err
	}
	for {
		var err error
		if off, err = r.in.find(off); err != nil || off < 0 {
			return synced, err
		}
		head, err := r.in.at(off, frameHeader)
		if err != nil {
			return synced, err
		}
		h, ok := decodeHead(head)
		size := alignUp(h.length)
		if !ok || h.lsn <= r.pos.LSN || h.incarnation < r.incarnation || size > r.in.size-off {
			off += align
			continue
		}
		whole, err := r.in.at(off, size)
		if err != nil {
			return synced, err
		}
		if int64(len(whole)) < size || checkFrame(whole, h) != nil {
			off += align
			continue
		}
		synced = max(synced, h.synced)
		off += size
	}
}

// open makes a file the one that is read, and reads its header; false means
// that the file does not exist.
func (r *replayer) open(seq uint64) (bool, error) {
	if r.in.f != nil && r.in.seq == seq {
		return true, nil
	}
	name := r.j.fileName(seq)
	f, err := r.j.cfg.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.close()
	r.in = window{f: f, seq: seq, buf: r.in.buf[:0]}
	if r.in.size, err = f.Size(); err != nil {
		return false, err
	}
	block, err := r.in.at(0, headerBlock)
	if err != nil {
		return false, err
	}
	r.in.head, err = decodeFileHead(block)
	var newer *FormatError
	if errors.As(err, &newer) {
		newer.File = name
		return false, newer
	}
	if err != nil {
		r.in.damage = err.Error()
	}
	if length := vouchedLength(block, seq); length > r.in.size && (err == nil || len(block) < headerBlock) {
		// Frames and all that they say of what was synced are gone with its end,
		// so nothing else could tell this from a torn tail.
		return false, &CorruptError{
			File: name, Offset: r.in.size, LSN: r.pos.LSN, Synced: r.j.mu.state.Synced,
			Reason: fmt.Sprintf("the file is cut: it has %d bytes and had %d before any frame", r.in.size, length),
		}
	}
	return true, nil
}

// close closes the file that was read last. It was only read, so its error
// could tell nothing.
func (r *replayer) close() {
	if r.in.f != nil {
		_ = r.in.f.Close()
		r.in.f = nil
	}
}

// windowBytes is how much of a file is read at once.
const windowBytes = 1 << 20

// window reads one file forward.
type window struct {
	f      vfs.File
	seq    uint64 // as its name says
	head   fileHead
	damage string // why head could not be read
	size   int64
	buf    []byte
	off    int64 // of buf in the file
}

// at returns n bytes from off on, fewer at the end of the file. They are valid
// until the next call. Memory is taken only for bytes that the file has.
func (w *window) at(off, n int64) ([]byte, error) {
	n = max(0, min(n, w.size-off))
	if off < w.off || off+n > w.off+int64(len(w.buf)) {
		want := min(max(n, windowBytes), max(0, w.size-off))
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want)
		}
		got, err := readFull(w.f, w.buf[:want], off)
		w.buf, w.off = w.buf[:got], off
		if err != nil {
			return nil, err
		}
	}
	from := off - w.off
	return w.buf[from:min(from+n, int64(len(w.buf)))], nil
}

// find returns the first place at or behind off that holds the magic of a
// frame, or -1.
func (w *window) find(off int64) (int64, error) {
	for off < w.size {
		b, err := w.at(off, min(windowBytes, w.size-off))
		if err != nil {
			return -1, err
		}
		for i := 0; i+align <= len(b); i += align {
			if b[i] == frameMagic>>24 && b[i+1] == frameMagic>>16&0xff && b[i+2] == frameMagic>>8&0xff && b[i+3] == frameMagic&0xff {
				return off + int64(i), nil
			}
		}
		if len(b) < align {
			break
		}
		off += int64(len(b)) &^ (align - 1)
	}
	return -1, nil
}
