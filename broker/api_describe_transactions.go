package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// DescribeTransactions, key 65, v0 (KIP-664).
//
// Deviation: an id that is named more than once is answered once.
func (h *transactions) describeTransactions(c *call, req *kmsg.DescribeTransactionsRequest) {
	ids := once(req.TransactionalIDs, func(id *string) string { return *id })
	resp := kmsg.NewPtrDescribeTransactionsResponse()
	resp.TransactionStates = make([]kmsg.DescribeTransactionsResponseTransactionState, len(ids))
	unpin := c.pin()
	all := newGather(len(ids), func(lsn storage.LSN) {
		unpin()
		c.reply(resp, lsn)
	})
	for i, id := range ids {
		state := &resp.TransactionStates[i]
		fail := func(code int16) {
			*state = kmsg.NewDescribeTransactionsResponseTransactionState()
			state.TransactionalID, state.ErrorCode = id, code
		}
		h.ask(c.ctx, id, errand[*txnShard]{
			step: func(s *txnShard, _ time.Time) func(storage.LSN) {
				if err := c.tryReserve(s.core.DescribeBytes(id)); err != nil {
					fail(noRoomCode(err))
				} else {
					*state = s.core.Describe(id)
				}
				return all.done
			},
			fail: func(code int16) {
				fail(code)
				all.done(0)
			},
		})
	}
}
