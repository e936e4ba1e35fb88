package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/group"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/txn"
	"github.com/weirstream/weir/internal/vfs"
)

// offsetsOf commits an offset of t-0 for group g in a transaction.
func offsetsOf(version int16, pid int64, epoch int16, at int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group = version, "id", "g"
	req.ProducerID, req.ProducerEpoch, req.Generation = pid, epoch, -1
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch = at, -1
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = "t", append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	return req
}

func pendNow(t *testing.T, b *Broker, req *kmsg.TxnOffsetCommitRequest) int16 {
	t.Helper()
	c := newTestCall(req)
	b.txns.txnOffsetCommit(c, req)
	return answerOf(t, c, kmsg.NewPtrTxnOffsetCommitResponse()).Topics[0].Partitions[0].ErrorCode
}

func endNow(t *testing.T, b *Broker, version int16, pid int64, epoch int16, commit bool) int16 {
	t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = version, "id", pid, epoch, commit
	c := newTestCall(req)
	b.txns.endTxn(c, req)
	return answerOf(t, c, kmsg.NewPtrEndTxnResponse()).ErrorCode
}

// pends asks the shard of group g whether a producer has offsets pending there.
func pends(t *testing.T, c *coordinator, pid int64) bool {
	t.Helper()
	answer := make(chan bool, 1)
	c.shardOf("g").send(t.Context(), task{
		step: func(s *shard, _ time.Time) func(storage.LSN) {
			has := s.core.Pends(pid)
			return func(storage.LSN) { answer <- has }
		},
		fail: func(code int16) {
			t.Errorf("the shard does not answer: %v", kerr.ErrorForCode(code))
			answer <- false
		},
	})
	return <-answer
}

// TestLateOffsetsMeetTheMarker: offsets that race the end of their transaction are before
// its marker or refused; never are they pending for good.
func TestLateOffsetsMeetTheMarker(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: "/data", FS: vfs.NewMem(), Durability: "os", JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	mustCreate(t, b, 1)
	pid, epoch := initTxn(t, b, "id")
	part, _, err := b.txns.offsetsPartition(newTestCall(kmsg.NewPtrEndTxnRequest()), "g")
	if err != nil {
		t.Fatal(err)
	}
	log := b.metadata.topic(meta.OffsetsTopic).partition(part.Number)
	from := txn.Sender{TransactionalID: "id", ProducerID: pid, Epoch: epoch}
	var stop atomic.Bool
	var appended, refused atomic.Int64
	var late sync.WaitGroup
	defer func() {
		stop.Store(true)
		late.Wait()
	}()
	for range 3 {
		late.Go(func() {
			for !stop.Load() {
				switch code := pendNow(t, b, offsetsOf(3, pid, epoch, 7)); code {
				case 0:
					appended.Add(1)
				case kerr.InvalidTxnState.Code:
					refused.Add(1)
				default:
					t.Errorf("TxnOffsetCommit: %v", kerr.ErrorForCode(code))
					return
				}
			}
		})
	}
	for n := 0; n < 500 || appended.Load() == 0 || refused.Load() == 0; n++ {
		if code, _ := b.txns.begin(t.Context(), from, []txn.Partition{part}, 1); code != 0 {
			t.Fatalf("transaction %d: %v", n, kerr.ErrorForCode(code))
		}
		if code := endNow(t, b, 3, pid, epoch, rand.IntN(2) == 0); code != 0 {
			t.Fatalf("end of transaction %d: %v", n, kerr.ErrorForCode(code))
		}
		if open := log.OpenTxns(); len(open) > 0 || pends(t, b.coordinator, pid) {
			t.Fatalf("behind the end of transaction %d there is one open: %+v", n, open)
		}
	}
	t.Logf("%d commits were before a marker, %d were refused", appended.Load(), refused.Load())
}

