package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Snapshot is the content of a data directory, without the file that only takes
// space.
type Snapshot struct {
	files map[string][]byte // by path below the directory
	seen  map[string]stamp  // what Restore left there
}

type stamp struct {
	size int64
	when time.Time
}

// TakeSnapshot reads the directory of a broker that does not run.
func TakeSnapshot(dir string) (*Snapshot, error) {
	s := &Snapshot{files: map[string][]byte{}, seen: map[string]stamp{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "ballast" || e.Name() == "lock" {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		s.files[name] = b
		return err
	})
	return s, err
}

// Restore makes the directory what it was; files that nobody has touched since
// the last call are left as they are.
func (s *Snapshot) Restore(dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "ballast" || e.Name() == "lock" {
			return err
		}
		if name, _ := filepath.Rel(dir, path); s.files[name] == nil {
			return os.Remove(path)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for name, b := range s.files {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && (stamp{info.Size(), info.ModTime()}) == s.seen[name] {
			continue
		}
		if err := s.write(path, name, b); err != nil {
			return err
		}
	}
	return nil
}

func (s *Snapshot) write(path, name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil {
		s.seen[name] = stamp{info.Size(), info.ModTime()}
	}
	return err
}

// class is the sort of a file of the data directory.
type class string

const (
	segments    class = "segment"
	indexes     class = "index"
	journals    class = "journal"
	checkpoints class = "checkpoint"
	formats     class = "format"
)

func classify(name string) class {
	switch {
	case strings.HasSuffix(name, ".index"):
		return indexes
	case strings.HasSuffix(name, ".log"):
		return segments
	case strings.HasPrefix(name, "journal"):
		return journals
	case name == "checkpoint":
		return checkpoints
	case name == "format":
		return formats
	}
	return ""
}

// Place is one damage to one file.
type Place struct {
	File  string
	Class class
	How   string // "flip", "zero", "cut" or "remove"
	At    int64
	Bit   uint8
}

func (p Place) String() string {
	switch p.How {
	case "flip":
		return fmt.Sprintf("bit %d of byte %d of %s flipped", p.Bit, p.At, p.File)
	case "zero":
		return fmt.Sprintf("sector from byte %d of %s zero", p.At, p.File)
	case "cut":
		return fmt.Sprintf("%s cut to %d bytes", p.File, p.At)
	}
	return p.File + " removed"
}

// Pick chooses a place: most in segments and journal, all in bytes that are in use.
func (s *Snapshot) Pick(random *rand.Rand) Place {
	weights := []struct {
		class   class
		percent int
	}{{segments, 40}, {journals, 30}, {indexes, 14}, {checkpoints, 13}, {formats, 3}}
	dice, want := random.IntN(100), segments
	for _, w := range weights {
		if dice -= w.percent; dice < 0 {
			want = w.class
			break
		}
	}
	var names []string
	for name, b := range s.files {
		if classify(name) == want && used(b) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	p := Place{File: names[random.IntN(len(names))], Class: want, Bit: uint8(random.IntN(8))}
	p.At = random.Int64N(used(s.files[p.File]))
	switch n := random.IntN(100); {
	case n < 70:
		p.How = "flip"
		if want == segments && n < 20 {
			p.At = header(random, s.files[p.File])
		}
	case n < 80:
		p.How, p.At = "zero", p.At&^511
	case n < 97:
		p.How = "cut"
	default:
		p.How = "remove"
	}
	return p
}

// header picks a byte of the head of a batch, often of the last one: what lies in
// front of a batch's checksum is protected by other means, and least in the end.
func header(random *rand.Rand, b []byte) int64 {
	const lengthAt, before, unsummed = 8, 12, 17
	heads := []int{0}
	for at := 0; at+unsummed <= len(b); at = heads[len(heads)-1] {
		next := at + before + int(binary.BigEndian.Uint32(b[at+lengthAt:]))
		if next+unsummed > len(b) {
			break
		}
		heads = append(heads, next)
	}
	at := heads[len(heads)-1]
	if random.IntN(3) > 0 {
		at = heads[random.IntN(len(heads))]
	}
	return min(int64(at+random.IntN(unsummed)), int64(len(b)-1))
}

// used is the length without the zeros at the end.
func used(b []byte) int64 { return int64(len(bytes.TrimRight(b, "\x00"))) }

// Damage does it to the directory.
func (s *Snapshot) Damage(dir string, p Place) error {
	path := filepath.Join(dir, p.File)
	delete(s.seen, p.File)
	switch p.How {
	case "remove":
		return os.Remove(path)
	case "cut":
		return os.Truncate(path, p.At)
	}
	b := slices.Clone(s.files[p.File])
	if p.How == "flip" {
		b[p.At] ^= 1 << p.Bit
	} else {
		clear(b[p.At:min(p.At+512, int64(len(b)))])
	}
	return os.WriteFile(path, b, 0o600)
}

// Undo takes back the damage and nothing else.
func (s *Snapshot) Undo(dir string, p Place) error {
	return s.write(filepath.Join(dir, p.File), p.File, s.files[p.File])
}
