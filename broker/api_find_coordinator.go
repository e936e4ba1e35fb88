package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// FindCoordinator, key 10, v0–6.
//
//	v1  types of keys: 0 group, 1 transactional id (KIP-98)
//	v4  many keys in one request (KIP-699)
//	v5  nothing new for groups (KIP-890)
//	v6  type 2, share groups (KIP-932)
//
// This broker coordinates every group and every transaction. The first request for one
// makes __consumer_offsets or __transaction_state; the answer waits until that is durable.
//
// Deviations: share groups are not served; their coordinator is
// COORDINATOR_NOT_AVAILABLE, with a message that says so. A key that is named more than
// once is answered once.
const (
	coordinatorOfGroup       = 0
	coordinatorOfTransaction = 1
	coordinatorOfShare       = 2
)

func (h *coordinator) findCoordinator(c *call, req *kmsg.FindCoordinatorRequest) {
	keys := req.CoordinatorKeys
	if c.version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	keys = once(keys, func(key *string) string { return *key })
	if err := c.reserve(int64(len(keys)) * 256); err != nil {
		c.refuse(err)
		return
	}
	lsn, fail := h.findable(c, req.CoordinatorType)
	found := kmsg.NewFindCoordinatorResponseCoordinator()
	found.NodeID, found.Port = -1, -1
	if fail == nil {
		found.NodeID, found.Host, found.Port = h.cfg.advertise(c)
		found.ErrorMessage = noFailure(c.version)
	} else {
		found.ErrorCode, found.ErrorMessage = fail.code, &fail.message
	}
	resp := kmsg.NewPtrFindCoordinatorResponse()
	resp.Version = c.version
	if c.version < 4 {
		resp.NodeID, resp.Host, resp.Port = found.NodeID, found.Host, found.Port
		resp.ErrorCode, resp.ErrorMessage = found.ErrorCode, found.ErrorMessage
	} else {
		for _, key := range keys {
			found.Key = key
			resp.Coordinators = append(resp.Coordinators, found)
		}
	}
	c.reply(resp, lsn)
}

// noFailure is Kafka's message where there is nothing to say.
func noFailure(version int16) *string {
	if version < 4 {
		return kmsg.StringPtr("NONE")
	}
	return kmsg.StringPtr("")
}

// findFailure is why there is no coordinator.
type findFailure struct {
	code    int16
	message string
}

func (h *coordinator) findable(c *call, kind int8) (storage.LSN, *findFailure) {
	switch {
	case kind == coordinatorOfGroup:
		return h.found(h.ensure(c.ctx))
	case kind == coordinatorOfTransaction:
		return h.found(h.cfg.ensureTransactions(c.ctx))
	case kind == coordinatorOfShare && c.version >= 6:
		return 0, &findFailure{kerr.CoordinatorNotAvailable.Code, "This broker does not serve share groups."}
	}
	return 0, &findFailure{kerr.InvalidRequest.Code, fmt.Sprintf("Unknown coordinator type %d.", kind)}
}

func (h *coordinator) found(lsn storage.LSN, err error) (storage.LSN, *findFailure) {
	if err != nil {
		h.cfg.logger.Warn("no coordinator", "error", err)
		return 0, &findFailure{kerr.CoordinatorNotAvailable.Code, err.Error()}
	}
	return lsn, nil
}
