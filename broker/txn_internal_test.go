package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
	"github.com/weirstream/weir/internal/vfs"
)

// openOn opens a broker on a file system that outlives it.
func openOn(t *testing.T, fs vfs.FS) *Broker {
	t.Helper()
	b, err := Open(context.Background(), Config{Dir: "/data", FS: fs, JournalFileBytes: 1 << 20, CheckpointBytes: 2 << 20,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Shutdown(context.Background()) })
	return b
}

// transactionalBatch is one record of a producer.
func transactionalBatch(producerID int64, epoch int16, sequence int32) batch.Batch {
	return batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: producerID, Epoch: epoch, Sequence: sequence}},
		batch.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: []byte("v")})
}

// settle waits until all of a partition is durable.
func settle(t *testing.T, b *Broker, p *storage.Partition) {
	t.Helper()
	if err := b.store.Wait(t.Context(), p.LastLSN(), storage.Durable); err != nil {
		t.Fatal(err)
	}
}

// initTxn gives a transactional id its producer id.
func initTxn(t *testing.T, b *Broker, id string) (producerID int64, epoch int16) {
	t.Helper()
	if _, err := b.txns.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 5, &id, 60_000
	c := newTestCall(req)
	b.txns.initProducerID(c, req)
	resp := answerOf(t, c, kmsg.NewPtrInitProducerIDResponse())
	if resp.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(resp.ErrorCode))
	}
	return resp.ProducerID, resp.ProducerEpoch
}

// TestHangingTransactionsAreAborted: what no coordinator knows of is aborted at the start,
// what one knows of stays open, with and without a coordinator's log.
func TestHangingTransactionsAreAborted(t *testing.T) {
	fs := vfs.NewMem()
	b := openOn(t, fs)
	mustCreate(t, b, 2)
	if _, err := b.coordinator.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, b, b.metadata.topic("t").partition(0), transactionalBatch(7, 3, 0))
	b.Shutdown(t.Context())

	b = openOn(t, fs)
	if o := b.metadata.topic("t").partition(0).Offsets(); o.Stable != 2 || o.High != 2 {
		t.Errorf("without a coordinator's log: %+v", o)
	}
	pid, epoch := initTxn(t, b, "id")
	parts := []txn.Partition{{Topic: "t", ID: b.metadata.topic("t").ID, Number: 1}}
	if code, _ := b.txns.begin(t.Context(), txn.Sender{TransactionalID: "id", ProducerID: pid, Epoch: epoch}, parts, 2); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	for number := range int32(2) {
		mustCommit(t, b, b.metadata.topic("t").partition(number), transactionalBatch(pid, epoch, 0))
	}
	offsets := b.metadata.topic(meta.OffsetsTopic).partition(4)
	for _, id := range []int64{8, 9} {
		mustCommit(t, b, offsets, batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: id, Sequence: -1}},
			batch.Record{Key: []byte{0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0}}))
	}
	b.Shutdown(t.Context())

	b = openOn(t, fs)
	want := map[int32]int64{0: 4, 1: 0}
	for number, stable := range want {
		if o := b.metadata.topic("t").partition(number).Offsets(); o.Stable != stable {
			t.Errorf("partition %d: %+v, want last stable offset %d", number, o, stable)
		}
	}
	if o := b.metadata.topic(meta.OffsetsTopic).partition(4).Offsets(); o.Stable != 4 || o.High != 4 {
		t.Errorf("offsets of groups: %+v", o)
	}
	aborted, err := b.metadata.topic("t").partition(0).Aborted(0, 4)
	if err != nil || len(aborted) != 2 || aborted[0].ProducerID != 7 || aborted[1].ProducerID != pid {
		t.Errorf("aborted: %+v, %v", aborted, err)
	}
}

