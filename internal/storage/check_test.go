package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// testCatalog is told which topics exist, and does not look into the records.
type testCatalog struct {
	topics  []TopicSpec
	applied int
	refuse  bool
	adopted []TopicID
}

func (c *testCatalog) Apply(batch.Batch) error {
	if c.applied++; c.refuse {
		return errors.New("no such record")
	}
	return nil
}
func (c *testCatalog) Topics() []TopicSpec { return slices.Clone(c.topics) }
func (c *testCatalog) Adopt(id TopicID, partitions int32) (TopicSpec, bool) {
	c.adopted = append(c.adopted, id)
	return TopicSpec{ID: id, Name: "adopted", Partitions: partitions}, true
}
func (c *testCatalog) Rebuild(next int64) batch.Batch { return text(1, fmt.Sprint("rebuilt ", next)) }

// written is a data directory as a stop leaves it, and what is in it.
type written struct {
	fs   *vfs.Mem
	ends [3]int64
	torn bool // killed without frames: the end of a log may be torn
}

// writeLogs makes three logs with several segments each. With kill, the stop is
// not clean and the end of the logs is in the journal.
func writeLogs(t testing.TB, mode Durability, kill bool) written {
	t.Helper()
	w := written{fs: vfs.NewMem(), torn: kill && mode == OS}
	cfg := smallConfig(w.fs)
	cfg.Durability = mode
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Metadata(), text(1, "topic"))
	for i := range 120 {
		p := s.Partition(ordersID, int32(i%3))
		b := text(1+i%3, fmt.Sprintf("%d-%s", i, strings.Repeat("x", i%40*10)))
		if i%4 == 0 {
			b = produced(int64(7+i%3), 0, int32(i/12*2), 2)
		}
		put(t, s, p, b)
	}
	for n := range w.ends {
		w.ends[n] = s.Partition(ordersID, int32(n)).Offsets().End
	}
	if kill {
		w.fs = killed(w.fs)
	}
	mustClose(t, s)
	return w
}

func check(t testing.TB, fsys vfs.FS) *CheckReport {
	t.Helper()
	r, err := Check(context.Background(), CheckConfig{FS: fsys, Dir: "data", Catalog: &testCatalog{topics: []TopicSpec{orders}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCheckClean: what the store writes has no problem, however it was stopped,
// and the check changes nothing.
func TestCheckClean(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		for _, kill := range []bool{false, true} {
			w := writeLogs(t, mode, kill)
			before := listing(t, w.fs, "data")
			r := check(t, w.fs)
			if len(r.Problems) > 0 || len(r.Lost) > 0 {
				t.Errorf("mode %d, killed %v: %+v", mode, kill, r)
			}
			if r.Partitions != 4 || r.Batches != 121 || r.Clean == kill {
				t.Errorf("mode %d, killed %v: %d partitions, %d batches, clean %v", mode, kill, r.Partitions, r.Batches, r.Clean)
			}
			if after := listing(t, w.fs, "data"); !slices.Equal(before, after) {
				t.Errorf("the check changed the directory: %v, before %v", after, before)
			}
		}
	}
}

// listing names all files below dir, with their sizes.
func listing(t testing.TB, fsys vfs.FS, dir string) (out []string) {
	t.Helper()
	names, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir {
			out = append(out, listing(t, fsys, path)...)
			continue
		}
		out = append(out, fmt.Sprint(path, " ", info.Size))
	}
	return out
}

// flipBit changes one bit of a file.
func flipBit(t testing.TB, fsys vfs.FS, name string, at int64, bit int) {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// segmentsOf returns the segment files of orders-0, ascending.
func segmentsOf(t testing.TB, fsys vfs.FS) (names []string) {
	t.Helper()
	dir := topicDir("data", ordersID)
	all, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasPrefix(name, "0-") && strings.HasSuffix(name, ".log") {
			names = append(names, filepath.Join(dir, name))
		}
	}
	if len(names) < 3 {
		t.Fatalf("%d segments, the test needs 3", len(names))
	}
	return names
}

// TestCheckFinds: each kind of damage is reported with its file and offset, and
// with something to do.
func TestCheckFinds(t *testing.T) {
	sealed := func(w written, t *testing.T) string { return segmentsOf(t, w.fs)[1] }
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, w written) (file string)
		reason string
	}{
		{"a record", func(t *testing.T, w written) string {
			flipBit(t, w.fs, sealed(w, t), 70, 3)
			return sealed(w, t)
		}, "checksum of the batch"},
		{"base offset", func(t *testing.T, w written) string {
			flipBit(t, w.fs, sealed(w, t), 7, 0)
			return sealed(w, t)
		}, "offset"},
		{"leader epoch", func(t *testing.T, w written) string {
			flipBit(t, w.fs, sealed(w, t), 15, 0)
			return sealed(w, t)
		}, "bytes 0-16"},
		{"length", func(t *testing.T, w written) string {
			flipBit(t, w.fs, sealed(w, t), 10, 6)
			return sealed(w, t)
		}, "length of the batch"},
		{"magic", func(t *testing.T, w written) string {
			flipBit(t, w.fs, sealed(w, t), 16, 0)
			return sealed(w, t)
		}, "magic"},
		{"truncated segment", func(t *testing.T, w written) string {
			f, err := w.fs.Open(sealed(w, t))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n, _ := f.Size()
			if err := f.Truncate(n - 5); err != nil {
				t.Fatal(err)
			}
			return sealed(w, t)
		}, "were made durable"},
		{"missing segment", func(t *testing.T, w written) string {
			name := sealed(w, t)
			if err := w.fs.Remove(name); err != nil {
				t.Fatal(err)
			}
			return name
		}, "missing"},
		{"index", func(t *testing.T, w written) string {
			name := strings.TrimSuffix(sealed(w, t), ".log") + ".index"
			flipBit(t, w.fs, name, 3, 1)
			return name
		}, "entry is damaged"},
		{"checkpoint", func(t *testing.T, w written) string {
			flipBit(t, w.fs, "data/checkpoint", 40, 1)
			return "data/checkpoint"
		}, "checksum"},
		{"format", func(t *testing.T, w written) string {
			flipBit(t, w.fs, "data/format", 0, 1)
			return "data/format"
		}, "format version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := writeLogs(t, Sync, false)
			file := c.damage(t, w)
			r := check(t, w.fs)
			if !slices.ContainsFunc(r.Problems, func(p Problem) bool {
				return p.File == file && strings.Contains(p.Reason, c.reason) && p.Next != ""
			}) {
				t.Errorf("no problem of %s with %q: %+v", file, c.reason, r.Problems)
			}
		})
	}
}

