package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/txn"
	"github.com/weirstream/weir/internal/vfs"
)

// TestHangingTransactionOfAnotherEpoch: a power cut has taken the newest records of the
// coordinator's log, and left those of a partition. What is open there is of a later epoch
// than the coordinator knows. A start aborts it, since an end that the coordinator writes
// would be refused there; the transaction that the coordinator has open can end.
func TestHangingTransactionOfAnotherEpoch(t *testing.T) {
	for _, later := range []int16{1, 2} {
		fs := vfs.NewMem()
		b := openOn(t, fs)
		mustCreate(t, b, 2)
		pid, epoch := initTxn(t, b, "id")
		id := b.metadata.topic("t").ID
		parts := []txn.Partition{{Topic: "t", ID: id, Number: 0}, {Topic: "t", ID: id, Number: 1}}
		if code, _ := b.txns.begin(t.Context(), txn.Sender{TransactionalID: "id", ProducerID: pid, Epoch: epoch}, parts, 2); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		mustCommit(t, b, b.metadata.topic("t").partition(0), transactionalBatch(pid, epoch, 0))
		mustCommit(t, b, b.metadata.topic("t").partition(1), transactionalBatch(pid, epoch+later, 0))
		b.Shutdown(t.Context())

		b = openOn(t, fs)
		for number, stable := range []int64{0, 2} {
			if o := b.metadata.topic("t").partition(int32(number)).Offsets(); o.Stable != stable {
				t.Errorf("epoch %d later, partition %d: %+v, want last stable offset %d", later, number, o, stable)
			}
		}
		// The coordinator may give this epoch once more: what comes with it then is not what
		// was seen before the power cut, though its sequence numbers are the same.
		if w, _ := b.metadata.topic("t").partition(1).ActiveProducer(pid); w.Epoch != epoch+later+1 || w.LastSequence != -1 {
			t.Errorf("epoch %d later: the partition remembers %+v", later, w)
		}
		req := kmsg.NewPtrEndTxnRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 5, "id", pid, epoch, true
		c := newTestCall(req)
		b.txns.endTxn(c, req)
		if code := answerOf(t, c, kmsg.NewPtrEndTxnResponse()).ErrorCode; code != 0 {
			t.Errorf("epoch %d later: the end of what the coordinator knows: %v", later, kerr.ErrorForCode(code))
		}
		for number := range int32(2) {
			p := b.metadata.topic("t").partition(number)
			settle(t, b, p)
			if o := p.Offsets(); o.Stable != o.End || o.End < 2 {
				t.Errorf("epoch %d later, partition %d at the end: %+v", later, number, o)
			}
		}
		if list, err := b.metadata.topic("t").partition(1).Aborted(0, 1); err != nil || len(list) != 1 {
			t.Errorf("epoch %d later: aborted %v, %v", later, list, err)
		}
		b.Shutdown(t.Context())
	}
}
