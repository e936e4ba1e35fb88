package storage

import "github.com/weirstream/weir/internal/batch"

// outcomeSpan is for how many offsets the cleaner asks at once which transactions
// were aborted.
const outcomeSpan = 4 << 10

// outcomes is what the cleaner knows of the transactions it walks over. All that
// it may touch lies below the last stable offset, so each of them has ended.
type outcomes struct {
	aborted  map[int64][]AbortedTxn // by producer, those that overlap [from, to)
	from, to int64
	seen     map[int64]bool // producers of whose transaction there were batches since its last marker
	empty    map[int64]bool // offsets of abort markers in this group without any batch of their transaction
}

// isAborted says whether b belongs to a transaction that was aborted.
func (p *pass) isAborted(b batch.Batch) (bool, error) {
	if !b.Transactional() || b.Control() {
		return false, nil
	}
	o := &p.outcomes
	if b.BaseOffset() < o.from || b.BaseOffset() >= o.to {
		list, err := p.p.Aborted(b.BaseOffset(), b.BaseOffset()+outcomeSpan)
		if err != nil {
			return false, err
		}
		o.from, o.to = b.BaseOffset(), b.BaseOffset()+outcomeSpan
		o.aborted = map[int64][]AbortedTxn{}
		for _, t := range list {
			o.aborted[t.ProducerID] = append(o.aborted[t.ProducerID], t)
		}
	}
	for _, t := range o.aborted[b.ProducerID()] {
		if t.FirstOffset <= b.BaseOffset() && b.BaseOffset() < t.LastOffset {
			return true, nil
		}
	}
	return false, nil
}

// follow notes the records that the second walk meets, in the order of the offsets.
func (o *outcomes) follow(b batch.Batch) {
	if b.Transactional() {
		if o.seen == nil {
			o.seen = map[int64]bool{}
		}
		o.seen[b.ProducerID()] = true
	}
}

// keepMarker returns what stays of a control batch. A marker whose transaction
// still had a batch stays; one without gets a delete horizon, as a tombstone does,
// and goes when that has passed (KIP-534): a reader may have read the records and
// need the marker. Unlike in Apache Kafka it goes even if it is the last that its
// producer left: the producer's epoch stands in the checkpoint.
func (p *pass) keepMarker(b batch.Batch) (batch.Batch, error) {
	m, ok, err := b.Marker()
	if err != nil || !ok {
		return b, nil
	}
	o := &p.outcomes
	had := o.seen[b.ProducerID()]
	delete(o.seen, b.ProducerID())
	if had || b.BaseOffset() >= p.until {
		return b, nil
	}
	if !m.Commit {
		if o.empty == nil {
			o.empty = map[int64]bool{}
		}
		o.empty[b.LastOffset()] = true
	}
	if horizon, has := b.DeleteHorizon(); has {
		if p.now < horizon {
			return b, nil
		}
		return nil, nil
	}
	return p.rewriter.SetHorizon(b, maxRecords, p.newHorizon())
}

// copyTxns gives a copied segment the transaction index of those that it replaces,
// without the transactions of which nothing was met.
func (p *pass) copyTxns(seg *segment, group []*segment) error {
	for _, old := range group {
		if old.aborts.count() == 0 {
			continue
		}
		list, err := old.allAborted()
		if err != nil {
			return err
		}
		for _, t := range list {
			if !p.outcomes.empty[t.LastOffset] {
				seg.aborts.note(t)
			}
		}
	}
	clear(p.outcomes.empty)
	_, err := seg.aborts.flush()
	return err
}
