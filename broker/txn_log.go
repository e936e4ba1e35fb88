package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// txnLog is a partition of __transaction_state as a shard's log.
type txnLog struct {
	store     *storage.Store
	partition *storage.Partition
}

// part makes the records a part of a commit.
func (l *txnLog) part(records []txn.Record, now time.Time) storage.Append {
	rs := make([]batch.Record, len(records))
	for i, r := range records {
		rs[i] = batch.Record{Timestamp: now.UnixMilli(), Key: r.Key, Value: r.Value}
	}
	return storage.Append{Partition: l.partition, Batches: batch.Build(batch.BuildOptions{}, rs...)}
}

// replay makes a core of the log. It tells how many records it did not know.
func (l *txnLog) replay(ctx context.Context, core *txn.Core) (lsn storage.LSN, skipped int, err error) {
	lsn, err = replayLog(ctx, l.store, l.partition, func(b batch.Batch, from int64) error {
		if b.Control() {
			return nil // no transaction writes to this topic
		}
		for r, err := range b.Records(1 << 30) {
			if err != nil {
				return err
			}
			if r.Offset < from {
				continue
			}
			err := core.Replay(r.Key, r.Value)
			if unknown := (*txn.UnknownKeyError)(nil); errors.As(err, &unknown) {
				skipped++
			} else if err != nil {
				return fmt.Errorf("record at offset %d: %w", r.Offset, err)
			}
		}
		return nil
	})
	return lsn, skipped, err
}

// epoch is the leader epoch, which markers carry as that of their coordinator.
func (l *txnLog) epoch() int32 { return l.partition.LeaderEpoch() }
