package storage

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// logFiles are the names of a topic's segment files.
func logFiles(t *testing.T, fs vfs.FS, id TopicID) (logs []string) {
	t.Helper()
	names, err := fs.ReadDir(topicDir("data", id))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			logs = append(logs, name)
		}
	}
	return logs
}

// segmented opens a store whose partition 0 of orders has several segments; a
// file stays for an hour after its segment left the log.
func segmented(t *testing.T, fs vfs.FS) (*Store, Config, *Partition) {
	t.Helper()
	cfg := smallConfig(fs)
	cfg.CheckpointBytes = 1 << 30 // no checkpoint but those of the test
	spec := orders
	spec.DeleteDelay = time.Hour
	s := mustOpen(t, cfg, spec)
	p := s.Partition(ordersID, 0)
	for i := 0; len(p.state.segments) < 4; i++ {
		put(t, s, p, textAt(2, strings.Repeat("x", 500), int64(1000*i)))
	}
	return s, cfg, p
}

// TestLogStartMoves: what lies below is out of range for readers, an extent that
// is held stays readable, watchers are woken.
func TestLogStartMoves(t *testing.T) {
	s, _, p := segmented(t, vfs.NewMem())
	defer mustClose(t, s)
	held, err := p.Read(0, 1, p.Offsets().High)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	want := make([]byte, held.Len())
	if _, err := held.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	w := NewWatcher(1 << 20)
	p.Watch(w, 3)
	second := p.state.segments[1].base
	bytesBefore := p.state.segments[0].size.Load()
	dropped, err := p.SetStart(second + 1)
	if err != nil || dropped != bytesBefore {
		t.Fatalf("SetStart: %d bytes, %v; the first segment has %d", dropped, err, bytesBefore)
	}
	if !woken(w) {
		t.Error("the watcher below the start sleeps on")
	}
	if o := p.Offsets(); o.Start != second+1 || len(p.state.segments) != 3 {
		t.Errorf("offsets %+v, %d segments", o, len(p.state.segments))
	}
	for _, offset := range []int64{0, second, p.Offsets().High + 1} {
		if _, err := p.Read(offset, 100, p.Offsets().High); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("read at %d: %v", offset, err)
		}
	}
	if got := mustRead(t, p, second+1); len(got) == 0 {
		t.Error("nothing to read from the start on")
	}
	got := make([]byte, held.Len())
	if _, err := held.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the held extent: %v", err)
	}
}

// TestLogStartBounds: it neither falls nor passes what is durable.
func TestLogStartBounds(t *testing.T) {
	s, _, p := segmented(t, vfs.NewMem())
	defer mustClose(t, s)
	high := p.Offsets().High
	if _, err := p.SetStart(high + 1); !errors.Is(err, ErrOffsetOutOfRange) || p.Offsets().Start != 0 {
		t.Errorf("start behind the high watermark: %v, %+v", err, p.Offsets())
	}
	if _, err := p.SetStart(7); err != nil {
		t.Fatal(err)
	}
	if n, err := p.SetStart(5); n != 0 || err != nil || p.Offsets().Start != 7 {
		t.Errorf("a lower start: %d, %v, %+v", n, err, p.Offsets())
	}
	if err := s.DeleteTopic(ordersID); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetStart(9); !errors.Is(err, ErrDeleted) {
		t.Errorf("start of a deleted partition: %v", err)
	}
}

// TestLogStartAtEnd: when all records go, so do all bytes, and the log goes on.
func TestLogStartAtEnd(t *testing.T) {
	fs := vfs.NewMem()
	s, cfg, p := segmented(t, fs)
	end := p.Offsets().End
	if _, err := p.SetStart(end); err != nil {
		t.Fatal(err)
	}
	if n := len(p.state.segments); n != 1 || p.state.segments[0].base != end || p.state.high.seg != p.state.segments[0] {
		t.Fatalf("%d segments are left", n)
	}
	if _, ts, _, err := p.MaxTimestamp(); ts != -1 || err != nil {
		t.Errorf("largest timestamp of an empty log: %d, %v", ts, err)
	}
	want := text(1, "after")
	if a := put(t, s, p, want); a.Base != end {
		t.Errorf("the next record got offset %d, the log ended at %d", a.Base, end)
	}
	mustClose(t, s)
	if logs := logFiles(t, fs, ordersID); len(logs) != 1 {
		t.Errorf("a clean stop left %v", logs)
	}
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p = s.Partition(ordersID, 0)
	if o := p.Offsets(); o.Start != end || o.End != end+1 || !bytes.Equal(mustRead(t, p, end), want) {
		t.Errorf("after a restart: %+v", o)
	}
}