// TestCheckJournal: a damaged frame that had been synced is reported.
//
// Salvage takes the frames behind it, and what the damaged one held from the
// segment, where the same bytes went.
func TestCheckJournal(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.CheckpointBytes = 1 << 30
	s := mustOpen(t, cfg, orders)
	p := s.Partition(ordersID, 0)
	for i := range 20 {
		put(t, s, p, text(1, fmt.Sprint("value ", i)))
	}
	mem = killed(mem)
	mustClose(t, s)
	name := "data/journal/00000000000000000001.journal"
	flipBit(t, mem, name, 4096+500, 2)
	r := check(t, mem)
	if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.File == name && strings.Contains(p.Reason, "synced") }) {
		t.Fatalf("%+v", r.Problems)
	}
	var refused *CorruptError
	if s, err := Open(smallConfig(killed(mem))); err == nil {
		err = s.Recover([]TopicSpec{orders})
		mustClose(t, s)
		t.Fatalf("a start took it: %v", err)
	} else if !errors.As(err, &refused) || refused.File != name {
		t.Fatalf("a start says %v", err)
	}
	for _, gone := range []bool{false, true} {
		if gone { // as a power cut leaves it
			if err := mem.RemoveAll(topicDir("data", ordersID)); err != nil {
				t.Fatal(err)
			}
		}
		out := fmt.Sprint("out", gone)
		r, err := Salvage(context.Background(), CheckConfig{FS: mem, Dir: "data", Catalog: &testCatalog{topics: []TopicSpec{orders}}}, out)
		if err != nil {
			t.Fatal(err)
		}
		lost := int64(0)
		for _, l := range r.Lost {
			lost += l.To - l.From
		}
		cfg = smallConfig(mem)
		cfg.Dir = out
		s = mustOpen(t, cfg, orders)
		got := offsetsOf(t, s.Partition(ordersID, 0))
		mustClose(t, s)
		if want := map[bool]int64{false: 0, true: 1}[gone]; lost != want || int64(len(got)) != 20-want {
			t.Errorf("segments gone %v: %d lost, %d salvaged; %+v", gone, lost, len(got), r)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	mem := vfs.NewMem()
	_, err := Check(context.Background(), CheckConfig{FS: mem, Dir: "nothing", Catalog: &testCatalog{}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	s := mustOpen(t, smallConfig(mem))
	if _, err := Check(context.Background(), CheckConfig{FS: mem, Dir: "data", Catalog: &testCatalog{}}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a directory in use: %v", err)
	}
	mustClose(t, s)
	if err := writeDurable(mem, "data/format", []byte("weir data 99\n")); err != nil {
		t.Fatal(err)
	}
	var format *FormatError
	if _, err := Check(context.Background(), CheckConfig{FS: mem, Dir: "data", Catalog: &testCatalog{}}); !errors.As(err, &format) {
		t.Errorf("a newer format: %v", err)
	}
}

// offsetsOf reads a log from start to end and returns the values by offset.
func offsetsOf(t testing.TB, p *Partition) map[int64]string {
	t.Helper()
	out := map[int64]string{}
	o := p.Offsets()
	for at := o.Start; at < o.High; {
		e, err := p.Read(at, 4<<10, o.High)
		if err != nil {
			t.Fatalf("offset %d of %+v: %v", at, o, err)
		}
		b := make([]byte, e.Len())
		if _, err := e.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("offset %d: %v", at, err)
		}
		e.Release()
		for len(b) > 0 {
			one, rest, err := batch.Split(b)
			if err != nil {
				t.Fatal(err)
			}
			for r, err := range one.Records(1 << 20) {
				if err != nil {
					t.Fatal(err)
				}
				out[r.Offset] = string(r.Value)
			}
			at, b = one.NextOffset(), rest
		}
	}
	return out
}

func inLost(lost []Lost, n int32, offset int64) bool {
	return slices.ContainsFunc(lost, func(l Lost) bool {
		return l.Topic == "orders" && l.Partition == n && l.From <= offset && offset < l.To
	})
}

// TestSalvage flips bits and cuts files at random. What is good comes over at
// the same offsets, what is missing is in the report, and little else is lost;
// the copy opens, is without a problem, and can be appended to.
func TestSalvage(t *testing.T) {
	for seed := range uint64(120) {
		rng := rand.New(rand.NewPCG(seed, 5))
		mode, kill := Durability(seed%2), seed%4 > 1
		w := writeLogs(t, mode, kill)
		want := allBefore(t, w.fs, mode)
		var files []string
		for _, line := range listing(t, w.fs, "data") {
			name, _, _ := strings.Cut(line, " ")
			if ext := filepath.Ext(name); ext == ".log" && !strings.Contains(name, "0000001/") || ext == ".index" || ext == ".journal" {
				files = append(files, name)
			}
		}
		what := "nothing"
		for range rng.IntN(4) {
			name := files[rng.IntN(len(files))]
			info, err := w.fs.Stat(name)
			if err != nil || info.Size == 0 {
				continue
			}
			at := rng.Int64N(info.Size)
			if strings.HasSuffix(name, ".journal") {
				at %= 24 << 10          // where the frames are
				w.torn = w.torn || kill // the last frame may be hit
			}
			flipBit(t, w.fs, name, at, rng.IntN(8))
			what += fmt.Sprint(", ", name, " at ", at)
		}
		if rng.IntN(6) == 0 {
			flipBit(t, w.fs, "data/checkpoint", 30, 1)
			what += ", checkpoint"
		}
		cfg := CheckConfig{FS: w.fs, Dir: "data", Catalog: &testCatalog{topics: []TopicSpec{orders}}}
		r, err := Salvage(context.Background(), cfg, "out")
		if err != nil {
			t.Fatalf("seed %d (%s): %v", seed, what, err)
		}
		verifySalvage(t, w, r, want, fmt.Sprintf("seed %d, mode %d, killed %v, damage %s", seed, mode, kill, what))
		if t.Failed() {
			return
		}
	}
}

// allBefore is what a start on a copy of the directory finds.
func allBefore(t testing.TB, mem *vfs.Mem, mode Durability) (out [3]map[int64]string) {
	t.Helper()
	cfg := smallConfig(killed(mem))
	cfg.Durability = mode
	s := mustOpen(t, cfg, orders)
	for n := range out {
		out[n] = offsetsOf(t, s.Partition(ordersID, int32(n)))
	}
	mustClose(t, s)
	return out
}

func verifySalvage(t *testing.T, w written, r *CheckReport, want [3]map[int64]string, what string) {
	t.Helper()
	again, err := Check(context.Background(), CheckConfig{FS: w.fs, Dir: "out", Catalog: &testCatalog{topics: []TopicSpec{orders}}})
	if err != nil || len(again.Problems) > 0 {
		t.Fatalf("%s: the copy: %v, %+v", what, err, again)
	}
	cfg := smallConfig(w.fs)
	cfg.Dir = "out"
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	missing := 0
	for n := range want {
		p := s.Partition(ordersID, int32(n))
		got := offsetsOf(t, p)
		for offset, value := range want[n] {
			switch have, ok := got[offset]; {
			case ok && have != value:
				t.Fatalf("%s: offset %d of partition %d is %q, was %q", what, offset, n, have, value)
			case !ok && w.torn && offset >= p.Offsets().End:
				// Without frames nothing tells damage of the last batch from a torn end.
			case !ok && !inLost(r.Lost, int32(n), offset):
				// Without a checkpoint nothing tells where a log ended.
				if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.File == "data/checkpoint" }) {
					t.Fatalf("%s: offset %d of partition %d is missing and not reported: %+v", what, offset, n, r)
				}
			case !ok:
				missing++
			}
		}
		if end := p.Offsets().End; end != w.ends[n] && !w.torn && len(r.Problems) > 0 && r.Problems[0].File != "data/checkpoint" {
			t.Fatalf("%s: partition %d ends at %d, was %d", what, n, end, w.ends[n])
		}
		put(t, s, p, text(1, "after"))
	}
	if missing > 60 {
		t.Fatalf("%s: %d records are lost", what, missing)
	}
}

