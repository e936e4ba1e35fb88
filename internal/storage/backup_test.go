package storage

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirstream/weir/internal/vfs"
)

// TestBackupUnderLoad takes archives while goroutines commit to two partitions at
// once. Each archive holds all that was acknowledged before it began, a prefix of
// each log, and every commit whole or not at all; producers are known in it.
func TestBackupUnderLoad(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		mem := vfs.NewMem()
		cfg := smallConfig(mem)
		cfg.Durability = mode
		s := mustOpen(t, cfg, orders)
		a, b := s.Partition(ordersID, 0), s.Partition(ordersID, 1)
		ctx, stop := context.WithCancel(t.Context())
		var acked struct {
			sync.Mutex
			n int64
		}
		var writers sync.WaitGroup
		for g := range 2 {
			writers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					value := fmt.Sprint(g, "-", i)
					as := []Append{{Partition: a, Batches: text(1, value)}, {Partition: b, Batches: text(1, value)}}
					lsn, err := s.Commit(context.Background(), as)
					if err == nil {
						err = s.Wait(context.Background(), lsn, Durable)
					}
					if err != nil {
						t.Error(err)
						return
					}
					acked.Lock()
					acked.n++
					acked.Unlock()
				}
			})
		}
		for round := range 4 {
			acked.Lock()
			before := acked.n
			acked.Unlock()
			var archive bytes.Buffer
			if err := s.Backup(t.Context(), &archive); err != nil {
				t.Fatal(err)
			}
			verifyBackup(t, archive.Bytes(), before, fmt.Sprintf("mode %d, archive %d", mode, round))
		}
		stop()
		writers.Wait()
		for n := range 2 { // both logs in full, for what an archive must be a prefix of
			if got := len(offsetsOf(t, s.Partition(ordersID, int32(n)))); int64(got) != acked.n {
				t.Errorf("partition %d holds %d records, %d were acknowledged", n, got, acked.n)
			}
		}
		mustClose(t, s)
	}
}

// restore makes a directory that opens.
func restore(ctx context.Context, fsys vfs.FS, r io.Reader, dir string) error {
	if err := Restore(ctx, fsys, r, dir); err != nil {
		return err
	}
	return Finish(fsys, dir)
}

func verifyBackup(t *testing.T, archive []byte, acked int64, what string) {
	t.Helper()
	mem := vfs.NewMem()
	if err := restore(t.Context(), mem, bytes.NewReader(archive), "data"); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if r := check(t, mem); len(r.Problems) > 0 {
		t.Fatalf("%s: %+v", what, r.Problems)
	}
	s := mustOpen(t, smallConfig(mem), orders)
	defer mustClose(t, s)
	got := [2]map[int64]string{offsetsOf(t, s.Partition(ordersID, 0)), offsetsOf(t, s.Partition(ordersID, 1))}
	if len(got[0]) != len(got[1]) || int64(len(got[0])) < acked {
		t.Fatalf("%s: %d and %d records, %d were acknowledged before", what, len(got[0]), len(got[1]), acked)
	}
	seen := map[string]bool{}
	for offset := range int64(len(got[0])) {
		seen[got[0][offset]] = true
	}
	for offset := range int64(len(got[1])) {
		if !seen[got[1][offset]] {
			t.Fatalf("%s: the commit of %q is torn", what, got[1][offset])
		}
	}
	put(t, s, s.Partition(ordersID, 0), text(1, "after"))
}

// TestBackupKeepsProducers: a duplicate is one after a restore too, and the
// leader epoch is a later one.
func TestBackupKeepsProducers(t *testing.T) {
	s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
	p := s.Partition(ordersID, 0)
	put(t, s, p, produced(5, 0, 0, 3))
	original := put(t, s, p, produced(5, 0, 3, 2))
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	epoch := p.LeaderEpoch()
	mustClose(t, s)
	mem := vfs.NewMem()
	if err := restore(t.Context(), mem, &archive, "data"); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, smallConfig(mem), orders)
	defer mustClose(t, s)
	p = s.Partition(ordersID, 0)
	if again := put(t, s, p, produced(5, 0, 3, 2)); !again.Duplicate || again.Base != original.Base {
		t.Errorf("sent again after a restore: %+v, was %+v", again, original)
	}
	if p.LeaderEpoch() <= epoch {
		t.Errorf("leader epoch %d, was %d", p.LeaderEpoch(), epoch)
	}
}

// archived is an archive of some logs.
func archived(t testing.TB) []byte {
	t.Helper()
	w := writeLogs(t, Sync, false)
	s := mustOpen(t, smallConfig(w.fs), orders)
	defer mustClose(t, s)
	var archive bytes.Buffer
	if err := s.Backup(context.Background(), &archive); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// TestRestoreRefuses: an archive that is cut short anywhere before the padding at its end, that has names of
// elsewhere, or that is of a newer format, makes no directory that opens.
func TestRestoreRefuses(t *testing.T) {
	whole := archived(t)
	for n := 0; n < len(whole)-1024-512; n += 509 {
		mem := vfs.NewMem()
		if err := Restore(t.Context(), mem, bytes.NewReader(whole[:n]), "data"); !errors.Is(err, ErrArchive) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
		if _, err := mem.Stat("data/checkpoint"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%d of %d bytes made a checkpoint", n, len(whole))
		}
	}
	for _, c := range []struct{ name, content string }{
		{"../evil", "x"}, {"/etc/evil", "x"}, {"topics/../../evil.log", "x"}, {"lock", ""},
		{"topics/0102/0-00000000000000000000.log", "x"}, {"format", "weir data 99\n"}, {"format", "something else"},
	} {
		var archive bytes.Buffer
		out := tar.NewWriter(&archive)
		for _, f := range []struct{ name, content string }{{"format", "weir data 1\n"}, c} {
			if f.name == "format" && c.name == "format" && f != c {
				continue
			}
			if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.content)), Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(out, f.content); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		mem := vfs.NewMem()
		if err := Restore(t.Context(), mem, &archive, "data"); err == nil {
			t.Errorf("an entry %q with %q was taken", c.name, c.content)
		}
		if names := listing(t, mem, "."); len(names) > 4 || strings.Contains(fmt.Sprint(names), "evil") {
			t.Errorf("an entry %q left %v", c.name, names)
		}
	}
	mem := vfs.NewMem()
	if err := restore(t.Context(), mem, bytes.NewReader(whole), "data"); err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), mem, bytes.NewReader(whole), "data"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over existing data: %v", err)
	}
}