// TestOffsetsKeepToTheLogsEpochs: a commit that the log would refuse, since it knows a later
// epoch of the producer, is refused alone, and not with all that is in the same batch.
func TestOffsetsKeepToTheLogsEpochs(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 1)
	pid, epoch := initTxn(t, b, "id")
	part, _, err := b.txns.offsetsPartition(newTestCall(kmsg.NewPtrEndTxnRequest()), "g")
	if err != nil {
		t.Fatal(err)
	}
	log := b.metadata.topic(meta.OffsetsTopic).partition(part.Number)
	mustCommit(t, b, log, batch.BuildMarker(pid, epoch+3, 1, batch.Marker{}))
	if code := pendNow(t, b, offsetsOf(5, pid, epoch, 7)); code != kerr.InvalidProducerEpoch.Code {
		t.Errorf("TxnOffsetCommit: %v", kerr.ErrorForCode(code))
	}
	if code := commitNow(t, b.coordinator, "g", 4); code != 0 {
		t.Errorf("OffsetCommit: %v", kerr.ErrorForCode(code))
	}
}

// TestFailedEndLeavesOffsetsPending: when the end cannot be committed nothing has happened
// in the groups; what is told at last is the end that could.
func TestFailedEndLeavesOffsetsPending(t *testing.T) {
	log := &fakeLog{}
	c := testCoordinator(t, log, nil)
	commitNow(t, c, "g", 1)
	pend := func(pid, at int64) {
		done := make(chan struct{})
		c.shardOf("g").send(t.Context(), task{
			step: func(s *shard, now time.Time) func(storage.LSN) {
				s.core.CommitTxn(now, offsetsOf(3, pid, 0, at),
					func(string) [16]byte { return [16]byte{} }, func(string, int32) int16 { return 0 })
				return func(storage.LSN) { close(done) }
			},
			fail: func(int16) { close(done) },
		})
		<-done
	}
	want := func(when string, at int64) {
		t.Helper()
		if got, code := fetchNow(t, c, "g"); got != at || code != 0 {
			t.Errorf("%s: offset %d, code %d, want %d", when, got, code, at)
		}
	}
	pend(7, 5)
	pend(8, 6)
	records := log.newest()
	failure := errors.New("the disk is gone")
	ends := []offsetsEnd{{0, 7, true}, {0, 8, false}, {5, 9, true}}
	if _, err := c.endTxns(t.Context(), ends, func() (storage.LSN, error) { return 0, failure }); !errors.Is(err, failure) {
		t.Errorf("a failed end: %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic was lost")
			}
		}()
		_, _ = c.endTxns(t.Context(), ends, func() (storage.LSN, error) { panic("a defect") })
	}()
	want("after the failed end", 1)
	if !pends(t, c, 7) || !pends(t, c, 8) || log.newest() != records {
		t.Error("a failed end has changed the groups")
	}
	committing := false
	if lsn, err := c.endTxns(t.Context(), ends, func() (storage.LSN, error) { committing = true; return 500, nil }); lsn != 500 || err != nil || !committing {
		t.Errorf("the end: LSN %d, %v", lsn, err)
	}
	want("after the end", 5)
	if pends(t, c, 7) || pends(t, c, 8) {
		t.Error("offsets are pending after the end")
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, "g"
	call := newTestCall(req)
	c.offsetFetch(call, req)
	answerOf(t, call, kmsg.NewPtrOffsetFetchResponse())
	if call.slot.lsn != 500 {
		t.Errorf("who is told of the offset waits for LSN %d, want 500", call.slot.lsn)
	}
}

func (l *fakeLog) newest() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.records)
}

// TestEndOfAShardWithoutCore: a shard that could not be rebuilt stands still for an end as
// any other; it reads the marker with its log.
func TestEndOfAShardWithoutCore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		c := testCoordinator(t, log, nil)
		commitNow(t, c, "g", 1)
		log.setFail(errors.New("the disk is full"))
		if code := commitNow(t, c, "g", 2); code != kerr.CoordinatorNotAvailable.Code {
			t.Fatalf("a commit that fails: %v", kerr.ErrorForCode(code))
		}
		log.setFail(nil)
		done := make(chan error, 1)
		go func() {
			_, err := c.endTxns(t.Context(), []offsetsEnd{{0, 7, true}}, func() (storage.LSN, error) { return 3, nil })
			done <- err
		}()
		if err := <-done; err != nil {
			t.Errorf("the end: %v", err)
		}
	})
}

