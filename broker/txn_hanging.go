package broker

import (
	"context"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// A transaction hangs when it is open in a partition and no coordinator knows of it: nobody
// would ever end it, and read_committed consumers would wait for it for good. Here that
// takes a directory whose files were lost apart from one another: a power cut with
// durability os, a salvage, a data directory of another broker. The start ends such
// transactions, since it is the one moment when all coordinators are known to know all of
// theirs and nobody appends.

// hangingChunk is how many markers are written in one act.
const hangingChunk = 1000

// abortHanging aborts, in all partitions, what no coordinator knows of. It is called once
// the shards are loaded and before the broker listens. What fails, on a full disk for
// instance, is left to the next start.
func (t *transactions) abortHanging(ctx context.Context) {
	image := t.cfg.topics.image()
	var appends []storage.Append
	var ends []offsetsEnd
	n := 0
	for _, topic := range image.Topics() {
		for number := range topic.Partitions {
			p := t.cfg.store.Partition(topic.ID, number)
			var markers []byte
			for _, w := range p.OpenTxns() {
				if !t.open.hangs(w.ID, txnPartition{topic.ID, number}) {
					continue
				}
				t.cfg.logger.Warn("aborts a transaction that no coordinator knows of", "topic", topic.Name, "partition", number,
					"producer_id", w.ID, "epoch", w.Epoch, "first_offset", w.TxnStart)
				markers = batch.AppendMarker(markers, w.ID, w.Epoch, t.cfg.now().UnixMilli(),
					batch.Marker{CoordinatorEpoch: max(w.CoordinatorEpoch, p.LeaderEpoch())})
				if topic.Name == meta.OffsetsTopic {
					ends = append(ends, offsetsEnd{number, w.ID, false})
				}
				n++
			}
			if len(markers) > 0 {
				appends = append(appends, storage.Append{Partition: p, Batches: markers, TxnVersion: 1})
			}
			if n >= hangingChunk {
				t.abortAll(ctx, appends, ends)
				appends, ends, n = nil, nil, 0
			}
		}
	}
	t.abortAll(ctx, appends, ends)
}

func (t *transactions) abortAll(ctx context.Context, appends []storage.Append, ends []offsetsEnd) {
	if len(appends) == 0 {
		return
	}
	lsn, err := t.cfg.groups.endTxns(ctx, ends, func() (storage.LSN, error) { return t.cfg.store.Commit(ctx, appends) })
	if err == nil {
		err = t.cfg.store.Wait(ctx, lsn, storage.Durable)
	}
	if err != nil {
		t.cfg.logger.Error("cannot abort transactions that no coordinator knows of; the next start tries again", "error", err)
	}
}