// TestDecisionsOfAnotherBrokerAreCarriedOut: a log of Apache Kafka may hold that a
// transaction commits or aborts, and nothing of its markers. The start writes them.
func TestDecisionsOfAnotherBrokerAreCarriedOut(t *testing.T) {
	fs := vfs.NewMem()
	b := openOn(t, fs)
	mustCreate(t, b, 2)
	if _, err := b.txns.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, state := range []txn.State{txn.PrepareCommit, txn.PrepareAbort} {
		pid, number := int64(70+i), int32(i)
		mustCommit(t, b, b.metadata.topic("t").partition(number), transactionalBatch(pid, 3, 0))
		id := state.String()
		v := kmsg.NewTxnMetadataValue()
		v.Version, v.ProducerID, v.ProducerEpoch, v.TimeoutMillis, v.State = 1, pid, 4, 60_000, kmsg.TransactionState(state)
		v.ClientTransactionVersion = 2
		v.Topics = []kmsg.TxnMetadataValueTopic{{Topic: "t", Partitions: []int32{number}}, {Topic: "gone", Partitions: []int32{0}}}
		key := kmsg.TxnMetadataKey{TransactionalID: id}
		shard := b.metadata.topic(meta.TransactionsTopic).partition(partitionOf(id, 50))
		mustCommit(t, b, shard, batch.Build(batch.BuildOptions{}, batch.Record{Key: key.AppendTo(nil), Value: v.AppendTo(nil)}))
	}
	b.Shutdown(t.Context())
	b = openOn(t, fs)
	for i, aborted := range []int{0, 1} {
		p := b.metadata.topic("t").partition(int32(i))
		settle(t, b, p)
		list, err := p.Aborted(0, 2)
		if o := p.Offsets(); err != nil || o.Stable != 2 || o.End != 2 || len(list) != aborted {
			t.Errorf("partition %d: %+v, aborted %v, %v", i, o, list, err)
		}
	}
	if n := b.txns.open.unsure.Load(); n != 0 {
		t.Errorf("%d shards have no core", n)
	}
}

// markersRequest is WriteTxnMarkers for one partition.
func markersRequest(producerID int64, epoch int16, topic string, partition int32, coordinator int32) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = 1
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch = producerID, epoch, coordinator
	m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: []int32{partition}}}
	req.Markers = append(req.Markers, m)
	return req
}

// TestWriteTxnMarkers (H112): a marker ends what hangs, and nothing else.
func TestWriteTxnMarkers(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 3)
	pid, epoch := initTxn(t, b, "id")
	top := b.metadata.topic("t")
	from := txn.Sender{TransactionalID: "id", ProducerID: pid, Epoch: epoch}
	if code, _ := b.txns.begin(t.Context(), from, []txn.Partition{{Topic: "t", ID: top.ID, Number: 0}}, 2); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	mustCommit(t, b, top.partition(0), transactionalBatch(pid, epoch, 0))
	mustCommit(t, b, top.partition(1), transactionalBatch(7, 3, 0))
	write := func(what string, req *kmsg.WriteTxnMarkersRequest, want *kerr.Error) {
		t.Helper()
		c := newTestCall(req)
		b.txns.writeTxnMarkers(c, req)
		code := answerOf(t, c, kmsg.NewPtrWriteTxnMarkersResponse()).Markers[0].Topics[0].Partitions[0].ErrorCode
		if want == nil && code != 0 || want != nil && code != want.Code {
			t.Errorf("%s: %v, want %v", what, kerr.ErrorForCode(code), want)
		}
	}
	write("of the coordinator's", markersRequest(pid, epoch+1, "t", 0, 0), kerr.InvalidTxnState)
	b.txns.open.shut(pid)
	write("of one that is ending", markersRequest(pid, epoch+1, "t", 0, 0), kerr.InvalidTxnState)
	write("where nothing is open", markersRequest(7, 32767, "t", 2, 0), nil)
	write("a partition that does not exist", markersRequest(7, 3, "t", 3, 0), kerr.UnknownTopicOrPartition)
	write("a partition below 0", markersRequest(7, 3, "t", -1, 0), kerr.UnknownTopicOrPartition)
	write("a topic that does not exist", markersRequest(7, 3, "u", 0, 0), kerr.UnknownTopicOrPartition)
	write("an internal topic", markersRequest(7, 3, meta.TransactionsTopic, 0, 0), kerr.TopicAuthorizationFailed)
	write("a coordinator that has not been yet", markersRequest(7, 3, "t", 1, 1000), kerr.TransactionCoordinatorFenced)
	write("an old epoch", markersRequest(7, 2, "t", 1, 0), kerr.InvalidProducerEpoch)
	b.txns.open.unsure.Add(1)
	write("while a shard is being rebuilt", markersRequest(7, 3, "t", 1, 0), kerr.InvalidTxnState)
	b.txns.open.unsure.Add(-1)
	write("of what hangs", markersRequest(7, 3, "t", 1, 0), nil)
	settle(t, b, top.partition(1))
	for number, want := range []storage.Offsets{{High: 1, End: 1}, {Stable: 2, High: 2, End: 2}, {}} {
		if o := top.partition(int32(number)).Offsets(); o != want {
			t.Errorf("partition %d: %+v, want %+v", number, o, want)
		}
	}
}

