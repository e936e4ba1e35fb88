package broker_test

import (
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/vfs"
)

// TestAlmostFullDisk: when there is only the reserve left, records are refused; offsets of
// groups and ends of transactions are taken, though the coordinators' topics were made a
// moment ago.
func TestAlmostFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		mem.SetCapacity(64 << 20)
		b := brokertest.Start(t, brokertest.WithFS(mem), brokertest.WithLogger(slog.New(slog.DiscardHandler)))
		createTopic(t, b, "t", 1)
		x := beginner(t, b, "id")
		wantCode(t, "produce", x.produce(produceV2, "t"), nil)
		y := beginner(t, b, "another")
		wantCode(t, "produce", y.produce(produceV2, "t"), nil)
		offsets := kadm.Offsets{}
		offsets.AddOffset("t", 0, 1, -1)
		adm := kadm.NewClient(b.Client())
		if err := adm.CommitAllOffsets(within(t), "g", offsets); err != nil {
			t.Fatal(err)
		}
		filler, err := mem.Create("/filler")
		if err != nil {
			t.Fatal(err)
		}
		defer filler.Close()
		u, err := mem.Usage("/")
		if err != nil {
			t.Fatal(err)
		}
		if err := filler.Preallocate(0, u.Free-100<<10); err != nil {
			t.Fatal(err)
		}
		c := dial(t, b)
		refused := int16(0)
		for range 1000 {
			if refused = produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, records(100)))).ErrorCode; refused != 0 {
				break
			}
		}
		wantCode(t, "records", refused, kerr.KafkaStorageError)
		wantCode(t, "records of a transaction", x.produce(produceV2, "t"), kerr.KafkaStorageError)
		wantCode(t, "commit", x.end(endV2, true), nil)
		wantCode(t, "abort", y.end(endV2, false), nil)
		offsets.AddOffset("t", 0, 2, -1)
		if err := adm.CommitAllOffsets(within(t), "g", offsets); err != nil {
			t.Errorf("offsets: %v", err)
		}
		high := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(12, "t", 0, 0))).HighWatermark
		wantStable(t, b, "behind the ends", "t", high, high)
	})
}

// TestTransactionEndsBesideADamagedLog: a log that takes no appends keeps no transaction
// open in the others.
func TestTransactionEndsBesideADamagedLog(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.Start(t, brokertest.WithFS(fs), brokertest.WithLogger(slog.New(slog.DiscardHandler)))
	bad := createTopic(t, b, "bad", 1)
	createTopic(t, b, "good", 1)
	x := beginner(t, b, "id")
	wantCode(t, "produce", x.produce(produceV2, "bad"), nil)
	wantCode(t, "produce", x.produce(produceV2, "good"), nil)
	b.Restart()
	damageFirst(t, fs, bad, 0)
	x.rawConn = dial(t, b)
	wantCode(t, "a batch for the damaged log", x.produce(produceV2, "bad"), kerr.UnknownServerError)
	wantCode(t, "commit", x.end(endV2, true), nil)
	wantStable(t, b, "after the commit", "good", 2, 2)
	wantCode(t, "the next one", x.produce(produceV2, "good"), nil)
	wantCode(t, "abort", x.end(endV2, false), nil)
	wantStable(t, b, "after the abort", "good", 4, 4)
}
