package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// apis are the rows of the API table that the coordinator of transactions serves.
func (h *transactions) apis() []api {
	const (
		kib = 1 << 10
		mib = 1 << 20
	)
	return []api{
		{key: kmsg.InitProducerID, min: 0, max: 5, limit: 16 * kib, acl: "IdempotentWrite Cluster, Write TransactionalId", throttle: throttleRequest, handler: decoded(h.initProducerID)},
		{key: kmsg.AddPartitionsToTxn, min: 0, max: 5, limit: 4 * mib, cost: 32, acl: "Write TransactionalId, Write Topic, ClusterAction Cluster", throttle: throttleRequest, handler: decoded(h.addPartitionsToTxn)},
		{key: kmsg.AddOffsetsToTxn, min: 0, max: 4, limit: 16 * kib, acl: "Write TransactionalId, Read Group", throttle: throttleRequest, handler: decoded(h.addOffsetsToTxn)},
		{key: kmsg.EndTxn, min: 0, max: 5, limit: 16 * kib, acl: "Write TransactionalId", throttle: throttleRequest, handler: decoded(h.endTxn)},
		{key: kmsg.WriteTxnMarkers, min: 1, max: 2, limit: mib, cost: 48, acl: "ClusterAction Cluster", throttle: throttleRequest, handler: decoded(h.writeTxnMarkers)},
		{key: kmsg.TxnOffsetCommit, min: 0, max: 5, limit: 4 * mib, cost: 64, acl: "Write TransactionalId, Read Group, Read Topic", throttle: throttleRequest, handler: decoded(h.txnOffsetCommit)},
		{key: kmsg.DescribeTransactions, min: 0, max: 0, limit: 256 * kib, cost: 16, acl: "Describe TransactionalId, Describe Topic", throttle: throttleRequest, handler: decoded(h.describeTransactions)},
		{key: kmsg.ListTransactions, min: 0, max: 2, limit: 256 * kib, cost: 16, acl: "Describe TransactionalId", throttle: throttleRequest, handler: decoded(h.listTransactions)},
	}
}
