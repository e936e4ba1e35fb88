package broker

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
)

// ListTransactions, key 66, v0–2 (KIP-664).
//
//	v1  only those that have run for so long (KIP-994)
//	v2  only ids that match a pattern (KIP-1152)
//
// States that are none are told, and match nothing. Deviation: the ids come sorted.
func (h *transactions) listTransactions(c *call, req *kmsg.ListTransactionsRequest) {
	resp := kmsg.NewPtrListTransactionsResponse()
	filter, code := transactionFilter(req, resp)
	if code != 0 {
		resp.ErrorCode = code
		c.reply(resp, 0)
		return
	}
	shards := h.all()
	lists := make([][]kmsg.ListTransactionsResponseTransactionState, len(shards))
	codes := make([]int16, len(shards))
	all := newGather(len(shards), func(lsn storage.LSN) {
		for i, list := range lists {
			resp.TransactionStates = append(resp.TransactionStates, list...)
			if codes[i] != 0 {
				resp.ErrorCode = codes[i]
			}
		}
		slices.SortFunc(resp.TransactionStates, func(a, b kmsg.ListTransactionsResponseTransactionState) int {
			return strings.Compare(a.TransactionalID, b.TransactionalID)
		})
		c.reply(resp, lsn)
	})
	for i, s := range shards {
		s.send(c.ctx, errand[*txnShard]{
			step: func(s *txnShard, now time.Time) func(storage.LSN) {
				if err := c.tryReserve(s.core.ListBytes()); err != nil {
					codes[i] = noRoomCode(err)
				} else {
					lists[i] = s.core.List(now, filter)
				}
				return all.done
			},
			fail: func(code int16) {
				codes[i] = code
				all.done(0)
			},
		})
	}
}

// transactionFilter reads the filters of a request, and notes states that there are not.
func transactionFilter(req *kmsg.ListTransactionsRequest, resp *kmsg.ListTransactionsResponse) (*txn.Filter, int16) {
	f := &txn.Filter{Duration: -1}
	for _, name := range once(req.StateFilters, func(s *string) string { return *s }) {
		if f.States == nil {
			f.States = map[txn.State]bool{}
		}
		known := false
		for _, s := range txn.States() {
			if s.String() == name {
				f.States[s], known = true, true
			}
		}
		if !known {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, name)
		}
	}
	for _, id := range req.ProducerIDFilters {
		if f.ProducerIDs == nil {
			f.ProducerIDs = map[int64]bool{}
		}
		f.ProducerIDs[id] = true
	}
	if req.Version >= 1 && req.DurationFilterMillis >= 0 {
		f.Duration = delay(req.DurationFilterMillis)
	}
	if p := req.TransactionalIDPattern; req.Version >= 2 && p != nil && *p != "" {
		if len(*p) > maxPattern {
			return nil, kerr.InvalidRegularExpression.Code
		}
		// By itself first: parentheses must not close what is put around it.
		if _, err := regexp.Compile(*p); err != nil {
			return nil, kerr.InvalidRegularExpression.Code
		}
		re, err := regexp.Compile("^(?:" + *p + ")$")
		if err != nil {
			return nil, kerr.InvalidRegularExpression.Code
		}
		f.Pattern = re
	}
	return f, 0
}

// maxPattern is the longest pattern, in bytes: a compiled one takes many times as much.
const maxPattern = 1024
