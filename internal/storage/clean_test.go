package storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// compacted is a topic that is cleaned as soon as anything is dirty.
func compacted(change ...func(*Clean)) TopicSpec {
	spec := TopicSpec{ID: ordersID, Name: "orders", Partitions: 2, Clean: Clean{Compact: true, DeleteRetentionMillis: 1000}}
	for _, f := range change {
		f(&spec.Clean)
	}
	return spec
}

// cleanConfig makes small segments, which are cleaned when a test asks for it.
func cleanConfig(fs vfs.FS) (Config, *hands) {
	cfg, clock := clocked(fs)
	cfg.CleanInterval, cfg.SegmentBytes = -1, 1<<10
	return cfg, clock
}

// pair is a record with a key; a value of "" is a tombstone.
type pair struct{ key, value string }

func pairs(ts int64, ps ...pair) batch.Batch {
	return batch.Build(batch.BuildOptions{}, recordsOf(ts, ps)...)
}

func recordsOf(ts int64, ps []pair) []batch.Record {
	rs := make([]batch.Record, len(ps))
	for i, p := range ps {
		rs[i] = batch.Record{Timestamp: ts + int64(i), Key: []byte(p.key)}
		if p.value != "" {
			rs[i].Value = []byte(p.value)
		}
	}
	return rs
}

// stored reads all records of a partition and holds the order of their offsets.
func stored(t testing.TB, p *Partition) (rs []batch.Record) {
	t.Helper()
	rest := mustRead(t, p, p.Offsets().Start)
	for len(rest) > 0 {
		b, more, err := batch.Split(rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = more
		if err := b.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			if len(rs) > 0 && rs[len(rs)-1].Offset >= r.Offset {
				t.Fatalf("offset %d follows %d", r.Offset, rs[len(rs)-1].Offset)
			}
			r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
			rs = append(rs, r)
		}
	}
	return rs
}

// seals rolls the log, so that what came before can be cleaned.
func seals(t testing.TB, s *Store, p *Partition) {
	t.Helper()
	for i := range 3 {
		put(t, s, p, pairs(1000, pair{fmt.Sprint("filler", i), strings.Repeat("f", 600)}))
	}
}

func mustClean(t testing.TB, s *Store) {
	t.Helper()
	if err := s.CleanNow(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// checkpointed waits for a checkpoint that began after the call: the first that
// ends may have been under way.
func checkpointed(s *Store) {
	for range 2 {
		s.done.Lock()
		ch := s.done.ch
		s.done.Unlock()
		s.discards.wanted.Store(true)
		s.askCheckpoint()
		<-ch
	}
}

// has finds the records of a key.
func has(rs []batch.Record, key string) (values []string) {
	for _, r := range rs {
		if string(r.Key) == key {
			values = append(values, string(r.Value))
		}
	}
	return values
}

func TestCleanKeepsTheNewestOfEachKey(t *testing.T) {
	for _, mode := range []Durability{Sync, OS} {
		fs := vfs.NewMem()
		cfg, _ := cleanConfig(fs)
		cfg.Durability = mode
		s := mustOpen(t, cfg, compacted())
		p := s.Partition(ordersID, 0)
		want := map[string]string{}
		for i := range 200 {
			k, v := fmt.Sprint("k", i%7), fmt.Sprint("v", i)
			put(t, s, p, pairs(int64(1000+i), pair{k, v}, pair{k + "b", v}))
			want[k], want[k+"b"] = v, v
		}
		before := stored(t, p)
		seals(t, s, p)
		mustClean(t, s)
		check := func(s *Store) {
			t.Helper()
			p := s.Partition(ordersID, 0)
			rs := stored(t, p)
			for k, v := range want {
				if got := has(rs, k); !slices.Equal(got, []string{v}) {
					t.Fatalf("mode %d: key %s has %q, want %q", mode, k, got, v)
				}
			}
			for _, r := range rs {
				if r.Offset < int64(len(before)) && (before[r.Offset].Timestamp != r.Timestamp || !bytes.Equal(before[r.Offset].Value, r.Value)) {
					t.Fatalf("offset %d is now %+v", r.Offset, r)
				}
			}
			if o := p.Offsets(); o.Start != 0 || o.End != 403 {
				t.Fatal(o)
			}
		}
		check(s)
		if n := len(p.state.segments); n > 5 {
			t.Errorf("%d segments are left", n)
		}
		mustClose(t, s)
		s = mustOpen(t, cfg, compacted())
		check(s)
		mustClean(t, s)
		check(s)
		mustClose(t, s)
	}
}

// TestCleanedLogChecks: what fsck reads of a cleaned log is whole, and a copy of
// what is good holds the same.
func TestCleanedLogChecks(t *testing.T) {
	for _, kill := range []bool{false, true} {
		fs := vfs.NewMem()
		cfg, _ := cleanConfig(fs)
		s := mustOpen(t, cfg, compacted())
		p := s.Partition(ordersID, 0)
		for i := range 150 {
			put(t, s, p, pairs(1000, pair{fmt.Sprint("k", i%9), fmt.Sprint("v", i)}))
		}
		seals(t, s, p)
		mustClean(t, s)
		checkpointed(s)
		want := stored(t, p)
		disk := fs
		if kill {
			disk = fs.CrashClone(rand.New(rand.NewPCG(1, 1)), vfs.CrashOptions{KeepUnsynced: true})
		}
		mustClose(t, s)
		if r := check(t, disk); len(r.Problems) > 0 || len(r.Lost) > 0 {
			t.Fatalf("kill=%t: %+v", kill, r)
		}
		r, err := Salvage(context.Background(), CheckConfig{FS: disk, Dir: "data", Catalog: &testCatalog{topics: []TopicSpec{orders}}}, "out")
		if err != nil || len(r.Lost) > 0 {
			t.Fatalf("kill=%t: %+v, %v", kill, r, err)
		}
		cfg.FS, cfg.Dir = disk, "out"
		s = mustOpen(t, cfg, compacted())
		got := stored(t, s.Partition(ordersID, 0))
		same := slices.EqualFunc(got, want, func(a, b batch.Record) bool { return a.Offset == b.Offset && bytes.Equal(a.Value, b.Value) })
		if !same {
			t.Fatalf("kill=%t: %d records in the copy, want %d", kill, len(got), len(want))
		}
		mustClose(t, s)
	}
}
