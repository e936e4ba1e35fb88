package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/txn"
)

// TestOpenTransactions: what is open is told with its producer, age, and where consumers
// wait, what hangs too; what has ended is not.
func TestOpenTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		mustCreate(t, b, 3)
		if list, err := b.OpenTransactions(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("at first: %+v, %v", list, err)
		}
		ended, epoch := initTxn(t, b, "id")
		offsets, _, err := b.txns.offsetsPartition(newTestCall(kmsg.NewPtrEndTxnRequest()), "g")
		if err != nil {
			t.Fatal(err)
		}
		top := b.metadata.topic("t")
		begin := func(id string, pid int64, parts ...txn.Partition) {
			t.Helper()
			if code, _ := b.txns.begin(t.Context(), txn.Sender{TransactionalID: id, ProducerID: pid}, parts, 2); code != 0 {
				t.Fatal(kerr.ErrorForCode(code))
			}
		}
		begin("id", ended, offsets)
		if code := endNow(t, b, 5, ended, epoch, true); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		z, _ := initTxn(t, b, "z")
		began := time.Now()
		begin("z", z, txn.Partition{Topic: "t", ID: top.ID, Number: 2}, offsets)
		time.Sleep(3 * time.Second)
		a, _ := initTxn(t, b, "a")
		begin("a", a, txn.Partition{Topic: "t", ID: top.ID, Number: 1})
		mustCommit(t, b, top.partition(2), plainly("x"))
		mustCommit(t, b, top.partition(2), transactionalBatch(z, 0, 0))
		mustCommit(t, b, top.partition(0), transactionalBatch(777, 5, 0))
		mustCommit(t, b, top.partition(1), transactionalBatch(777, 5, 0))
		want := []OpenTransaction{
			{TransactionalID: "z", ProducerID: z, Started: began.Truncate(time.Millisecond), Timeout: time.Minute, Partitions: []OpenTransactionPartition{
				{meta.OffsetsTopic, offsets.Number, -1}, {"t", 2, 1},
			}},
			{TransactionalID: "a", ProducerID: a, Started: began.Add(3 * time.Second).Truncate(time.Millisecond), Timeout: time.Minute,
				Partitions: []OpenTransactionPartition{{"t", 1, -1}}},
			{ProducerID: 777, Epoch: 5, Partitions: []OpenTransactionPartition{{"t", 0, 0}, {"t", 1, 0}}},
		}
		got, err := b.OpenTransactions(t.Context())
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%v %s", err, d)
		}
		checkTransactionsPage(t, b)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.OpenTransactions(gone); err == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, kerr.CoordinatorNotAvailable) {
			t.Errorf("of somebody who does not wait: %v", err)
		}
	})
}

// checkTransactionsPage reads the page of the admin address.
func checkTransactionsPage(t *testing.T, b *Broker) {
	t.Helper()
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/transactions", nil))
	var page struct{ Transactions []map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK || len(page.Transactions) != 3 {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	if x := page.Transactions[0]; x["transactionalId"] != "z" || x["ageMs"] != 3000.0 || x["timeoutMs"] != 60_000.0 || x["hangs"] != nil || len(x["partitions"].([]any)) != 2 {
		t.Errorf("the first: %v", x)
	}
	if x := page.Transactions[2]; x["transactionalId"] != nil || x["hangs"] != true || x["started"] != nil || x["producerId"] != 777.0 {
		t.Errorf("the one that hangs: %v", x)
	}
}
