package broker

import (
	"errors"
	"slices"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// act commits what the core has put out: records, and the markers of the transactions that
// end, in all their partitions, as one act. Producers are shut out before it, and let in
// after it.
func (s *txnShard) act(out *txn.Output) (storage.LSN, error) {
	for i := range out.Changes {
		if ch := &out.Changes[i]; ch.Kind != txn.Opened {
			s.txns.open.shut(ch.ProducerID)
		}
	}
	lsn := s.lsn
	if len(out.Records) > 0 {
		var err error
		if lsn, err = s.commit(out); err != nil {
			return 0, err
		}
	}
	s.letIn(out.Changes)
	return lsn, nil
}

// commit appends. A topic that is deleted at the same moment is left out at the next try,
// and so is a log that is damaged and takes no appends: the others must not wait for it.
func (s *txnShard) commit(out *txn.Output) (storage.LSN, error) {
	var damaged map[txnPartition]bool
	for {
		now := s.now()
		image := s.txns.cfg.topics.image()
		appends := append(s.markers(image, out.Changes, damaged, now), s.log.part(out.Records, now))
		ends := offsetEnds(image, out.Changes)
		lsn, err := s.txns.cfg.groups.endTxns(s.ctx, ends, func() (storage.LSN, error) {
			return s.txns.cfg.store.Commit(s.ctx, appends)
		})
		if errors.Is(err, storage.ErrDeleted) && s.txns.cfg.topics.image() != image {
			continue
		}
		if bad := (*storage.CorruptError)(nil); errors.As(err, &bad) {
			at := txnPartition{bad.Topic, bad.Partition}
			if has(appends[:len(appends)-1], at) {
				s.logger.Error("a transaction ends without a marker in a damaged log", "error", err)
				if damaged == nil {
					damaged = map[txnPartition]bool{}
				}
				damaged[at] = true
				continue
			}
		}
		return lsn, err
	}
}

// has tells whether a partition is among those that are appended to.
func has(appends []storage.Append, at txnPartition) bool {
	return slices.ContainsFunc(appends, func(a storage.Append) bool {
		topic, number := a.Partition.ID()
		return at == txnPartition{topic, number}
	})
}

// markers are the markers of all ends, by partition. A topic that was deleted, or was
// there only under the name, has none, nor has a damaged log.
func (s *txnShard) markers(image *meta.Image, changes []txn.Change, damaged map[txnPartition]bool, now time.Time) []storage.Append {
	var appends []storage.Append
	var at map[txnPartition]int
	for i := range changes {
		ch := &changes[i]
		if ch.Kind == txn.Opened {
			continue
		}
		if at == nil {
			at = make(map[txnPartition]int, len(ch.Partitions))
			appends = make([]storage.Append, 0, len(ch.Partitions)+1)
		}
		marker := batch.BuildMarker(ch.ProducerID, ch.Epoch, now.UnixMilli(),
			batch.Marker{Commit: ch.Kind == txn.Committed, CoordinatorEpoch: s.log.epoch()})
		for _, p := range ch.Partitions {
			key := txnPartition{p.ID, p.Number}
			k, again := at[key]
			if !again {
				partition := livePartition(s.txns.cfg.store, image, key)
				if partition == nil || damaged[key] {
					continue
				}
				k = len(appends)
				at[key] = k
				appends = append(appends, storage.Append{Partition: partition, TxnVersion: ch.Version, Ends: true})
			}
			a := &appends[k]
			a.Batches = append(a.Batches, marker...)
			a.TxnVersion = min(a.TxnVersion, ch.Version)
		}
	}
	return appends
}

// livePartition is the log of a partition whose topic exists, or nil. The log of the
// coordinator itself is never part of a transaction.
func livePartition(store *storage.Store, image *meta.Image, at txnPartition) *storage.Partition {
	t := image.TopicByID(at.topic)
	if t == nil || t.Name == meta.TransactionsTopic || at.number < 0 || at.number >= t.Partitions {
		return nil
	}
	return store.Partition(at.topic, at.number)
}

// offsetEnds are the ends that concern offsets of groups.
func offsetEnds(image *meta.Image, changes []txn.Change) []offsetsEnd {
	var ends []offsetsEnd
	for i := range changes {
		ch := &changes[i]
		if ch.Kind == txn.Opened {
			continue
		}
		for _, p := range ch.Partitions {
			if t := image.Topic(meta.OffsetsTopic); t != nil && p.ID == t.ID {
				ends = append(ends, offsetsEnd{p.Number, ch.ProducerID, ch.Kind == txn.Committed})
			}
		}
	}
	return ends
}

// letIn opens partitions to producers, unless a later step has ended their transaction.
func (s *txnShard) letIn(changes []txn.Change) {
	for i := range changes {
		ch := &changes[i]
		if ch.Kind != txn.Opened {
			s.txns.open.forget(ch.ProducerID)
			delete(s.mine, ch.ProducerID)
			if s.txns.cfg.ended != nil && len(ch.Partitions) > 0 {
				s.txns.cfg.ended(ch.Kind, ch.Reason)
			}
			continue
		}
		if endsLater(changes[i+1:], ch.ProducerID) {
			continue
		}
		s.txns.open.add(ch.ProducerID, ch.Epoch, ch.Partitions)
		s.mine[ch.ProducerID] = struct{}{}
	}
}

func endsLater(changes []txn.Change, producerID int64) bool {
	for i := range changes {
		if changes[i].Kind != txn.Opened && changes[i].ProducerID == producerID {
			return true
		}
	}
	return false
}