// TestSalvageMetadata: without its metadata log the directory's logs are copied
// all the same.
func TestSalvageMetadata(t *testing.T) {
	w := writeLogs(t, Sync, false)
	flipBit(t, w.fs, filepath.Join(topicDir("data", MetadataTopic), segmentName(0, 0)+".log"), 70, 1)
	catalog := &testCatalog{}
	r, err := Salvage(context.Background(), CheckConfig{FS: w.fs, Dir: "data", Catalog: catalog}, "out")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(catalog.adopted, []TopicID{ordersID}) {
		t.Errorf("adopted %v; %+v", catalog.adopted, r)
	}
	cfg := smallConfig(w.fs)
	cfg.Dir = "out"
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	if got := offsetsOf(t, s.Metadata()); len(got) != 1 || got[0] != "rebuilt 10/0" {
		t.Errorf("metadata log %v", got)
	}
	if got := offsetsOf(t, s.Partition(ordersID, 0)); int64(len(got)) != w.ends[0] {
		t.Errorf("%d records, had %d", len(got), w.ends[0])
	}
}

func TestSalvageRefuses(t *testing.T) {
	w := writeLogs(t, Sync, false)
	cfg := CheckConfig{FS: w.fs, Dir: "data", Catalog: &testCatalog{topics: []TopicSpec{orders}}}
	if _, err := Salvage(context.Background(), cfg, "data"); err == nil {
		t.Error("a salvage into its own source was done")
	}
	// An interrupted one leaves nothing that opens.
	faulty := vfs.Inject(w.fs)
	ctx, cancel := context.WithCancel(context.Background())
	faulty.OnOp = func(op vfs.Op, name string, _ int) {
		if strings.HasPrefix(name, "out/topics/0102") {
			cancel()
		}
	}
	cfg.FS = faulty
	if _, err := Salvage(ctx, cfg, "out"); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	open := smallConfig(w.fs)
	open.Dir = "out"
	if s, err := Open(open); err == nil {
		t.Error("half a copy opened")
		mustClose(t, s)
	}
}

