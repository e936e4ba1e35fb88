//go:build unix

package interop

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producer sends records to each partition of a topic all the time, numbered
// from 0 in each, and knows which are acknowledged.
type producer struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
	mu    struct {
		sync.Mutex
		acknowledged map[int32]int64 // how many, by partition
	}
}

// pace is the time between two records, over all partitions.
const pace = 40 * time.Millisecond

func produceAlways(t *testing.T, address, topic string, partitions int32) *producer {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &producer{stop: stop}
	p.mu.acknowledged = map[int32]int64{}
	cl := client(t, address, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	p.ended.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for n := int64(0); ctx.Err() == nil; n++ {
			r := &kgo.Record{Partition: int32(n % int64(partitions)), Value: []byte(strconv.FormatInt(n/int64(partitions), 10))}
			cl.Produce(context.Background(), r, func(r *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce to %s: %v", topic, err)
					return
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				p.mu.acknowledged[r.Partition]++
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		flush, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := cl.Flush(flush); err != nil {
			t.Errorf("flush the producer of %s: %v", topic, err)
		}
	})
	t.Cleanup(p.close)
	return p
}

// close waits until all that was sent is acknowledged.
func (p *producer) close() {
	p.stop()
	p.ended.Wait()
}

func (p *producer) acknowledged() map[int32]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.mu.acknowledged)
}
