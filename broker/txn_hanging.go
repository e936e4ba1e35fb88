package broker

import (
	"context"
	"math"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// A transaction hangs when it is open in a partition and no coordinator knows of it: nobody
// would ever end it, and read_committed consumers would wait for it for good. Here that
// takes a directory whose files were lost apart from one another: a power cut with
// durability os, a salvage, a data directory of another broker. The start ends such
// transactions, since it is the one moment when all coordinators are known to know all of
// theirs and nobody appends. So does one of another epoch than the coordinator's: the end of
// that one would be refused there, or would end what is not meant.

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
				if !t.open.hangsAt(w.ID, w.Epoch, txnPartition{topic.ID, number}) {
					continue
				}
				t.cfg.logger.Warn("aborts a transaction that no coordinator knows of", "topic", topic.Name, "partition", number,
					"producer_id", w.ID, "epoch", w.Epoch, "first_offset", w.TxnStart)
				markers = batch.AppendMarker(markers, w.ID, raised(w.Epoch), t.cfg.now().UnixMilli(),
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

// raised is the epoch of such a marker: a later one, so that what the producer still sends
// is refused. A coordinator that has lost its newest records may give the old epoch once
// more, and what comes with it must not be taken for what came before.
func raised(epoch int16) int16 {
	if epoch < math.MaxInt16 {
		epoch++
	}
	return epoch
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
