package broker

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/group"
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
}

func (l *offsetsLog) append(ctx context.Context, records []group.Record, now time.Time) (storage.LSN, error) {
	return l.store.Commit(ctx, []storage.Append{l.part(records, now)})
}

func (l *offsetsLog) part(records []group.Record, now time.Time) storage.Append {
	return storage.Append{Partition: l.partition, Batches: offsetsBatches(records, now)}
}

// offsetsBatches makes the batches of the records: a new one whenever another producer
// has its turn or one is full.
func offsetsBatches(records []group.Record, now time.Time) (batches []byte) {
	var rs []batch.Record
	size := 0
	for i, r := range records {
		rs = append(rs, batch.Record{Timestamp: now.UnixMilli(), Key: r.Key, Value: r.Value})
		size += len(r.Key) + len(r.Value)
		if size >= offsetsBatchBytes || i == len(records)-1 || !sameTxn(r.Txn, records[i+1].Txn) {
			opt := batch.BuildOptions{}
			if r.Txn != nil {
				// As Kafka's, without sequence numbers: the coordinator is the one who appends.
				opt.Transactional = true
				opt.Producer = &batch.Producer{ID: r.Txn.ID, Epoch: r.Txn.Epoch, Sequence: -1}
			}
			batches = batch.AppendBatch(batches, opt, rs...)
			rs, size = rs[:0], 0
		}
	}
	return batches
}

func (l *offsetsLog) newestEpoch(producerID int64) int16 {
	if w, ok := l.partition.ActiveProducer(producerID); ok {
		return w.Epoch
	}
	return -1
}

func sameTxn(a, b *group.Producer) bool { return a == b || a != nil && b != nil && *a == *b }

// replay tells of all records and markers.
func (l *offsetsLog) replay(ctx context.Context, to replay) (storage.LSN, error) {
	return replayLog(ctx, l.store, l.partition, func(b batch.Batch, from int64) error { return replayBatch(b, from, to) })
}

// replayLog calls f for every batch of a coordinator's log, of which the records from an
// offset on count, and tells the LSN of the newest. It reads up to the end, not only to
// the high watermark: after a failed append the shard must stand where the log stands.
func replayLog(ctx context.Context, store *storage.Store, p *storage.Partition, f func(b batch.Batch, from int64) error) (storage.LSN, error) {
	lsn, end := p.LastLSN(), int64(0)
	marks := p.Offsets()
	if store.Err() != nil {
		lsn, end = 0, marks.High // what lies behind it will never be durable
	} else if err := store.Wait(ctx, lsn, storage.Durable); err != nil {
		return 0, err
	} else {
		marks = p.Offsets()
		end = marks.End
	}
	for at := marks.Start; at < end; {
		next, err := replayFrom(ctx, p, at, end, f)
		if err != nil {
			return 0, fmt.Errorf("read from offset %d: %w", at, err)
		}
		if next <= at {
			return 0, fmt.Errorf("nothing at offset %d, below the end %d", at, end)
		}
		at = next
	}
	return lsn, nil
}

// replayFrom replays one run of batches and returns the offset behind it.
func replayFrom(ctx context.Context, p *storage.Partition, at, end int64, f func(b batch.Batch, from int64) error) (int64, error) {
	if err := ctx.Err(); err != nil {
		return at, err
	}
	extent, err := p.Read(at, replayBytes, end)
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
		if err := f(b, at); err != nil {
			return at, err
		}
		at = b.NextOffset()
	}
	return at, nil
}

// replayBatch replays the records of a batch from an offset on.
func replayBatch(b batch.Batch, from int64, to replay) error {
	if b.Control() {
		m, ok, err := b.Marker()
		if ok {
			to.end(b.ProducerID(), m.Commit)
		}
		return err
	}
	var txn *group.Producer
	if b.Transactional() {
		txn = &group.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
	}
	for r, err := range b.Records(1 << 30) {
		if err != nil {
			return err
		}
		if r.Offset < from {
			continue
		}
		if err := to.record(group.Record{Key: r.Key, Value: r.Value, Txn: txn}); err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
	}
	return nil
}
