package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// Inspect shows the frames from State.Replay on as Replay does, and changes
// nothing: no file is made, renamed or removed. The error is that of Replay. It
// is for a check of a directory that no process has open.
func Inspect(cfg Config, st State, visit func(lsn LSN, entries []Entry) error) error {
	j, err := reading(cfg, st)
	if err != nil {
		return fmt.Errorf("inspect journal: %w", err)
	}
	return j.Replay(visit)
}

// Scavenge shows every good frame that stands anywhere in the files, file by
// file, whether or not it belongs to the journal's present contents: recycled
// files hold old frames. It needs no State and changes nothing. It is the last
// resort when Replay refuses, or when the checkpoint is lost.
func Scavenge(cfg Config, visit func(lsn LSN, incarnation uint32, entries []Entry) error) error {
	j, err := reading(cfg, State{})
	if err != nil {
		return fmt.Errorf("scavenge journal: %w", err)
	}
	r := replayer{j: j}
	defer r.close()
	for _, seq := range j.mu.files {
		if err := r.scavenge(seq, visit); err != nil {
			return fmt.Errorf("scavenge %s: %w", j.fileName(seq), err)
		}
	}
	return nil
}

// reading makes a Journal that can only be read.
func reading(cfg Config, st State) (*Journal, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if st.Replay.LSN == 0 {
		st.Replay.LSN = 1
	}
	j := &Journal{cfg: cfg, end: st.Replay}
	j.mu.state = st
	names, err := cfg.FS.ReadDir(cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range names {
		if seq, ok := parseFileName(filepath.Base(name)); ok && seq >= st.Replay.File {
			j.mu.files = append(j.mu.files, seq)
		}
	}
	slices.Sort(j.mu.files)
	return j, nil
}

// scavenge visits the good frames of one file, wherever they begin.
func (r *replayer) scavenge(seq uint64, visit func(LSN, uint32, []Entry) error) error {
	if ok, err := r.open(seq); err != nil || !ok {
		return err
	}
	for off := int64(headerBlock); ; {
		var err error
		if off, err = r.in.find(off); err != nil || off < 0 {
			return err
		}
		head, err := r.in.at(off, frameHeader)
		if err != nil {
			return err
		}
		h, ok := decodeHead(head)
		size := alignUp(h.length)
		if !ok || size > r.in.size-off {
			off += align
			continue
		}
		whole, err := r.in.at(off, size)
		if err != nil {
			return err
		}
		if int64(len(whole)) == size && checkFrame(whole, h) == nil {
			if r.entries, err = decodeEntries(whole, h, r.entries); err == nil {
				if err := visit(h.lsn, h.incarnation, r.entries); err != nil {
					return err
				}
				off += size
				continue
			}
		}
		off += align
	}
}
