package broker

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/txn"
)

// TestTransactionMetrics: ends by how and why, and what is there now. The abort of nothing,
// which only raises an epoch, is no end of a transaction.
func TestTransactionMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		mustCreate(t, b, 1)
		begin := func(id string) (int64, int16) {
			pid, epoch := initTxn(t, b, id)
			parts := []txn.Partition{{Topic: "t", ID: b.metadata.topic("t").ID}}
			if code, _ := b.txns.begin(t.Context(), txn.Sender{TransactionalID: id, ProducerID: pid, Epoch: epoch}, parts, 2); code != 0 {
				t.Fatal(kerr.ErrorForCode(code))
			}
			return pid, epoch
		}
		end := func(id string, pid int64, epoch int16, commit bool) {
			req := kmsg.NewPtrEndTxnRequest()
			req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 5, id, pid, epoch, commit
			c := newTestCall(req)
			b.txns.endTxn(c, req)
			if code := answerOf(t, c, kmsg.NewPtrEndTxnResponse()).ErrorCode; code != 0 {
				t.Fatal(kerr.ErrorForCode(code))
			}
		}
		pid, epoch := begin("a")
		end("a", pid, epoch, true)
		end("a", pid, epoch+1, false)
		pid, epoch = begin("a")
		end("a", pid, epoch, false)
		begin("a")
		initTxn(t, b, "a")
		begin("b")
		time.Sleep(2 * time.Minute)
		begin("c")
		w := httptest.NewRecorder()
		b.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/metrics", nil))
		for _, want := range []string{
			`weir_transactions_total{reason="producer",result="commit"} 1`,
			`weir_transactions_total{reason="producer",result="abort"} 1`,
			`weir_transactions_total{reason="fenced",result="abort"} 1`,
			`weir_transactions_total{reason="timeout",result="abort"} 1`,
			"weir_open_transactions 1",
			"weir_transactional_ids 3",
		} {
			if !strings.Contains(w.Body.String(), want+"\n") {
				t.Errorf("not there: %s", want)
			}
		}
	})
}
