package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndTxn, key 26, v0–5.
//
//	v2  PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH (KIP-588)
//	v3  flexible
//	v4  TRANSACTION_ABORTABLE, which nothing here answers (KIP-890)
//	v5  the epoch rises, and is in the answer; the same request again is known by it (KIP-890)
//
// When the answer comes, the transaction is complete: decision, markers and offsets of
// groups are one act, and durable. Deviation: CONCURRENT_TRANSACTIONS is never answered.
func (h *transactions) endTxn(c *call, req *kmsg.EndTxnRequest) {
	failed := func(code int16) kmsg.Response {
		resp := kmsg.NewPtrEndTxnResponse()
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = code, -1, -1
		return resp
	}
	h.ask(c.ctx, req.TransactionalID, answering(c,
		func(s *txnShard, now time.Time) kmsg.Response {
			if err := s.provide(); err != nil {
				return failed(kerr.CoordinatorNotAvailable.Code)
			}
			resp := s.core.EndTxn(now, req)
			resp.ErrorCode = fenced(resp.ErrorCode, c.version, 2)
			return resp
		}, failed))
}
