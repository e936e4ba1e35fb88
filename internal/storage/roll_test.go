package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/internal/vfs"
)

// big fills a segment of smallConfig, so that the next append rolls.
func big(letter string) []byte { return text(1, strings.Repeat(letter, 3000)) }

// TestRollRefusedIsTriedAgain: an append that is refused in the middle of a roll
// leaves nothing that the next one stumbles over, and the store goes on.
func TestRollRefusedIsTriedAgain(t *testing.T) {
	for _, errno := range []error{syscall.EMFILE, syscall.ENOSPC} {
		for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpOpen, vfs.OpWrite} {
			for _, file := range []string{"*.log", "*.index"} {
				fs := vfs.Inject(vfs.NewMem())
				s := mustOpen(t, smallConfig(fs), orders)
				p := s.Partition(ordersID, 0)
				put(t, s, p, big("x"))
				fs.Add(vfs.Rule{Op: op, Path: file, From: 1, Err: errno})
				_, _, _ = commit(s, p, big("y"))
				fs.Clear()
				s.space.low.Store(false)
				if s.Err() != nil {
					t.Fatalf("%v %s %v: the store failed: %v", op, file, errno, s.Err())
				}
				end := p.Offsets().End
				if a := put(t, s, p, big("z")); a.Base != end {
					t.Errorf("%v %s %v: base %d, want %d", op, file, errno, a.Base, end)
				}
				put(t, s, p, text(1, "small"))
				mustRead(t, p, 0)
				mustClose(t, s)
			}
		}
	}
}

// TestRollOfADamagedSegment: the damage refuses appends to this log, again and
// again, and to no other.
func TestRollOfADamagedSegment(t *testing.T) {
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	s := mustOpen(t, cfg, orders)
	put(t, s, s.Partition(ordersID, 0), big("x"))
	log := s.Partition(ordersID, 0).active().log.name
	mustClose(t, s)
	f, err := mem.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	if err := f.Truncate(size - 1); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	for range 3 {
		var corrupt *CorruptError
		if _, _, err := commit(s, s.Partition(ordersID, 0), big("y")); !errors.As(err, &corrupt) {
			t.Fatalf("append to the damaged log: %v", err)
		}
	}
	put(t, s, s.Partition(ordersID, 1), text(1, "another log"))
}

// TestRollOverAStranger: an unlink during recovery that a power cut takes back
// leaves a file where the next segment goes.
func TestRollOverAStranger(t *testing.T) {
	for seed := range uint64(50) {
		mem := vfs.NewMem()
		fs := vfs.Inject(mem)
		cfg := smallConfig(fs)
		cfg.CheckpointBytes = 1 << 20
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		put(t, s, p, big("x"))
		if err := s.checkpoint(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		fs.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.journal", Err: errors.New("the process is about to be killed")})
		_, _ = s.Commit(context.Background(), []Append{{Partition: p, Batches: big("y")}})
		if err := mem.SyncDir(filepath.Dir(p.active().log.name)); err != nil {
			t.Fatal(err)
		}
		first := killed(mem)
		_ = s.Close(context.Background())
		cfg.FS = first
		mustClose(t, mustOpen(t, cfg, orders))
		cfg.FS = first.CrashClone(rand.New(rand.NewPCG(seed, 1)), vfs.CrashOptions{})
		s = mustOpen(t, cfg, orders)
		put(t, s, s.Partition(ordersID, 0), big("z"))
		mustClose(t, s)
	}
}

// slowSync holds the next sync of a segment until it is let go.
type slowSync struct {
	vfs.FS
	arm     bool
	in, out chan struct{}
}

func (g *slowSync) Open(name string) (vfs.File, error) {
	f, err := g.FS.Open(name)
	return g.wrap(name, f, err)
}

func (g *slowSync) Create(name string) (vfs.File, error) {
	f, err := g.FS.Create(name)
	return g.wrap(name, f, err)
}

func (g *slowSync) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &slowFile{f, g}, nil
}

type slowFile struct {
	vfs.File
	g *slowSync
}

