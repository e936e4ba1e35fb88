package weir

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// testPartition is a partition without an App's goroutines.
func testPartition() *partition {
	p := &partition{app: &App{cfg: Config{}.withDefaults()}, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.mu.ledger = newLedger()
	return p
}

// TestLedger finishes records in any order, with shares of acknowledgements and
// further attempts, and holds the position against a model: the offset after
// the last record before the first unfinished one.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &worker{partition: testPartition(), next: slabSize}
		var offset int64
		var offsets []int64
		var tasks []*task  // the current attempt at each record
		var shares []int32 // what the model knows to be left of it
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				offset += rapid.Int64Range(1, 3).Draw(t, "gap") // compaction leaves gaps
				offsets = append(offsets, offset)
				tasks = append(tasks, w.begin(&kgo.Record{Offset: offset, LeaderEpoch: int32(offset / 10)}))
				shares = append(shares, 1)
			},
			"produce": func(t *rapid.T) {
				if i := open(t, shares); i >= 0 {
					if !tasks[i].add() {
						t.Fatalf("record %d takes no further share", i)
					}
					shares[i]++
				}
			},
			"finish a share": func(t *rapid.T) {
				if i := open(t, shares); i >= 0 {
					tasks[i].done()
					shares[i]--
				}
			},
			"try again": func(t *rapid.T) {
				if i := open(t, shares); i >= 0 {
					old := tasks[i]
					for range shares[i] - 1 {
						old.done() // acknowledgements of a failed attempt finish nothing
					}
					tasks[i], shares[i] = old.again(), 1
				}
			},
			"": func(t *rapid.T) {
				want, epoch, finished, unfinished := int64(-1), int32(-1), 0, 0
				for i := 0; i < len(shares) && shares[i] == 0; i++ {
					want, epoch, finished = offsets[i]+1, int32(offsets[i]/10), i+1
				}
				for _, s := range shares {
					if s > 0 {
						unfinished++
					}
				}
				at, _, dirty := w.progress()
				if at.Offset != want || at.Epoch != epoch || dirty != (finished > 0) {
					t.Fatalf("position %+v, dirty %v; want %d of epoch %d", at, dirty, want, epoch)
				}
				if n := w.inFlight(); n != len(tasks)-finished {
					t.Fatalf("%d in flight, want %d", n, len(tasks)-finished)
				}
				if n := w.unfinished(); n != unfinished {
					t.Fatalf("%d unfinished, want %d", n, unfinished)
				}
			},
		})
	})
}

// open draws a record that is not finished; -1 if there is none.
func open(t *rapid.T, shares []int32) int {
	var is []int
	for i, s := range shares {
		if s > 0 {
			is = append(is, i)
		}
	}
	if len(is) == 0 {
		return -1
	}
	return rapid.SampledFrom(is).Draw(t, "record")
}

func TestLedgerLetsFinishedSlabsGo(t *testing.T) {
	w := &worker{partition: testPartition(), next: slabSize}
	for i := range int64(10 * slabSize) {
		w.begin(&kgo.Record{Offset: i}).done()
	}
	w.progress()
	if n := len(w.mu.ledger.slabs); n != 0 {
		t.Errorf("%d slabs are kept though all is finished", n)
	}
}

// TestCommittedIsNotDirty: what is committed is not committed again.
func TestCommittedIsNotDirty(t *testing.T) {
	w := &worker{partition: testPartition(), next: slabSize}
	w.begin(&kgo.Record{Offset: 7}).done()
	if at, _, dirty := w.progress(); at.Offset != 8 || !dirty {
		t.Fatalf("position %v, dirty %v", at, dirty)
	}
	w.committed(8)
	if _, _, dirty := w.progress(); dirty {
		t.Error("still dirty")
	}
}

// TestDispatchAllocations: a record costs its share of a slab and nothing else.
func TestDispatchAllocations(t *testing.T) {
	topic := Topic[[]byte, []byte]{Name: "t", Key: Bytes(), Value: Bytes()}
	p := testPartition()
	p.sub = &subscription{topic: "t", call: typed(topic, func(context.Context, Record[[]byte, []byte]) error { return nil })}
	w := &worker{partition: p, next: slabSize}
	rec := &kgo.Record{Value: make([]byte, 256)}
	per := testing.AllocsPerRun(100, func() {
		for range slabSize {
			if !w.handle(w.begin(rec)) {
				t.Fatal("not handled")
			}
		}
	})
	if per > 3 { // the slab, and now and then the slice that holds slabs
		t.Errorf("%v allocations for %d records", per, slabSize)
	}
}

func BenchmarkDispatch(b *testing.B) {
	topic := Topic[[]byte, []byte]{Name: "t", Key: Bytes(), Value: Bytes()}
	p := testPartition()
	p.sub = &subscription{topic: "t", call: typed(topic, func(context.Context, Record[[]byte, []byte]) error { return nil })}
	w := &worker{partition: p, next: slabSize}
	rec := &kgo.Record{Value: make([]byte, 256)}
	b.ReportAllocs()
	for b.Loop() {
		w.handle(w.begin(rec))
	}
}
