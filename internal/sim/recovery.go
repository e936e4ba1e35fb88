//go:build unix

package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Recoveries fills a broker with so many bytes of log and then kills it again and
// again under load, at any distance from its last checkpoint. It measures from
// the start of the process to the first answer of Metadata.
func (r *Run) Recoveries(ctx context.Context, bytes int64, kills int) error {
	r.begun = time.Now()
	p := r.Process
	defer func() {
		if p.ended != nil && p.Alive() {
			_ = p.Kill()
		}
		r.Report.Take(r.Ledger)
		r.Report.Took = time.Since(r.begun)
	}()
	if _, err := p.Start(); err != nil {
		return err
	}
	cl, err := Target{Address: p.Address}.client(kgo.DefaultProduceTopic("sim-big"), kgo.ProducerBatchMaxBytes(256<<10),
		kgo.MaxBufferedRecords(4000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 6, -1, nil, "sim-big"); err != nil {
		return err
	}
	if err := r.produce(ctx, cl, bytes); err != nil {
		return err
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	for range kills {
		// Up to the 64 MiB that lie between two checkpoints, and killed with
		// requests on their way.
		if err := r.produce(ctx, cl, r.Random.Int64N(64<<20)); err != nil {
			return err
		}
		r.Report.Fault("kill")
		if err := p.Kill(); err != nil {
			return err
		}
		if err := r.recover(ctx); err != nil {
			return err
		}
	}
	return cl.Flush(ctx)
}

// recover starts the broker and asks it for its topics.
func (r *Run) recover(ctx context.Context) error {
	begin := time.Now()
	if _, err := r.Process.Start(); err != nil {
		r.broken(NotStarted, "%v", err)
		return err
	}
	cl, err := Target{Address: r.Process.Address}.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	if !topics.Has("sim-big") {
		r.broken(TopicLost, "sim-big is gone")
	}
	r.Report.Recovery = append(r.Report.Recovery, time.Since(begin))
	return nil
}

// produce sends records of 16 KiB; it returns before all are answered.
func (r *Run) produce(ctx context.Context, cl *kgo.Client, bytes int64) error {
	const size = 16 << 10
	failed := make(chan error, 1)
	for seq := range bytes / size {
		cl.Produce(ctx, &kgo.Record{Value: value(Record{1, seq}, size)}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	r.Report.Sent += bytes
	select {
	case err := <-failed:
		return errors.Join(errors.New("produce"), err)
	default:
		return ctx.Err()
	}
}
