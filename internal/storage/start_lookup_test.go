package storage

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// TestLookupsFromTheLogStart: what lies below the start is found by no time, also
// where the start lies inside a batch and times are out of order.
func TestLookupsFromTheLogStart(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 5))
		s := mustOpen(t, smallConfig(vfs.NewMem()), orders)
		p := s.Partition(ordersID, 0)
		var times []int64 // by offset
		for range 30 {
			rs := make([]batch.Record, 1+rng.IntN(5))
			for i := range rs {
				rs[i] = batch.Record{Timestamp: rng.Int64N(1000), Value: make([]byte, rng.IntN(300))}
				times = append(times, rs[i].Timestamp)
			}
			put(t, s, p, batch.Build(batch.BuildOptions{}, rs...))
		}
		for start := int64(0); start <= int64(len(times)); start += 1 + rng.Int64N(7) {
			if _, err := p.SetStart(start); err != nil {
				t.Fatal(err)
			}
			if err := checkTimes(p, times, start, rng.Int64N(1000)); err != nil {
				t.Errorf("seed %d: start %d of %d: %v", seed, start, len(times), err)
			}
		}
		mustClose(t, s)
	}
}

// checkTimes compares both lookups with a walk over the times from start on.
func checkTimes(p *Partition, times []int64, start, at int64) error {
	largest, where, first := int64(-1), int64(-1), int64(-1)
	for offset := start; offset < int64(len(times)); offset++ {
		if times[offset] > largest {
			largest, where = times[offset], offset
		}
		if first < 0 && times[offset] >= at {
			first = offset
		}
	}
	offset, timestamp, _, err := p.MaxTimestamp()
	if err != nil || offset != where || timestamp != largest {
		return fmt.Errorf("largest time %d at %d, want %d at %d: %w", timestamp, offset, largest, where, err)
	}
	offset, _, _, ok, err := p.OffsetForTime(at)
	if err != nil || ok != (first >= 0) || ok && offset != first {
		return fmt.Errorf("time %d is at %d (%t), want %d: %w", at, offset, ok, first, err)
	}
	return nil
}
