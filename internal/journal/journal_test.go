package journal

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

const testDir = "journal"

// testConfig has small files and syncs.
func testConfig(fs vfs.FS) Config {
	return Config{FS: fs, Dir: testDir, FileBytes: 16 << 10, BufferBytes: 64 << 10, Sync: true}
}

// newBatch is a batch of one record with a value of n bytes, filled with seed.
func newBatch(base int64, n int, seed byte) []byte {
	value := bytes.Repeat([]byte{seed}, n)
	return batch.Build(batch.BuildOptions{BaseOffset: base}, batch.Record{Value: value})
}

// newEntry is an entry of partition p with one batch.
func newEntry(p int32, base int64, n int) Entry {
	b := newBatch(base, n, byte(base))
	return Entry{Topic: [16]byte{1, 15: byte(p)}, Partition: p, Batches: b, End: base + 1}
}

// seen is a replayed frame; its entries are copies.
type seen struct {
	lsn     LSN
	entries []Entry
}

func (s seen) String() string { return fmt.Sprintf("frame %d with %d entries", s.lsn, len(s.entries)) }

func (s seen) equal(o seen) bool {
	return s.lsn == o.lsn && slices.EqualFunc(s.entries, o.entries, func(a, b Entry) bool {
		return a.Topic == b.Topic && a.Partition == b.Partition && a.End == b.End && bytes.Equal(a.Batches, b.Batches)
	})
}

// replay opens a journal and collects its frames.
func replay(cfg Config, st State) (*Journal, []seen, error) {
	j, err := Open(cfg, st)
	if err != nil {
		return nil, nil, err
	}
	var out []seen
	err = j.Replay(func(lsn LSN, entries []Entry) error {
		s := seen{lsn: lsn, entries: slices.Clone(entries)}
		for i := range s.entries {
			s.entries[i].Batches = bytes.Clone(s.entries[i].Batches)
		}
		out = append(out, s)
		return nil
	})
	return j, out, err
}

// start opens, replays and starts; it fails the test on any error.
func start(t testing.TB, cfg Config, st State) (*Journal, State, []seen) {
	t.Helper()
	j, frames, err := replay(cfg, st)
	if err != nil {
		t.Fatal(err)
	}
	st, err = j.Start()
	if err != nil {
		t.Fatal(err)
	}
	return j, st, frames
}

// put appends one frame and returns what replay must show of it.
func put(t testing.TB, j *Journal, entries ...Entry) seen {
	t.Helper()
	s, err := tryPut(t, j, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryPut(t testing.TB, j *Journal, entries ...Entry) (seen, error) {
	t.Helper()
	var n int64
	for _, e := range entries {
		n += int64(len(e.Batches))
	}
	if err := j.Reserve(t.Context(), n); err != nil {
		return seen{}, err
	}
	lsn, err := j.Append(n, entries)
	return seen{lsn, entries}, err
}

func durable(t testing.TB, j *Journal, s seen) {
	t.Helper()
	if err := j.WaitDurable(t.Context(), s.lsn); err != nil {
		t.Fatal(err)
	}
}

func closed(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func checkFrames(t testing.TB, got, want []seen) {
	t.Helper()
	if !slices.EqualFunc(got, want, seen.equal) {
		t.Fatalf("replayed %v\nwant     %v", got, want)
	}
}

func TestReplayShowsWhatWasAppended(t *testing.T) {
	for _, syncs := range []bool{true, false} {
		cfg := testConfig(vfs.NewMem())
		cfg.Sync = syncs
		j, st, _ := start(t, cfg, State{})
		var want []seen
		for i := range 40 {
			entries := []Entry{newEntry(0, int64(i), 100+i*37)}
			if i%3 == 0 {
				two := newEntry(1, int64(2*i), 10)
				two.Batches = append(two.Batches, newBatch(int64(2*i+1), 20, 9)...)
				two.End = int64(2*i + 2)
				entries = append(entries, two)
			}
			want = append(want, put(t, j, entries...))
			if i%7 == 0 {
				durable(t, j, want[i])
			}
		}
		closed(t, j)
		if got := j.Durable(); got != 40 {
			t.Fatalf("durable is %d after Close, want 40", got)
		}
		_, got, err := replay(cfg, st)
		if err != nil {
			t.Fatal(err)
		}
		checkFrames(t, got, want)
	}
}

func TestRestartsContinueTheSequence(t *testing.T) {
	cfg := testConfig(vfs.NewMem())
	var st State
	var want []seen
	for range 5 {
		j, next, got := start(t, cfg, st)
		checkFrames(t, got, want)
		st = next
		for range 3 {
			want = append(want, put(t, j, newEntry(0, int64(len(want)), 2000)))
		}
		closed(t, j)
	}
	if want[14].lsn != 15 || len(st.Spans) != 5 {
		t.Fatalf("the last frame is %d, want 15; %d spans, want 5", want[14].lsn, len(st.Spans))
	}
}