// TestDiscardsWait: a file goes after its delay, after a checkpoint that does not
// list it, and after its last reader.
func TestDiscardsWait(t *testing.T) {
	fs := vfs.NewMem()
	s, _, p := segmented(t, fs)
	defer mustClose(t, s)
	held, err := p.Read(0, 1, p.Offsets().High)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(held.seg.log.name)
	if _, err := p.SetStart(p.state.segments[1].base); err != nil {
		t.Fatal(err)
	}
	there := func(when string, want bool) {
		t.Helper()
		got := false
		for _, log := range logFiles(t, fs, ordersID) {
			got = got || log == name
		}
		if got != want {
			t.Errorf("%s: file there is %t, want %t", when, got, want)
		}
	}
	later := s.cfg.Now().Add(time.Hour)
	if _, uncovered, _ := s.discards.take(later); !uncovered {
		t.Error("nothing says that a checkpoint is wanted")
	}
	there("without a checkpoint", true)
	if err := s.checkpoint(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if next := s.reap(s.cfg.Now()); next.IsZero() {
		t.Error("nothing is due")
	}
	there("before the delay is over", true)
	s.reap(later)
	there("while a reader holds it", true)
	held.Release()
	there("after the last reader", false)
}

// TestDiscardsGoWithTheirTopic: deleting the topic does not wait for the delay.
func TestDiscardsGoWithTheirTopic(t *testing.T) {
	fs := vfs.NewMem()
	s, _, p := segmented(t, fs)
	defer mustClose(t, s)
	if _, err := p.SetStart(p.state.segments[2].base); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteTopic(ordersID); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.ReadDir(topicDir("data", ordersID)); err == nil {
		t.Errorf("the topic's directory is still there, with %v", names)
	}
	if s.discards.hurry() {
		t.Error("segments are still waiting")
	}
}

// TestStartReadsLogStarts: a crash behind the record and before anything else is
// healed by the next start.
func TestStartReadsLogStarts(t *testing.T) {
	fs := vfs.NewMem()
	s, cfg, p := segmented(t, fs)
	start, left := p.state.segments[2].base+1, len(p.state.segments)-2
	cfg.FS = killed(fs)
	mustClose(t, s)
	spec := orders
	spec.Starts = []int64{start}
	s = mustOpen(t, cfg, spec)
	p = s.Partition(ordersID, 0)
	if o := p.Offsets(); o.Start != start {
		t.Errorf("offsets %+v, want the start at %d", o, start)
	}
	mustClose(t, s)
	if logs := logFiles(t, cfg.FS, ordersID); len(logs) != left {
		t.Errorf("%v are left, want %d", logs, left)
	}
}

// TestStartBehindEndOfATornLog: after a power cut in os mode the metadata log may
// know of a start that the log does not reach any more. No offset below the start
// is given out again. In sync mode that is damage.
func TestStartBehindEndOfATornLog(t *testing.T) {
	for _, mode := range []Durability{OS, Sync} {
		fs := vfs.NewMem()
		cfg := smallConfig(fs)
		cfg.Durability = mode
		s := mustOpen(t, cfg, orders)
		put(t, s, s.Partition(ordersID, 0), text(3, "x"))
		cfg.FS = killed(fs)
		mustClose(t, s)
		spec := orders
		spec.Starts = []int64{100}
		if mode == Sync {
			s, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var corrupt *CorruptError
			if err := s.Recover([]TopicSpec{spec}); !errors.As(err, &corrupt) {
				t.Errorf("sync mode: %v, want a CorruptError", err)
			}
			if err := s.abandon(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for range 2 {
			s = mustOpen(t, cfg, spec)
			p := s.Partition(ordersID, 0)
			end := p.Offsets().End
			if a := put(t, s, p, text(1, "y")); end < 100 || a.Base != end || p.Offsets().Start != 100 {
				t.Errorf("append behind a torn log: offset %d, %+v", a.Base, p.Offsets())
			}
			cfg.FS = killed(cfg.FS.(*vfs.Mem))
			mustClose(t, s)
		}
	}
}

// TestBackupOfALogWithoutSegments: what begins behind its torn end is in an archive,
// though it has no bytes.
func TestBackupOfALogWithoutSegments(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	cfg.Durability = OS
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), text(3, "x"))
	cfg.FS = killed(fs)
	mustClose(t, s)
	spec := orders
	spec.Starts = []int64{100}
	s = mustOpen(t, cfg, spec)
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	cfg.FS = vfs.NewMem()
	if err := restore(t.Context(), cfg.FS, &archive, "data"); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg, spec)
	defer mustClose(t, s)
	if o := s.Partition(ordersID, 0).Offsets(); o.Start != 100 || o.End != 100 {
		t.Errorf("restored: %+v, want 100 and nothing", o)
	}
}
