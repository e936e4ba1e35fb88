package txn

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndTxn is EndTxn v0-5: the producer commits or aborts its transaction. From v5 on (KIP-890)
// the answer holds the producer id and epoch to go on with.
func (c *Core) EndTxn(now time.Time, req *kmsg.EndTxnRequest) *kmsg.EndTxnResponse {
	resp := kmsg.NewPtrEndTxnResponse()
	resp.Version = req.Version
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	resp.ErrorCode = c.endTxn(now, req)
	if x := c.ids[req.TransactionalID]; resp.ErrorCode == none && req.Version >= 5 {
		resp.ProducerID, resp.ProducerEpoch = x.producerID, x.epoch
	}
	return resp
}

// decision is what is to be done about an EndTxn.
type decision int8

const (
	refuse   decision = iota // with a code
	again                    // it was done before
	endOpen                  // the open transaction ends
	endEmpty                 // nothing is open; only the epoch rises
)

func (c *Core) endTxn(now time.Time, req *kmsg.EndTxnRequest) int16 {
	if req.TransactionalID == "" {
		return invalidRequest
	}
	x := c.ids[req.TransactionalID]
	if x == nil {
		return invalidProducerIDMapping
	}
	version, decide := int16(1), x.decide
	if req.Version >= 5 {
		version, decide = 2, x.decide2
	}
	what, code := decide(req)
	if what == refuse || what == again {
		return code
	}
	if what == endEmpty {
		x.started, x.partitions = now.UnixMilli(), nil
	}
	c.end(now, x, req.Commit, version, ByProducer)
	return none
}

// decide is the table of version 1, see the package comment.
func (x *transaction) decide(req *kmsg.EndTxnRequest) (decision, int16) {
	switch {
	case x.producerID != req.ProducerID:
		return refuse, invalidProducerIDMapping
	case x.epoch != req.ProducerEpoch:
		return refuse, producerFenced
	case x.state == Ongoing:
		return endOpen, none
	case x.state == CompleteCommit && req.Commit, x.state == CompleteAbort && !req.Commit:
		return again, none
	}
	return refuse, invalidTxnState
}

// decide2 is the table of version 2.
func (x *transaction) decide2(req *kmsg.EndTxnRequest) (decision, int16) {
	// An end of version 1 has not raised the epoch: the one before it is somebody else's.
	complete := (x.state == CompleteCommit || x.state == CompleteAbort) && x.version >= 2
	repeated := complete && (x.producerID == req.ProducerID && int(x.epoch) == int(req.ProducerEpoch)+1 && x.epoch <= lastEpoch ||
		x.previousID == req.ProducerID && req.ProducerEpoch == lastEpoch && x.epoch == 0)
	switch {
	case x.producerID != req.ProducerID && !repeated:
		return refuse, invalidProducerIDMapping
	case repeated && req.Commit == (x.state == CompleteCommit):
		return again, none
	case repeated:
		return refuse, invalidTxnState
	case x.epoch != req.ProducerEpoch:
		return refuse, producerFenced
	case x.state == Ongoing:
		return endOpen, none
	case !req.Commit:
		return endEmpty, none
	}
	return refuse, invalidTxnState
}

// end ends the transaction of x, by the rules of a version of the protocol: from 2 on with a
// raised epoch. One that is exhausted thereby is replaced when the producer asks again, if it
// does not ask now.
func (c *Core) end(now time.Time, x *transaction, commit bool, version int16, why Reason) {
	ch := Change{
		Kind: Aborted, TransactionalID: x.id, ProducerID: x.producerID, Epoch: x.epoch,
		Partitions: x.list(), Version: 1, Reason: why,
	}
	x.previousID = -1
	if version >= 2 && x.epoch < math.MaxInt16 {
		ch.Version = 2
		ch.Epoch++
		x.lastEpoch, x.epoch = x.epoch, ch.Epoch
	}
	x.state = CompleteAbort
	if commit {
		ch.Kind, x.state = Committed, CompleteCommit
	}
	x.partitions, x.version = nil, version
	if x.epoch > lastEpoch && why == ByProducer {
		c.rotate(x) // the answer tells what to go on with
	}
	c.save(now, x)
	c.change(ch)
}