// TestSalvageFromAFailingDisk: what the disk does not give is lost, and no more.
func TestSalvageFromAFailingDisk(t *testing.T) {
	w := writeLogs(t, Sync, false)
	faulty := vfs.Inject(w.fs)
	faulty.Add(vfs.Rule{Op: vfs.OpRead, Path: segmentsOf(t, w.fs)[1], From: 4, Count: 1, Err: syscall.EIO})
	cfg := CheckConfig{FS: faulty, Dir: "data", Catalog: &testCatalog{topics: []TopicSpec{orders}}}
	r, err := Salvage(context.Background(), cfg, "out")
	if err != nil {
		t.Fatal(err)
	}
	lost := int64(0)
	for _, l := range r.Lost {
		lost += l.To - l.From
	}
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Reason, "cannot be read") || lost < 1 || lost > 3 {
		t.Errorf("%+v", r)
	}
}

// TestCheckMissingJournal: a journal that is gone is missed, by a start too.
func TestCheckMissingJournal(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.CheckpointBytes = 1 << 30 // only the one below
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), text(1, "in a segment"))
	if err := s.checkpoint(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	put(t, s, s.Partition(ordersID, 0), text(1, "in the journal"))
	mem = killed(mem)
	mustClose(t, s)
	if err := mem.RemoveAll("data/journal"); err != nil {
		t.Fatal(err)
	}
	if r := check(t, mem); len(r.Problems) == 0 {
		t.Errorf("%+v", r)
	}
	cfg = smallConfig(mem)
	var corrupt *CorruptError
	if s, err := Open(cfg); !errors.As(err, &corrupt) {
		t.Errorf("a start without the journal: %v", err)
		if err == nil {
			_ = s.abandon()
		}
	}
}
