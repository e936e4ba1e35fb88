package txn

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"
)

// FuzzReplay: whatever stands in the log, reading it neither panics nor loses anything that
// was read, and the core works on.
func FuzzReplay(f *testing.F) {
	for _, x := range []*transaction{
		{id: "id", producerID: 7, previousID: -1, nextID: -1, epoch: 3, timeout: time.Minute, state: Ongoing, started: 1000, updated: 2000,
			partitions: map[place][16]byte{{"t", 0}: {}, {"t", 1}: {}, {"u", 5}: {}}, version: 2},
		{id: "", producerID: 8, previousID: 7, nextID: 9, epoch: 32767, state: PrepareCommit, version: 2},
	} {
		f.Add(keyOf(x.id), x.value())
	}
	f.Add(keyOf("gone"), []byte(nil))
	f.Add([]byte{0, 1, 0, 0}, []byte{0, 0})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		pids := int64(1 << 40)
		core := New(Config{NewProducerID: func() int64 { pids++; return pids }})
		if err := core.Replay(bytes.Clone(key), bytes.Clone(value)); err != nil {
			if core.Len() > 0 {
				t.Fatalf("a record that cannot be read is there: %v", err)
			}
			return
		}
		for id, x := range core.ids {
			_, again, err := decode(keyOf(id), x.value())
			if err != nil || again.producerID != x.producerID || again.epoch != x.epoch || again.state != x.state || !maps.Equal(again.partitions, x.partitions) {
				t.Fatalf("%+v becomes %+v, %v", x, again, err)
			}
		}
		now := time.UnixMilli(1_000_000)
		core.Ready(now, func(string) [16]byte { return [16]byte{1} })
		if core.Finish(now) {
			t.Fatal("one transaction is too many to finish")
		}
		core.Tick(now)
		for id, x := range core.ids {
			if !slices.Contains([]State{Empty, Ongoing, CompleteCommit, CompleteAbort}, x.state) {
				t.Fatalf("%q is %v after Ready", id, x.state)
			}
			core.Describe(id)
		}
		core.Take()
	})
}
