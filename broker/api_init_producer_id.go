package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId, key 22, v0–5.
//
//	v2   flexible
//	v3   producer id and epoch, to go on from (KIP-360)
//	v4   PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH (KIP-588)
//	v5   TRANSACTION_ABORTABLE, which nothing here answers (KIP-890)
//
// Without a transactional id every request gets a new producer id with epoch 0, as in
// Kafka.
//
// Deviations: what a fenced producer left open is aborted in the same act, so that nobody
// is told CONCURRENT_TRANSACTIONS. A producer that names an old epoch is fenced before
// anything is aborted. A transactional id of more than 1,024 bytes is INVALID_REQUEST. When
// as many ids as weir.max.transactional.ids have a transaction open, another one is
// POLICY_VIOLATION.
func (h *transactions) initProducerID(c *call, req *kmsg.InitProducerIDRequest) {
	if req.TransactionalID == nil {
		h.idempotent(c)
		return
	}
	if code := h.core.CheckInit(req); code != 0 {
		c.reply(failedInit(code), 0)
		return
	}
	h.ask(c.ctx, *req.TransactionalID, answering(c,
		func(s *txnShard, now time.Time) kmsg.Response {
			if err := s.provide(); err != nil {
				return failedInit(kerr.CoordinatorNotAvailable.Code)
			}
			resp := s.core.InitProducerID(now, req)
			resp.ErrorCode = fenced(resp.ErrorCode, c.version, 4)
			return resp
		},
		func(code int16) kmsg.Response { return failedInit(code) }))
}

// idempotent answers a producer without a transactional id.
func (h *transactions) idempotent(c *call) {
	id, lsn, err := h.cfg.producers.next(c.ctx)
	if err != nil {
		c.reply(failedInit(codeOf(err)), 0)
		return
	}
	resp := failedInit(0)
	resp.ProducerID, resp.ProducerEpoch = id, 0
	c.reply(resp, lsn)
}

func failedInit(code int16) *kmsg.InitProducerIDResponse {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = code, -1, -1
	return resp
}
