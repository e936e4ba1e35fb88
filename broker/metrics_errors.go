package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// countErrors counts the errors that an answer tells: that of the whole, and
// those of its topics, partitions, groups or resources. Produce and Fetch, which
// are not kmsg's, count their own.
func (m *metrics) countErrors(resp kmsg.Response) {
	errorsOf(resp, func(code int16) {
		if code != 0 {
			m.failed(kmsg.Key(resp.Key()), code)
		}
	})
}

// errorsOf gives each error code of an answer to f.
func errorsOf(resp kmsg.Response, f func(code int16)) {
	switch r := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		f(r.ErrorCode)
	case *kmsg.DescribeClusterResponse:
		f(r.ErrorCode)
	case *kmsg.InitProducerIDResponse:
		f(r.ErrorCode)
	case *kmsg.MetadataResponse:
		f(r.ErrorCode)
		each(r.Topics, func(t *kmsg.MetadataResponseTopic) { f(t.ErrorCode) })
	case *kmsg.ListOffsetsResponse:
		each(r.Topics, func(t *kmsg.ListOffsetsResponseTopic) {
			each(t.Partitions, func(p *kmsg.ListOffsetsResponseTopicPartition) { f(p.ErrorCode) })
		})
	case *kmsg.OffsetForLeaderEpochResponse:
		each(r.Topics, func(t *kmsg.OffsetForLeaderEpochResponseTopic) {
			each(t.Partitions, func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) { f(p.ErrorCode) })
		})
	case *kmsg.CreateTopicsResponse:
		each(r.Topics, func(t *kmsg.CreateTopicsResponseTopic) { f(t.ErrorCode) })
	case *kmsg.DeleteTopicsResponse:
		each(r.Topics, func(t *kmsg.DeleteTopicsResponseTopic) { f(t.ErrorCode) })
	case *kmsg.DeleteRecordsResponse:
		each(r.Topics, func(t *kmsg.DeleteRecordsResponseTopic) {
			each(t.Partitions, func(p *kmsg.DeleteRecordsResponseTopicPartition) { f(p.ErrorCode) })
		})
	case *kmsg.DescribeConfigsResponse:
		each(r.Resources, func(x *kmsg.DescribeConfigsResponseResource) { f(x.ErrorCode) })
	case *kmsg.AlterConfigsResponse:
		each(r.Resources, func(x *kmsg.AlterConfigsResponseResource) { f(x.ErrorCode) })
	case *kmsg.IncrementalAlterConfigsResponse:
		each(r.Resources, func(x *kmsg.IncrementalAlterConfigsResponseResource) { f(x.ErrorCode) })
	case *kmsg.ListConfigResourcesResponse:
		f(r.ErrorCode)
	case *kmsg.CreatePartitionsResponse:
		each(r.Topics, func(t *kmsg.CreatePartitionsResponseTopic) { f(t.ErrorCode) })
	default:
		transactionErrors(resp, f)
		groupErrors(resp, f)
	}
}

// transactionErrors is errorsOf for the answers of the coordinator of transactions.
func transactionErrors(resp kmsg.Response, f func(code int16)) {
	switch r := resp.(type) {
	case *kmsg.AddPartitionsToTxnResponse:
		each(r.Topics, func(t *kmsg.AddPartitionsToTxnResponseTopic) {
			each(t.Partitions, func(p *kmsg.AddPartitionsToTxnResponseTopicPartition) { f(p.ErrorCode) })
		})
		each(r.Transactions, func(x *kmsg.AddPartitionsToTxnResponseTransaction) {
			each(x.Topics, func(t *kmsg.AddPartitionsToTxnResponseTransactionTopic) {
				each(t.Partitions, func(p *kmsg.AddPartitionsToTxnResponseTransactionTopicPartition) { f(p.ErrorCode) })
			})
		})
	case *kmsg.AddOffsetsToTxnResponse:
		f(r.ErrorCode)
	case *kmsg.EndTxnResponse:
		f(r.ErrorCode)
	case *kmsg.TxnOffsetCommitResponse:
		each(r.Topics, func(t *kmsg.TxnOffsetCommitResponseTopic) {
			each(t.Partitions, func(p *kmsg.TxnOffsetCommitResponseTopicPartition) { f(p.ErrorCode) })
		})
	case *kmsg.DescribeProducersResponse:
		each(r.Topics, func(t *kmsg.DescribeProducersResponseTopic) {
			each(t.Partitions, func(p *kmsg.DescribeProducersResponseTopicPartition) { f(p.ErrorCode) })
		})
	case *kmsg.WriteTxnMarkersResponse:
		each(r.Markers, func(m *kmsg.WriteTxnMarkersResponseMarker) {
			each(m.Topics, func(t *kmsg.WriteTxnMarkersResponseMarkerTopic) {
				each(t.Partitions, func(p *kmsg.WriteTxnMarkersResponseMarkerTopicPartition) { f(p.ErrorCode) })
			})
		})
	case *kmsg.DescribeTransactionsResponse:
		each(r.TransactionStates, func(s *kmsg.DescribeTransactionsResponseTransactionState) { f(s.ErrorCode) })
	case *kmsg.ListTransactionsResponse:
		f(r.ErrorCode)
	}
}

// groupErrors is errorsOf for the answers of the coordinator.
func groupErrors(resp kmsg.Response, f func(code int16)) {
	switch r := resp.(type) {
	case *kmsg.FindCoordinatorResponse:
		f(r.ErrorCode)
		each(r.Coordinators, func(c *kmsg.FindCoordinatorResponseCoordinator) { f(c.ErrorCode) })
	case *kmsg.JoinGroupResponse:
		if r.ErrorCode != kerr.MemberIDRequired.Code { // a step of every new member's way
			f(r.ErrorCode)
		}
	case *kmsg.SyncGroupResponse:
		f(r.ErrorCode)
	case *kmsg.HeartbeatResponse:
		f(r.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		f(r.ErrorCode)
		each(r.Members, func(x *kmsg.LeaveGroupResponseMember) { f(x.ErrorCode) })
	case *kmsg.OffsetCommitResponse:
		each(r.Topics, func(t *kmsg.OffsetCommitResponseTopic) {
			each(t.Partitions, func(p *kmsg.OffsetCommitResponseTopicPartition) { f(p.ErrorCode) })
		})
	case *kmsg.OffsetFetchResponse:
		f(r.ErrorCode)
		each(r.Groups, func(g *kmsg.OffsetFetchResponseGroup) { f(g.ErrorCode) })
	case *kmsg.DescribeGroupsResponse:
		each(r.Groups, func(g *kmsg.DescribeGroupsResponseGroup) { f(g.ErrorCode) })
	case *kmsg.ListGroupsResponse:
		f(r.ErrorCode)
	case *kmsg.ConsumerGroupHeartbeatResponse:
		f(r.ErrorCode)
	case *kmsg.ConsumerGroupDescribeResponse:
		each(r.Groups, func(g *kmsg.ConsumerGroupDescribeResponseGroup) { f(g.ErrorCode) })
	case *kmsg.DeleteGroupsResponse:
		each(r.Groups, func(g *kmsg.DeleteGroupsResponseGroup) { f(g.ErrorCode) })
	case *kmsg.OffsetDeleteResponse:
		f(r.ErrorCode)
		each(r.Topics, func(t *kmsg.OffsetDeleteResponseTopic) {
			each(t.Partitions, func(p *kmsg.OffsetDeleteResponseTopicPartition) { f(p.ErrorCode) })
		})
	}
}

func each[T any](list []T, f func(*T)) {
	for i := range list {
		f(&list[i])
	}
}
