package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

var (
	ordersID = TopicID{1, 2, 3}
	orders   = TopicSpec{ID: ordersID, Name: "orders", Partitions: 3}
)

// smallConfig makes everything happen often: segments, index entries,
// checkpoints and journal files are small.
func smallConfig(fs vfs.FS) Config {
	return Config{
		FS: fs, Dir: "data", JournalFileBytes: 64 << 10, CheckpointBytes: 8 << 10,
		SegmentBytes: 4 << 10, IndexBytes: 256, MaxOpenFiles: 8, BallastBytes: -1,
	}
}

func mustOpen(t testing.TB, cfg Config, topics ...TopicSpec) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Recover(topics); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// text makes a batch of n records whose values tell their number.
func text(n int, value string) batch.Batch {
	return textAt(n, value, 1000)
}

func textAt(n int, value string, ts int64) batch.Batch {
	rs := make([]batch.Record, n)
	for i := range rs {
		rs[i] = batch.Record{Timestamp: ts + int64(i), Value: fmt.Appendf(nil, "%s/%d", value, i)}
	}
	return batch.Build(batch.BuildOptions{}, rs...)
}

func produced(pid int64, epoch int16, sequence int32, n int) batch.Batch {
	rs := make([]batch.Record, n)
	for i := range rs {
		rs[i].Value = fmt.Appendf(nil, "%d/%d/%d", pid, epoch, int(sequence)+i)
	}
	return batch.Build(batch.BuildOptions{Producer: &batch.Producer{ID: pid, Epoch: epoch, Sequence: sequence}}, rs...)
}

// put appends to one partition and waits until it is durable.
func put(t testing.TB, s *Store, p *Partition, b []byte) Append {
	t.Helper()
	as := []Append{{Partition: p, Batches: b}}
	lsn, err := s.Commit(context.Background(), as)
	if err == nil {
		err = s.Wait(context.Background(), lsn, Durable)
	}
	if err != nil {
		t.Fatal(err)
	}
	return as[0]
}

// readAll reads a partition from offset to its high watermark.
func readAll(p *Partition, from int64, maxBytes int) ([]byte, error) {
	var out []byte
	for {
		high := p.Offsets().High
		e, err := p.Read(from, maxBytes, high)
		if err != nil || e.Len() == 0 {
			return out, err
		}
		b := make([]byte, e.Len())
		_, err = e.ReadAt(b, 0)
		e.Release()
		if err != nil {
			return out, err
		}
		out = append(out, b...)
		for rest := b; len(rest) > 0; {
			var one batch.Batch
			if one, rest, err = batch.Split(rest); err != nil {
				return out, err
			}
			from = one.NextOffset()
		}
	}
}

func mustRead(t testing.TB, p *Partition, from int64) []byte {
	t.Helper()
	b, err := readAll(p, from, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAppendReadReopen(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode=%d,kill=%t", mode, kill), func(t *testing.T) {
				fs := vfs.NewMem()
				cfg := smallConfig(fs)
				cfg.Durability = mode
				s := mustOpen(t, cfg, orders)
				want := map[int32][]byte{}
				for i := range 300 {
					n := int32(i % 3)
					b := text(1+i%4, fmt.Sprint("v", i))
					if a := put(t, s, s.Partition(ordersID, n), b); a.Base < 0 {
						t.Fatal(a)
					}
					want[n] = append(want[n], b...)
				}
				for n, w := range want {
					if got := mustRead(t, s.Partition(ordersID, n), 0); !bytes.Equal(got, w) {
						t.Fatalf("partition %d: %d bytes read, %d appended", n, len(got), len(w))
					}
				}
				if kill {
					cfg.FS = fs.CrashClone(rand.New(rand.NewPCG(1, 1)), vfs.CrashOptions{KeepUnsynced: true})
					defer func() { _ = s.Close(context.Background()) }()
				} else {
					mustClose(t, s)
				}
				s2 := mustOpen(t, cfg, orders)
				defer mustClose(t, s2)
				for n, w := range want {
					if got := mustRead(t, s2.Partition(ordersID, n), 0); !bytes.Equal(got, w) {
						t.Fatalf("partition %d: %d bytes read, %d appended", n, len(got), len(w))
					}
				}
				if e := s2.Metadata().LeaderEpoch(); (e == 1) != kill {
					t.Fatalf("leader epoch %d after kill=%t", e, kill)
				}
			})
		}
	}
}

func TestSecondOpenIsLocked(t *testing.T) {
	cfg := smallConfig(vfs.NewMem())
	s := mustOpen(t, cfg)
	defer mustClose(t, s)
	if _, err := Open(cfg); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("second Open: %v", err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	mustClose(t, mustOpen(t, cfg))
	if err := writeDurable(fs, filepath.Join("data", "format"), []byte("weir data 99\n")); err != nil {
		t.Fatal(err)
	}
	var fe *FormatError
	if _, err := Open(cfg); !errors.As(err, &fe) || fe.Found != 99 || fe.Supported != formatVersion {
		t.Fatalf("Open: %v", err)
	}
}
