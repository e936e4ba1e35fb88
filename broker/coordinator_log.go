package broker

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

const (
	// offsetsBatchBytes is about how large a batch of group records gets. A record
	// that is larger has a batch of its own.
	offsetsBatchBytes = 1 << 20
	// replayBytes is how much of a log is read at once; all shards read together.
	replayBytes = 256 << 10
)

// offsetsLog is a partition of __consumer_offsets as a shard's log.
type offsetsLog struct {
	store     *storage.Store
	partition *storage.Partition
	number    int32
}

func (l *offsetsLog) append(ctx context.Context, records []group.Record, now time.Time) (storage.LSN, error) {
	return l.store.Commit(ctx, []storage.Append{l.part(records, now)})
}

func (l *offsetsLog) part(records []group.Record, now time.Time) storage.Append {
	var batches []byte
	var rs []batch.Record
	size := 0
	for i, r := range records {
		rs = append(rs, batch.Record{Timestamp: now.UnixMilli(), Key: r.Key, Value: r.Value})
		size += len(r.Key) + len(r.Value)
		if size >= offsetsBatchBytes || i == len(records)-1 {
			batches = batch.AppendBatch(batches, batch.BuildOptions{}, rs...)
			rs, size = rs[:0], 0
		}
	}
	return storage.Append{Partition: l.partition, Batches: batches}
}

// replay reads up to the end, not only to the high watermark: after a failed
// append the shard must stand where the log stands.
func (l *offsetsLog) replay(ctx context.Context, f func(key, value []byte) error) (storage.LSN, error) {
	lsn, end := l.partition.LastLSN(), int64(0)
	marks := l.partition.Offsets()
	if l.store.Err() != nil {
		lsn, end = 0, marks.High // what lies behind it will never be durable
	} else if err := l.store.Wait(ctx, lsn, storage.Durable); err != nil {
		return 0, err
	} else {
		marks = l.partition.Offsets()
		end = marks.End
	}
	for at := marks.Start; at < end; {
		next, err := l.replayFrom(ctx, at, end, f)
		if err != nil {
			return 0, fmt.Errorf("read %s-%d from offset %d: %w", meta.OffsetsTopic, l.number, at, err)
		}
		if next <= at {
			return 0, fmt.Errorf("read %s-%d: nothing at offset %d, below the end %d", meta.OffsetsTopic, l.number, at, end)
		}
		at = next
	}
	return lsn, nil
}

// replayFrom replays one run of batches and returns the offset behind it.
func (l *offsetsLog) replayFrom(ctx context.Context, at, end int64, f func(key, value []byte) error) (int64, error) {
	if err := ctx.Err(); err != nil {
		return at, err
	}
	extent, err := l.partition.Read(at, replayBytes, end)
	if err != nil {
		return at, err
	}
	defer extent.Release()
	rest := make([]byte, extent.Len())
	if n, err := extent.ReadAt(rest, 0); err != nil && (err != io.EOF || n < len(rest)) {
		return at, err
	}
	for len(rest) > 0 {
		var b batch.Batch
		if b, rest, err = batch.Split(rest); err != nil {
			return at, err
		}
		if !b.Control() { // markers of transactions, which cannot commit offsets yet
			for r, err := range b.Records(1 << 30) {
				if err != nil {
					return at, err
				}
				if r.Offset < at {
					continue
				}
				if err := f(r.Key, r.Value); err != nil {
					return at, fmt.Errorf("record at offset %d: %w", r.Offset, err)
				}
			}
		}
		at = b.NextOffset()
	}
	return at, nil
}
