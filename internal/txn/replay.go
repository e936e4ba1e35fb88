package txn

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Replay applies one record of the log, in the order of offsets, to a Core that serves nobody
// yet. On an error nothing was applied; an *UnknownKeyError may be passed over. The bytes may
// be reused afterwards.
func (c *Core) Replay(key, value []byte) error {
	id, x, err := decode(key, value)
	if err != nil {
		return err
	}
	if c.ids[id] != nil {
		delete(c.ids, id)
		c.cfg.Count(-1)
	}
	if x != nil && x.state != Dead {
		c.ids[id] = x
		c.cfg.Count(1)
	}
	return nil
}

// Ready ends the replay. topicID finds the id that a topic has now. What was open is open, with
// the deadline that it had. Finish must be called before anything else.
func (c *Core) Ready(now time.Time, topicID func(name string) [16]byte) {
	all := slices.SortedFunc(maps.Values(c.ids), func(a, b *transaction) int {
		return cmp.Or(cmp.Compare(a.updated, b.updated), cmp.Compare(a.id, b.id))
	})
	for _, x := range all {
		for p := range x.partitions {
			x.partitions[p] = topicID(p.topic)
		}
		switch x.state {
		case PrepareCommit, PrepareAbort, PrepareEpochFence:
			c.begun = append(c.begun, x)
			continue
		case Ongoing:
			c.change(Change{
				Kind: Opened, TransactionalID: x.id, ProducerID: x.producerID, Epoch: x.epoch,
				Partitions: x.list(), Version: x.version,
			})
		}
		c.arm(x)
	}
}

// Finish ends transactions that the log holds a decision for and no end: all, or as many as
// one act should have. more says that there are others.
func (c *Core) Finish(now time.Time) (more bool) {
	for len(c.begun) > 0 && c.bytes < c.cfg.MaxTick {
		c.finish(now, c.begun[0])
		c.begun = c.begun[1:]
	}
	return len(c.begun) > 0
}

// finish ends a transaction as another broker has decided, with the epoch that it has raised
// already.
func (c *Core) finish(now time.Time, x *transaction) {
	ch := Change{
		Kind: Aborted, TransactionalID: x.id, ProducerID: x.producerID, Epoch: x.epoch,
		Partitions: x.list(), Version: 1, Reason: ByRecovery,
	}
	committed := x.state == PrepareCommit
	x.state, x.partitions = CompleteAbort, nil
	if committed {
		ch.Kind, x.state = Committed, CompleteCommit
	}
	if x.version >= 2 {
		x.lastEpoch = x.epoch - 1
		if x.nextID >= 0 {
			x.previousID, x.producerID, x.epoch = x.producerID, x.nextID, 0
			x.lastEpoch = lastEpoch
		}
	}
	x.nextID = -1
	c.save(now, x)
	c.change(ch)
}
