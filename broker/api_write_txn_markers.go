package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
)

// WriteTxnMarkers, key 27, v1–2.
//
//	v1  flexible
//	v2  the transaction.version of the marker (KIP-1228)
//
// In Apache Kafka coordinators write markers with it, and administrators end transactions
// that hang: those of which no coordinator knows (KIP-664). Here only the latter is left to
// do. So a marker is appended only where it ends an open transaction of which the
// coordinator does not know.
//
// Deviations: a marker for a transaction that the coordinator has open is INVALID_TXN_STATE,
// so that nobody can tear one. Where nothing is open, nothing is appended, and the answer is
// success. An epoch of a coordinator that there has not been yet is
// TRANSACTION_COORDINATOR_FENCED. Internal topics are TOPIC_AUTHORIZATION_FAILED.
func (h *transactions) writeTxnMarkers(c *call, req *kmsg.WriteTxnMarkersRequest) {
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	var lsn storage.LSN
	for i := range req.Markers {
		m := &req.Markers[i]
		rm := kmsg.NewWriteTxnMarkersResponseMarker()
		rm.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			rt := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			rt.Topic = t.Topic
			for _, number := range t.Partitions {
				rp := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				at, err := h.endHanging(c.ctx, m, t.Topic, number)
				rp.Partition, rp.ErrorCode = number, codeOf(err)
				lsn = max(lsn, at)
				rt.Partitions = append(rt.Partitions, rp)
			}
			rm.Topics = append(rm.Topics, rt)
		}
		resp.Markers = append(resp.Markers, rm)
	}
	c.reply(resp, max(lsn, h.cfg.topics.lsn()))
}

// endHanging appends a marker that ends a transaction which hangs in a partition.
func (h *transactions) endHanging(ctx context.Context, m *kmsg.WriteTxnMarkersRequestMarker, topic string, number int32) (storage.LSN, error) {
	if meta.IsInternal(topic) {
		return 0, refuse(kerr.TopicAuthorizationFailed, "")
	}
	image := h.cfg.topics.image()
	t := image.Topic(topic)
	if t == nil {
		return 0, refuse(kerr.UnknownTopicOrPartition, "")
	}
	p := livePartition(h.cfg.store, image, txnPartition{t.ID, number})
	if p == nil {
		return 0, refuse(kerr.UnknownTopicOrPartition, "")
	}
	if m.CoordinatorEpoch > p.LeaderEpoch() {
		return 0, refuse(kerr.TransactionCoordinatorFenced, "")
	}
	if state, ok := p.ActiveProducer(m.ProducerID); !ok || state.TxnStart < 0 {
		return p.LastLSN(), nil
	}
	marker := batch.BuildMarker(m.ProducerID, m.ProducerEpoch, h.cfg.now().UnixMilli(),
		batch.Marker{Commit: m.Committed, CoordinatorEpoch: m.CoordinatorEpoch})
	lsn, err := h.cfg.store.Commit(ctx, []storage.Append{{
		Partition: p, Batches: marker, TxnVersion: int16(m.TransactionVersion), Guard: hangingOnly{h.open},
	}})
	if errors.Is(err, errCoordinated) {
		h.cfg.logger.Warn("refused a marker for a transaction that has a coordinator", "producer_id", m.ProducerID, "topic", topic, "partition", number)
	}
	return lsn, err
}

// hangingOnly admits markers for transactions that no coordinator has.
type hangingOnly struct{ open *openTxns }

var errCoordinated = refuse(kerr.InvalidTxnState, "the coordinator has this transaction open: end it there")

// Admit implements storage.Guard.
func (g hangingOnly) Admit(topic storage.TopicID, partition int32, b batch.Batch) error {
	if !g.open.hangs(b.ProducerID(), txnPartition{topic, partition}) {
		return errCoordinated
	}
	return nil
}