// TestFailedEndChangesNothing: an end that cannot be committed leaves the transaction open,
// and the producer is told to try again; when it does, all is committed.
func TestFailedEndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		files := vfs.Inject(disk)
		b := openOn(t, files)
		mustCreate(t, b, 2)
		pid, epoch := initTxn(t, b, "id")
		top := b.metadata.topic("t")
		from := txn.Sender{TransactionalID: "id", ProducerID: pid, Epoch: epoch}
		parts := []txn.Partition{{Topic: "t", ID: top.ID, Number: 0}, {Topic: "t", ID: top.ID, Number: 1}}
		if code, _ := b.txns.begin(t.Context(), from, parts, 2); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		for number := range int32(2) {
			mustCommit(t, b, top.partition(number), transactionalBatch(pid, epoch, 0))
		}
		end := func() int16 {
			req := kmsg.NewPtrEndTxnRequest()
			req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 5, "id", pid, epoch, true
			c := newTestCall(req)
			b.txns.endTxn(c, req)
			return answerOf(t, c, kmsg.NewPtrEndTxnResponse()).ErrorCode
		}
		files.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*1-00000000000000000000.log", Count: 1, Err: syscall.ENOSPC})
		if code := end(); code != kerr.CoordinatorNotAvailable.Code {
			t.Errorf("an end on a full disk: %v", kerr.ErrorForCode(code))
		}
		for number := range int32(2) {
			if o := top.partition(number).Offsets(); o.Stable != 0 || o.End != 1 {
				t.Errorf("partition %d after the failure: %+v", number, o)
			}
		}
		late := transactionalBatch(pid, epoch, 1)
		if err := b.txns.open.Admit(top.ID, 0, late); codeOf(err) != kerr.NotEnoughReplicas.Code {
			t.Errorf("a batch while the shard has no core: %v", err)
		}
		time.Sleep(2 * reloadDelay)
		if !b.txns.open.has(pid, epoch, txnPartition{top.ID, 0}) {
			t.Error("the transaction is not open after the failure")
		}
		if code := end(); code != 0 {
			t.Errorf("the end again: %v", kerr.ErrorForCode(code))
		}
		for number := range int32(2) {
			settle(t, b, top.partition(number))
			if o := top.partition(number).Offsets(); o.Stable != 2 || o.End != 2 {
				t.Errorf("partition %d at the end: %+v", number, o)
			}
		}
	})
}