func (f *slowFile) Sync() error {
	if f.g.arm {
		f.g.arm = false
		close(f.g.in)
		<-f.g.out
	}
	return f.File.Sync()
}

// TestFileIsNotCleanWhileItIsSynced: a file whose sync has begun and not ended is
// not durable, whoever syncs it; a checkpoint must not take it for clean.
func TestFileIsNotCleanWhileItIsSynced(t *testing.T) {
	g := &slowSync{FS: vfs.NewMem(), in: make(chan struct{}), out: make(chan struct{})}
	cfg := smallConfig(g)
	cfg.CheckpointBytes = 1 << 20
	s := mustOpen(t, cfg, orders)
	defer mustClose(t, s)
	p := s.Partition(ordersID, 0)
	put(t, s, p, text(1, "m"))
	g.arm = true
	synced := make(chan error)
	go func() { synced <- p.active().log.sync() }()
	<-g.in
	if !p.active().log.unsynced() {
		t.Error("a file is clean though its sync has not ended")
	}
	close(g.out)
	if err := <-synced; err != nil {
		t.Fatal(err)
	}
	if p.active().log.unsynced() {
		t.Error("a file is not clean after its sync")
	}
}

// TestCrashesDoNotPileUpJournalFiles: every life begins a journal file; lives that
// write little and end badly must not fill the disk with them.
func TestCrashesDoNotPileUpJournalFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		for life := range 12 {
			cfg := smallConfig(mem)
			cfg.CheckpointBytes = 1 << 20
			s := mustOpen(t, cfg, orders)
			put(t, s, s.Partition(ordersID, 0), text(1, "one record a life"))
			synctest.Wait() // a checkpoint that is due is written
			left := killed(mem)
			mustClose(t, s)
			mem = left
			names, err := mem.ReadDir(filepath.Join("data", "journal"))
			if err != nil || len(names) > 5 {
				t.Fatalf("after %d lives there are %d journal files, %v", life+1, len(names), err)
			}
		}
	})
}

// TestFlippedIndexHeals: whichever byte of a sealed segment's index is wrong, all
// of it can be read, wherever a reader begins.
func TestFlippedIndexHeals(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	s := mustOpen(t, cfg, orders)
	want := fill(t, s, s.Partition(ordersID, 0), 64)
	name := s.Partition(ordersID, 0).state.segments[0].ix.f.name
	mustClose(t, s)
	info, err := fs.Stat(name)
	if err != nil || info.Size < 3*entryLen {
		t.Fatalf("the index has %d bytes, %v", info.Size, err)
	}
	for at := range info.Size {
		flip(t, fs, name, at)
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		e, err := p.Read(0, 1<<20, p.Offsets().High)
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if _, err := e.ReadAt(make([]byte, e.Len()), 0); err != nil {
			t.Fatalf("byte %d: a scan from the start: %v", at, err)
		}
		e.Release()
		checkReads(t, p, want)
		mustClose(t, s)
	}
}

// TestRule12TailAfterACleanStop: behind the last index entry no checksum covers the
// first 17 bytes of the batches; a wrong bit there is found all the same.
func TestRule12TailAfterACleanStop(t *testing.T) {
	const uncovered = 17 // base offset, length, leader epoch, magic
	for bit := range uncovered * 8 {
		fs := vfs.NewMem()
		cfg := smallConfig(fs)
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		for range 3 {
			put(t, s, p, text(2, "tail"))
		}
		seg := p.active()
		last := seg.size.Load() - int64(len(text(2, "tail")))
		name := seg.log.name
		mustClose(t, s)
		f, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		at := last + int64(bit/8)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1 << (bit % 8)
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, cfg, orders)
		p = s.Partition(ordersID, 0)
		e, err := p.Read(4, 1<<20, p.Offsets().High)
		if err == nil {
			_, err = e.ReadAt(make([]byte, e.Len()), 0)
			e.Release()
		}
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			t.Errorf("bit %d of byte %d of the last batch: %v, want a CorruptError", bit%8, bit/8, err)
		}
		mustClose(t, s)
	}
}