// TestOffsetsBatches: each producer's records have batches of their own, with its id and
// epoch in the header, in the order of the records.
func TestOffsetsBatches(t *testing.T) {
	a, again, later := &group.Producer{ID: 7}, &group.Producer{ID: 7}, &group.Producer{ID: 7, Epoch: 1}
	record := func(key string, p *group.Producer) group.Record {
		return group.Record{Key: []byte(key), Value: []byte("v"), Txn: p}
	}
	records := []group.Record{record("0", nil), record("1", a), record("2", again), record("3", later), record("4", nil), record("5", nil), record("6", a)}
	type told struct {
		pid           int64
		epoch         int16
		transactional bool
		count         int32
	}
	want := []told{{-1, -1, false, 1}, {7, 0, true, 2}, {7, 1, true, 1}, {-1, -1, false, 2}, {7, 0, true, 1}}
	var got []told
	n := 0
	for rest := offsetsBatches(records, time.UnixMilli(5)); len(rest) > 0; {
		one, more, err := batch.Split(rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = more
		got = append(got, told{one.ProducerID(), one.ProducerEpoch(), one.Transactional(), one.Count()})
		if one.BaseSequence() != -1 {
			t.Errorf("a batch has sequence %d", one.BaseSequence())
		}
		err = replayBatch(one, 0, replay{record: func(r group.Record) error {
			if string(r.Key) != string(records[n].Key) || (r.Txn == nil) != (records[n].Txn == nil) || r.Txn != nil && *r.Txn != *records[n].Txn {
				t.Errorf("record %d is read as %+v", n, r)
			}
			n++
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) || n != len(records) {
		t.Errorf("batches %+v with %d records, want %+v", got, n, want)
	}
}

// TestRebuiltCoordinatorFailsNoTransaction: while a shard of the coordinator is being
// rebuilt, nobody who might have a transaction there is told that he has none.
func TestRebuiltCoordinatorFailsNoTransaction(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 1)
	pid, epoch := initTxn(t, b, "id")
	part, _, err := b.txns.offsetsPartition(newTestCall(kmsg.NewPtrEndTxnRequest()), "g")
	if err != nil {
		t.Fatal(err)
	}
	at, top := txnPartition{part.ID, part.Number}, b.metadata.topic("t")
	for _, c := range []struct {
		unsure   int32
		v4, v5   *kerr.Error
		produced *kerr.Error
	}{
		{0, kerr.TransactionAbortable, kerr.InvalidTxnState, kerr.InvalidTxnState},
		{1, kerr.CoordinatorNotAvailable, kerr.CoordinatorNotAvailable, kerr.NotEnoughReplicas},
	} {
		b.txns.open.unsure.Add(c.unsure)
		for version, want := range map[int16]*kerr.Error{4: c.v4, 5: c.v5} {
			answer := make(chan kmsg.Response, 1)
			b.coordinator.shardOf("g").send(t.Context(), task{
				step: func(s *shard, now time.Time) func(storage.LSN) {
					answer <- b.txns.pend(s, now, offsetsOf(version, pid, epoch, 7), at)
					return nil
				},
				fail: func(code int16) { t.Error(kerr.ErrorForCode(code)) },
			})
			if code := (<-answer).(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code != want.Code {
				t.Errorf("%d shards are rebuilt, v%d: %v", c.unsure, version, kerr.ErrorForCode(code))
			}
		}
		err := b.txns.open.Admit(top.ID, 0, transactionalBatch(pid, epoch, 0))
		if code := codeOf(err); code != c.produced.Code {
			t.Errorf("%d shards are rebuilt: a batch: %v", c.unsure, err)
		}
		b.txns.open.unsure.Add(-c.unsure)
	}
}
