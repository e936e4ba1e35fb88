package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Kinds of documents that hold offsets of a group.
const (
	kindOffsets     = "GroupOffsets"     // from here on
	kindUndo        = "GroupOffsetsUndo" // as it was: exact, and null means none
	kindDescription = "GroupDescription" // what group describe -O json prints
)

// maxOffsetFile is the size of a file with offsets: half a million partitions.
const maxOffsetFile = 64 << 20

// offsetFile is what --from-file reads and a reset leaves for its undo.
type offsetFile struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Group      string       `json:"group,omitempty"`
	Made       string       `json:"made,omitempty"`
	Items      []offsetItem `json:"items"`
}

type offsetItem struct {
	Group       string  `json:"group,omitempty"` // of kindDescription
	Topic       string  `json:"topic"`
	Partition   *int32  `json:"partition"`
	Offset      *int64  `json:"offset"`
	Committed   *int64  `json:"committed,omitempty"` // of kindDescription
	LeaderEpoch *int32  `json:"leader_epoch,omitempty"`
	Metadata    *string `json:"metadata,omitempty"`
}

// givenOffsets are the offsets of a file for one group; nil means none.
type givenOffsets struct {
	offsets map[mark]*kadm.Offset
	exact   bool
}

// parseOffsets reads a document as weir writes it, or CSV: topic, partition,
// offset, as Kafka's own tool exports them, or under a line of column names.
func parseOffsets(b []byte, group string) (givenOffsets, error) {
	file := offsetFile{Kind: kindOffsets}
	var err error
	if trimmed := bytes.TrimSpace(b); len(trimmed) > 0 && trimmed[0] == '{' {
		err = json.Unmarshal(b, &file)
		if err == nil && (file.APIVersion != apiVersion || !slices.Contains([]string{kindOffsets, kindUndo, kindDescription}, file.Kind)) {
			err = fmt.Errorf("it is %q of %q; want %s, %s or %s of %q", file.Kind, file.APIVersion, kindOffsets, kindUndo, kindDescription, apiVersion)
		}
	} else {
		file.Items, err = csvOffsets(b)
	}
	if err != nil {
		return givenOffsets{}, err
	}
	if file.Group != "" && file.Group != group {
		return givenOffsets{}, fmt.Errorf("it holds the offsets of group %q, not of %q", file.Group, group)
	}
	return file.given(group)
}

func (f offsetFile) given(group string) (givenOffsets, error) {
	out := givenOffsets{offsets: map[mark]*kadm.Offset{}, exact: f.Kind == kindUndo}
	for i, item := range f.Items {
		offset := item.Offset
		if offset == nil && !out.exact {
			offset = item.Committed
		}
		switch {
		case item.Group != "" && item.Group != group:
			continue
		case f.Kind == kindDescription && offset == nil:
			continue
		case item.Topic == "" || item.Partition == nil || *item.Partition < 0:
			return out, fmt.Errorf("item %d has no topic or no partition", i+1)
		case offset == nil && !out.exact:
			return out, fmt.Errorf("item %d has no offset", i+1)
		case offset != nil && *offset < 0:
			return out, fmt.Errorf("item %d has the offset %d", i+1, *offset)
		}
		at := mark{item.Topic, *item.Partition}
		if _, twice := out.offsets[at]; twice {
			return out, fmt.Errorf("%s-%d is in it twice", at.topic, at.partition)
		}
		out.offsets[at] = nil
		if offset != nil {
			o := kadm.Offset{Topic: at.topic, Partition: at.partition, At: *offset, LeaderEpoch: -1, Metadata: deref(item.Metadata)}
			if item.LeaderEpoch != nil {
				o.LeaderEpoch = *item.LeaderEpoch
			}
			out.offsets[at] = &o
		}
	}
	if len(out.offsets) == 0 {
		return out, fmt.Errorf("it holds no offset of group %q", group)
	}
	return out, nil
}

func csvOffsets(b []byte) ([]offsetItem, error) {
	r := csv.NewReader(bytes.NewReader(b))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil || len(lines) == 0 {
		return nil, firstError(err, errors.New("it is empty"))
	}
	names := []string{"topic", "partition", "offset"}
	if len(lines[0]) == 4 {
		names = []string{"group", "topic", "partition", "offset"}
	}
	if slices.Contains(lines[0], "topic") && slices.Contains(lines[0], "partition") {
		names, lines = lines[0], lines[1:]
	}
	var items []offsetItem
	for i, cells := range lines {
		if len(cells) != len(names) {
			return nil, fmt.Errorf("record %d has %d fields; want %s", i+1, len(cells), strings.Join(names, ","))
		}
		item, err := csvItem(names, cells)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i+1, err)
		}
		if item.Offset != nil || !slices.Contains(names, "committed") { // describe tells of partitions without any
			items = append(items, item)
		}
	}
	return items, nil
}

func csvItem(names, cells []string) (item offsetItem, err error) {
	number := func(s string, bits int) *int64 {
		n, bad := strconv.ParseInt(s, 10, bits)
		if bad != nil {
			err = firstError(err, fmt.Errorf("%q is no number", s))
		}
		return &n
	}
	for i, name := range names {
		if cells[i] == "" {
			continue
		}
		switch name {
		case "group":
			item.Group = cells[i]
		case "topic":
			item.Topic = cells[i]
		case "partition":
			p := int32(*number(cells[i], 32))
			item.Partition = &p
		case "offset", "committed":
			item.Offset = number(cells[i], 64)
		case "leader_epoch":
			e := int32(*number(cells[i], 32))
			item.LeaderEpoch = &e
		case "metadata":
			item.Metadata = &cells[i]
		}
	}
	return item, err
}

// readOffsets reads a file, or standard input of the name "-".
func (a *app) readOffsets(name, group string) (givenOffsets, error) {
	in := a.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return givenOffsets{}, err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxOffsetFile+1))
	if err == nil && len(b) > maxOffsetFile {
		err = fmt.Errorf("it is larger than %d MiB", maxOffsetFile>>20)
	}
	if err != nil {
		return givenOffsets{}, fmt.Errorf("read offsets from %s: %w", name, err)
	}
	given, err := parseOffsets(b, group)
	if err != nil {
		return givenOffsets{}, fmt.Errorf("read offsets from %s: %w", name, err)
	}
	return given, nil
}

// undoOf is the file that takes the moves back.
func undoOf(group string, moves []move, now time.Time) offsetFile {
	file := offsetFile{APIVersion: apiVersion, Kind: kindUndo, Group: group, Made: now.UTC().Format(time.RFC3339)}
	for _, m := range moves {
		item := offsetItem{Topic: m.topic, Partition: &m.partition}
		if m.now != nil {
			item.Offset, item.LeaderEpoch, item.Metadata = &m.now.At, &m.now.LeaderEpoch, &m.now.Metadata
		}
		file.Items = append(file.Items, item)
	}
	return file
}

// undoName is the name of the undo file unless the user gives one.
func undoName(group string, now time.Time) string {
	const most = 100 // of a file's name, which has 255 bytes at most
	safe := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, group)
	return fmt.Sprintf("weir-undo-%s-%s.json", safe[:min(len(safe), most)], now.UTC().Format("20060102T150405.000Z"))
}

// writeUndo writes a file that does not exist yet, and syncs it: it is there
// before anything is changed.
func writeUndo(name string, file offsetFile) error {
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: name another file with --undo", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	syncDirOf(name)
	return nil
}
