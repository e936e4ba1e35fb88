package txn

import "time"

// Sender is the producer that a request about its transaction comes from.
type Sender struct {
	TransactionalID string
	ProducerID      int64
	Epoch           int16
}

// find finds the id of a sender and checks who it is.
func (c *Core) find(s Sender) (*transaction, int16) {
	if s.TransactionalID == "" {
		return nil, invalidRequest
	}
	x := c.ids[s.TransactionalID]
	switch {
	case x == nil || x.producerID != s.ProducerID:
		return nil, invalidProducerIDMapping
	case x.epoch != s.Epoch:
		return nil, producerFenced
	}
	return x, none
}

// AddPartitions takes partitions into the transaction of a producer and begins one if none is
// open: AddPartitionsToTxn, AddOffsetsToTxn (which adds the partition of the group's offsets),
// and what Produce v12 and TxnOffsetCommit v5 add by themselves (KIP-890). version is that of
// the protocol the client follows, 1 or 2. All are taken or none.
func (c *Core) AddPartitions(now time.Time, s Sender, parts []Partition, version int16) int16 {
	x, code := c.find(s)
	if code != none {
		return code
	}
	fresh := x.missing(parts)
	if x.state == Ongoing && len(fresh) == 0 {
		return none
	}
	if len(x.partitions)+len(fresh) > c.cfg.MaxPartitions || x.size()+sizeOf(fresh) > c.cfg.MaxRecord {
		return policyViolation
	}
	if x.state != Ongoing {
		x.state, x.started, x.previousID = Ongoing, now.UnixMilli(), -1
		x.partitions = make(map[place][16]byte, len(fresh))
	}
	for _, p := range fresh {
		x.partitions[place{p.Topic, p.Number}] = p.ID
	}
	x.version = version
	c.save(now, x)
	c.change(Change{
		Kind: Opened, TransactionalID: x.id, ProducerID: x.producerID, Epoch: x.epoch, Partitions: fresh, Version: version,
	})
	return none
}

// missing are those of parts that the transaction does not have, each once.
func (x *transaction) missing(parts []Partition) []Partition {
	var fresh []Partition
	var seen map[place]struct{}
	for i, p := range parts {
		at := place{p.Topic, p.Number}
		if id, ok := x.partitions[at]; ok && id == p.ID {
			continue
		}
		if fresh == nil {
			fresh = make([]Partition, 0, len(parts)-i)
			seen = make(map[place]struct{}, len(parts)-i)
		}
		if _, again := seen[at]; again {
			continue
		}
		seen[at] = struct{}{}
		fresh = append(fresh, p)
	}
	return fresh
}

// Verify tells whether the open transaction of a producer has the partitions: the code of the
// whole, and for each whether it is in, TRANSACTION_ABORTABLE if it is not.
func (c *Core) Verify(s Sender, parts []Partition) (whole int16, each []int16) {
	x, code := c.find(s)
	if code != none {
		return code, nil
	}
	each = make([]int16, len(parts))
	for i := range parts {
		if x.state != Ongoing || !x.has(parts[i:i+1]) {
			each[i] = transactionAbortable
		}
	}
	return none, each
}
