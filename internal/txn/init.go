package txn

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerID is InitProducerId v0-5 of a producer with a transactional id (KIP-98). It
// fences all that came before with this id, and aborts what they left open. A producer that
// names the id and epoch that it has goes on from there (KIP-360), unless it was fenced itself.
//
// Apache Kafka answers CONCURRENT_TRANSACTIONS when there is something to abort; here that is
// done in the same step.
func (c *Core) InitProducerID(now time.Time, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.Version = req.Version
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	x, code := c.initialize(now, req)
	if code != none {
		resp.ErrorCode = code
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = x.producerID, x.epoch
	return resp
}

// CheckInit tells what is wrong with the request by itself.
func (c Config) CheckInit(req *kmsg.InitProducerIDRequest) int16 {
	timeout := time.Duration(req.TransactionTimeoutMillis) * time.Millisecond
	switch {
	case req.TransactionalID == nil || *req.TransactionalID == "" || len(*req.TransactionalID) > MaxID:
		return invalidRequest
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		return invalidRequest
	case timeout <= 0 || timeout > c.withDefaults().MaxTimeout:
		return invalidTransactionTimeout
	}
	return none
}

func (c *Core) initialize(now time.Time, req *kmsg.InitProducerIDRequest) (*transaction, int16) {
	if code := c.cfg.CheckInit(req); code != none {
		return nil, code
	}
	x := c.ids[*req.TransactionalID]
	timeout := time.Duration(req.TransactionTimeoutMillis) * time.Millisecond
	if x == nil {
		if !c.admit() {
			return nil, policyViolation
		}
		// An id that was forgotten meanwhile may come with a producer id and epoch of its
		// own; it gets new ones.
		x = &transaction{id: *req.TransactionalID, producerID: c.cfg.NewProducerID(), previousID: -1, lastEpoch: -1, nextID: -1}
		c.ids[x.id] = x
		c.cfg.Count(1)
	} else if again, code := c.renew(now, x, req); code != none {
		return nil, code
	} else if again {
		return x, none
	}
	x.timeout, x.state, x.started, x.version = timeout, Empty, -1, 0
	c.save(now, x)
	return x, none
}

// renew raises the epoch of an id that is known. again says that the request was served
// before: the answer is the same.
func (c *Core) renew(now time.Time, x *transaction, req *kmsg.InitProducerIDRequest) (again bool, code int16) {
	given := req.ProducerID != -1
	if given {
		switch {
		case req.ProducerID == x.producerID && req.ProducerEpoch == x.epoch:
		case req.ProducerEpoch != x.lastEpoch || x.state == Ongoing ||
			req.ProducerID != x.producerID && req.ProducerID != x.previousID:
			return false, producerFenced
		case x.epoch <= lastEpoch:
			return true, none
		}
	}
	if x.state == Ongoing {
		// The markers get the next epoch, which nobody has been told of: it is the new one.
		c.end(now, x, false, 2, ByFencing)
	} else if x.epoch <= lastEpoch {
		x.epoch++
	}
	x.previousID, x.lastEpoch = -1, -1
	if given {
		x.lastEpoch = req.ProducerEpoch
	}
	if x.epoch > lastEpoch {
		c.rotate(x)
	}
	return false, none
}

// rotate gives x another producer id, since the epochs of the one it has are exhausted.
func (c *Core) rotate(x *transaction) {
	x.previousID, x.producerID, x.epoch = x.producerID, c.cfg.NewProducerID(), 0
}