// TestBackupFindsDamage: a damaged batch is not copied in silence.
func TestBackupFindsDamage(t *testing.T) {
	w := writeLogs(t, Sync, false)
	name := segmentsOf(t, w.fs)[1]
	flipBit(t, w.fs, name, 80, 1)
	s := mustOpen(t, smallConfig(w.fs), orders)
	defer mustClose(t, s)
	var corrupt *CorruptError
	if err := s.Backup(context.Background(), io.Discard); !errors.As(err, &corrupt) || corrupt.File != name {
		t.Errorf("%v, want the place in %s", err, name)
	}
}

// TestBackupWhileDeleting: topics come and go while archives are taken.
func TestBackupWhileDeleting(t *testing.T) {
	mem := vfs.NewMem()
	s := mustOpen(t, smallConfig(mem), orders)
	ctx, stop := context.WithCancel(t.Context())
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := byte(1); ctx.Err() == nil; i++ {
			id := TopicID{9, i}
			if err := s.CreateTopic(TopicSpec{ID: id, Name: "short-lived", Partitions: 2}); err != nil {
				t.Error(err)
				return
			}
			put(t, s, s.Partition(id, 1), text(3, "x"))
			if err := s.DeleteTopic(id); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		var archive bytes.Buffer
		if err := s.Backup(t.Context(), &archive); err != nil {
			t.Error(err)
			break
		}
		if err := Restore(t.Context(), vfs.NewMem(), &archive, "data"); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	churn.Wait()
	mustClose(t, s)
}

// TestBackupKeepsTransactions: a transaction that is open in the archive is open
// after the restore, may go on and ends like any other; one that was aborted is
// told of, though an archive has no transaction indexes.
func TestBackupKeepsTransactions(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		cfg := smallConfig(vfs.NewMem())
		cfg.Durability = mode
		s := mustOpen(t, cfg, orders)
		p := s.Partition(ordersID, 0)
		put(t, s, p, inTxn(1, 0, 0, 2))   // 0, 1: stays open
		put(t, s, p, inTxn(2, 0, 0, 1))   // 2
		put(t, s, p, inTxn(3, 0, 0, 1))   // 3
		put(t, s, p, marker(2, 0, false)) // 4
		fill(t, s, p, 60)                 // so that the rest stands in a later segment
		end := p.Offsets().End
		put(t, s, p, marker(3, 0, true))
		put(t, s, p, inTxn(4, 0, 0, 1))
		put(t, s, p, marker(4, 0, false))
		want, err := p.Aborted(0, end+3)
		if err != nil || !slices.Equal(want, []AbortedTxn{{2, 2, 4, 0}, {4, end + 1, end + 2, 0}}) {
			t.Fatalf("%+v, %v", want, err)
		}
		var archive bytes.Buffer
		if err := s.Backup(t.Context(), &archive); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		if strings.Contains(archive.String(), ".txnindex") {
			t.Error("the archive holds a transaction index")
		}
		mem := vfs.NewMem()
		if err := restore(t.Context(), mem, &archive, "data"); err != nil {
			t.Fatal(err)
		}
		if r := check(t, mem); len(r.Problems) > 0 {
			t.Fatalf("%+v", r.Problems)
		}
		cfg.FS = mem
		s = mustOpen(t, cfg, orders)
		p = s.Partition(ordersID, 0)
		mustStable(t, p, 0)
		if w, ok := p.ActiveProducer(1); !ok || w.TxnStart != 0 || w.LastSequence != 1 {
			t.Fatalf("the open transaction is %+v, %t", w, ok)
		}
		if w, ok := p.ActiveProducer(4); !ok || w.TxnStart != -1 {
			t.Fatalf("the ended transaction is %+v, %t", w, ok)
		}
		if got, err := p.Aborted(0, end+3); err != nil || !slices.Equal(got, want) {
			t.Fatalf("mode %d: aborted %+v, want %+v, %v", mode, got, want, err)
		}
		put(t, s, p, inTxn(1, 0, 2, 1))   // end + 3
		put(t, s, p, marker(1, 0, false)) // end + 4
		mustStable(t, p, end+5)
		got, err := p.Aborted(end, end+5)
		if err != nil || !slices.Equal(got, []AbortedTxn{{1, 0, end + 4, end + 5}, {4, end + 1, end + 2, 0}}) {
			t.Fatalf("mode %d: aborted %+v, %v", mode, got, err)
		}
		mustClose(t, s)
	}
}