// TestLateBatchesMeetTheMarker: batches that race the end of their transaction are before
// its marker or refused; never do they open a transaction that nobody ends.
func TestLateBatchesMeetTheMarker(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: "/data", FS: vfs.NewMem(), Durability: "os", JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	mustCreate(t, b, 1)
	pid, epoch := initTxn(t, b, "id")
	top := b.metadata.topic("t")
	from := txn.Sender{TransactionalID: "id", ProducerID: pid, Epoch: epoch}
	var appended atomic.Int64
	var late sync.WaitGroup
	stop := make(chan struct{})
	late.Go(func() {
		for sequence := int32(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			appends := []storage.Append{{Partition: top.partition(0), Batches: transactionalBatch(pid, epoch, sequence), Guard: b.txns.open}}
			if _, err := b.store.Commit(context.Background(), appends); err == nil {
				sequence++
				appended.Add(1)
			}
		}
	})
	defer late.Wait()
	defer close(stop)
	for n := 0; n < 1000 || appended.Load() == 0; n++ {
		if code, _ := b.txns.begin(t.Context(), from, []txn.Partition{{Topic: "t", ID: top.ID, Number: 0}}, 1); code != 0 {
			t.Fatalf("transaction %d: %v", n, kerr.ErrorForCode(code))
		}
		req := kmsg.NewPtrEndTxnRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 3, "id", pid, epoch, rand.IntN(2) == 0
		c := newTestCall(req)
		b.txns.endTxn(c, req)
		if code := answerOf(t, c, kmsg.NewPtrEndTxnResponse()).ErrorCode; code != 0 {
			t.Fatalf("end of transaction %d: %v", n, kerr.ErrorForCode(code))
		}
		if open := top.partition(0).OpenTxns(); len(open) > 0 {
			t.Fatalf("behind the end of transaction %d there is one open: %+v", n, open)
		}
	}
}

// TestProducersAreShutOutBeforeTheMarkers: while an end is on its way, here held up by a
// shard of groups, no batch of the transaction gets in.
func TestProducersAreShutOutBeforeTheMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		mustCreate(t, b, 1)
		pid, epoch := initTxn(t, b, "id")
		from := txn.Sender{TransactionalID: "id", ProducerID: pid, Epoch: epoch}
		top := b.metadata.topic("t")
		offsets, _, err := b.txns.offsetsPartition(newTestCall(kmsg.NewPtrEndTxnRequest()), "g")
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := b.txns.begin(t.Context(), from, []txn.Partition{offsets, {Topic: "t", ID: top.ID}}, 2); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		busy := make(chan struct{})
		(*b.coordinator.shards.Load())[offsets.Number].send(t.Context(), task{step: func(*shard, time.Time) func(storage.LSN) {
			<-busy
			return nil
		}})
		req := kmsg.NewPtrEndTxnRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 5, "id", pid, epoch, true
		c := newTestCall(req)
		go b.txns.endTxn(c, req) // an idle shard is served by who asks
		synctest.Wait()
		for _, p := range []*storage.Partition{top.partition(0), b.metadata.topic(meta.OffsetsTopic).partition(offsets.Number)} {
			_, err := b.store.Commit(t.Context(), []storage.Append{{Partition: p, Batches: transactionalBatch(pid, epoch, 0), Guard: b.txns.open}})
			if !errors.Is(err, errNotInTxn) {
				t.Errorf("a batch while the end is on its way: %v", err)
			}
		}
		close(busy)
		if code := answerOf(t, c, kmsg.NewPtrEndTxnResponse()).ErrorCode; code != 0 {
			t.Errorf("the end: %v", kerr.ErrorForCode(code))
		}
		if o := top.partition(0).Offsets(); o.End != 1 {
			t.Errorf("%+v, want a marker and nothing else", o)
		}
	})
}

// TestTransactionalProduceAllocatesNothing once its partition is in the transaction.
func TestTransactionalProduceAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes pools forget")
	}
	b, err := Open(context.Background(), Config{Dir: t.TempDir(), Durability: "os"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	mustCreate(t, b, 1)
	pid, epoch := initTxn(t, b, "id")
	c, done := loopback(t, b)
	defer done()
	answer := make([]byte, 256)
	one := func(sequence int32) []byte {
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TransactionID = 12, -1, kmsg.StringPtr("id")
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: transactionalBatch(pid, epoch, sequence)}}}}
		return kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	}
	frames := make([][]byte, 700)
	for i := range frames {
		frames[i] = one(int32(i))
	}
	n := 0
	round := func() {
		if _, err := c.Write(frames[n]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(c, answer, 8); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(500, round); n > 0 {
		t.Errorf("%v allocations for each request", n)
	}
	if o := b.metadata.topic("t").partition(0).Offsets(); o.End != int64(n) {
		t.Errorf("%d batches appended, want %d", o.End, n)
	}
}
