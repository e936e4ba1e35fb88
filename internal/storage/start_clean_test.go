package storage

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// TestLogStartOfACompactedLog: cleanup.policy=compact,delete. The log start moves,
// segments expire and are compacted in any order; of each key the newest record is
// there if it is not below the start, and a reader finds its way from every offset.
func TestLogStartOfACompactedLog(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 3))
		cfg, clock := cleanConfig(vfs.NewMem())
		s := mustOpen(t, cfg, compacted())
		p := s.Partition(ordersID, 0)
		var keys, values []string // by offset
		for range 60 {
			switch d := rng.IntN(12); {
			case d == 0:
				clock.advance(time.Second)
				checkpointed(s)
				mustClean(t, s)
			case d == 1:
				o := p.Offsets()
				if _, err := p.SetStart(o.Start + rng.Int64N(o.High-o.Start+1)); err != nil {
					t.Fatal(err)
				}
			case d == 2:
				start, ok, err := p.Expired(Retention{Millis: -1, Bytes: 2000 + rng.Int64N(5000)}, clock.now())
				if err == nil && ok {
					_, err = p.SetStart(start)
				}
				if err != nil {
					t.Fatal(err)
				}
			default:
				var ps []pair
				for range 1 + rng.IntN(3) {
					one := pair{fmt.Sprint("k", rng.IntN(6)), strings.Repeat("v", rng.IntN(300))}
					ps = append(ps, one)
					keys, values = append(keys, one.key), append(values, one.value)
				}
				put(t, s, p, pairs(clock.now().UnixMilli(), ps...))
			}
			if err := checkCompacted(t, p, keys, values); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		mustClose(t, s)
	}
}

func checkCompacted(t *testing.T, p *Partition, keys, values []string) error {
	t.Helper()
	o := p.Offsets()
	newest := map[string]int64{}
	for offset, key := range keys {
		if int64(offset) >= o.Start && values[offset] != "" {
			newest[key] = int64(offset)
		} else {
			delete(newest, key)
		}
	}
	for _, r := range stored(t, p) {
		if keys[r.Offset] != string(r.Key) || values[r.Offset] != string(r.Value) {
			return fmt.Errorf("the record at %d is another", r.Offset)
		}
		if newest[string(r.Key)] == r.Offset {
			delete(newest, string(r.Key))
		}
	}
	if len(newest) > 0 {
		return fmt.Errorf("of [%d, %d) the newest records of keys are lost: %v", o.Start, o.End, newest)
	}
	for at := o.Start; at < o.High; at++ {
		e, err := p.Read(at, 1, o.High)
		if err != nil || e.Len() == 0 {
			return fmt.Errorf("read at %d of [%d, %d): %d bytes, %w", at, o.Start, o.High, e.Len(), err)
		}
		e.Release()
	}
	return nil
}
