package broker_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// rawTxn is a transactional producer that sends what it is told to.
type rawTxn struct {
	*rawConn
	id    string
	pid   int64
	epoch int16
	next  map[string]int32 // sequence number, by topic
}

// txnVersion1 and txnVersion2 are the versions of requests that clients of the two
// protocols send.
const (
	produceV1, produceV2 = 9, 12
	endV1, endV2         = 3, 5
)

// beginner makes a producer that has its producer id.
func beginner(t *testing.T, b *brokertest.Broker, id string) *rawTxn {
	t.Helper()
	x := &rawTxn{rawConn: dial(t, b), id: id, next: map[string]int32{}}
	x.findTxnCoordinator()
	wantCode(t, "InitProducerId", x.init(60*time.Second), nil)
	return x
}

func (c *rawConn) findTxnCoordinator() { c.findCoordinator(1) }

// findCoordinator makes the topic of a coordinator, if it was not asked for before.
func (c *rawConn) findCoordinator(kind int8) {
	c.t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorType, req.CoordinatorKeys = 6, kind, []string{"any"}
	found := ask[*kmsg.FindCoordinatorResponse](c, req).Coordinators[0]
	wantCode(c.t, "FindCoordinator", found.ErrorCode, nil)
}

func (x *rawTxn) init(timeout time.Duration) int16 {
	x.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 5, &x.id, int32(timeout.Milliseconds())
	resp := ask[*kmsg.InitProducerIDResponse](x.rawConn, req)
	if resp.ErrorCode == 0 {
		x.pid, x.epoch = resp.ProducerID, resp.ProducerEpoch
		clear(x.next)
	}
	return resp.ErrorCode
}

// add is AddPartitionsToTxn of a client.
func (x *rawTxn) add(topic string, partitions ...int32) int16 {
	x.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 3, x.id, x.pid, x.epoch
	rt := kmsg.NewAddPartitionsToTxnRequestTopic()
	rt.Topic, rt.Partitions = topic, partitions
	req.Topics = append(req.Topics, rt)
	resp := ask[*kmsg.AddPartitionsToTxnResponse](x.rawConn, req)
	return resp.Topics[0].Partitions[0].ErrorCode
}

// batch makes the next batch of the producer.
func (x *rawTxn) batch(topic string) batch.Batch {
	b := batch.Build(batch.BuildOptions{
		Transactional: true, Producer: &batch.Producer{ID: x.pid, Epoch: x.epoch, Sequence: x.next[topic]},
	}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("value")})
	return b
}

func (x *rawTxn) request(version int16, topic string, b batch.Batch) *kmsg.ProduceRequest {
	req := produceRequest(version, -1, topic, 0, b)
	req.TransactionID = &x.id
	return req
}

// produce appends a batch to partition 0.
func (x *rawTxn) produce(version int16, topic string) int16 {
	x.t.Helper()
	p := produced(ask[*kmsg.ProduceResponse](x.rawConn, x.request(version, topic, x.batch(topic))))
	if p.ErrorCode == 0 {
		x.next[topic]++
	}
	return p.ErrorCode
}

func (x *rawTxn) endRequest(version int16, commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = version, x.id, x.pid, x.epoch, commit
	return req
}

func (x *rawTxn) end(version int16, commit bool) int16 {
	x.t.Helper()
	resp := ask[*kmsg.EndTxnResponse](x.rawConn, x.endRequest(version, commit))
	if resp.ErrorCode == 0 && version >= 5 {
		x.pid, x.epoch = resp.ProducerID, resp.ProducerEpoch
		clear(x.next)
	}
	return resp.ErrorCode
}

// wantStable checks the last stable offset and the high watermark of partition 0.
func wantStable(t *testing.T, b *brokertest.Broker, when, topic string, stable, high int64) {
	t.Helper()
	for isolation, want := range []int64{high, stable} {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID, req.IsolationLevel = 7, -1, int8(isolation)
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Timestamp, rp.CurrentLeaderEpoch = -1, -1
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		got := ask[*kmsg.ListOffsetsResponse](dial(t, b), req).Topics[0].Partitions[0]
		if got.ErrorCode != 0 || got.Offset != want {
			t.Errorf("%s: end of %s for isolation level %d: %d (code %d), want %d", when, topic, isolation, got.Offset, got.ErrorCode, want)
		}
	}
}

// TestTransactionVersion1: partitions must have been added before; what was ended can be
// ended again.
func TestTransactionVersion1(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	x := beginner(t, b, "id")
	wantCode(t, "a batch before AddPartitionsToTxn", x.produce(produceV1, "out"), kerr.InvalidTxnState)
	wantCode(t, "so in v11", x.produce(11, "out"), kerr.TransactionAbortable)
	for range 2 {
		wantCode(t, "add", x.add("out", 0), nil)
		wantCode(t, "produce", x.produce(produceV1, "out"), nil)
		wantCode(t, "produce", x.produce(11, "out"), nil)
		wantCode(t, "commit", x.end(endV1, true), nil)
		wantCode(t, "commit again", x.end(endV1, true), nil)
		wantCode(t, "abort what was committed", x.end(endV1, false), kerr.InvalidTxnState)
	}
	wantStable(t, b, "after two transactions", "out", 6, 6)
	wantCode(t, "a batch behind the end", x.produce(produceV1, "out"), kerr.InvalidTxnState)
	wantCode(t, "add", x.add("out", 0), nil)
	wantCode(t, "produce", x.produce(produceV1, "out"), nil)
	wantStable(t, b, "while one is open", "out", 6, 7)
	wantCode(t, "abort", x.end(endV1, false), nil)
	wantStable(t, b, "after an abort", "out", 8, 8)
}

// TestTransactionVersion2: partitions join by the first batch, each end raises the epoch,
// and what comes late is fenced.
func TestTransactionVersion2(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	x := beginner(t, b, "id")
	wantCode(t, "produce", x.produce(produceV2, "out"), nil)
	late, again := x.request(produceV2, "out", x.batch("out")), x.endRequest(endV2, true)
	wantStable(t, b, "while it is open", "out", 0, 1)
	wantCode(t, "commit", x.end(endV2, true), nil)
	if x.epoch != 1 {
		t.Errorf("epoch %d after the first end, want 1", x.epoch)
	}
	wantStable(t, b, "after the commit", "out", 2, 2)
	wantCode(t, "a late batch", produced(ask[*kmsg.ProduceResponse](x.rawConn, late)).ErrorCode, kerr.InvalidProducerEpoch)
	resp := ask[*kmsg.EndTxnResponse](x.rawConn, again)
	if resp.ErrorCode != 0 || resp.ProducerEpoch != 1 || resp.ProducerID != x.pid {
		t.Errorf("the same EndTxn again: %+v", resp)
	}
	wantCode(t, "produce", x.produce(produceV2, "out"), nil)
	wantCode(t, "a late EndTxn", ask[*kmsg.EndTxnResponse](x.rawConn, again).ErrorCode, kerr.ProducerFenced)
	wantStable(t, b, "after a late EndTxn", "out", 2, 3)
	wantCode(t, "abort", x.end(endV2, false), nil)
	wantStable(t, b, "after the abort", "out", 4, 4)
}

// TestTransactionFencing: another producer of the same id ends what the first has open,
// at once, and the first can do nothing any more.
func TestTransactionFencing(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	first := beginner(t, b, "id")
	wantCode(t, "produce", first.produce(produceV2, "out"), nil)
	second := beginner(t, b, "id")
	wantStable(t, b, "after InitProducerId", "out", 2, 2)
	wantCode(t, "batch of the first", first.produce(produceV2, "out"), kerr.InvalidProducerEpoch)
	wantCode(t, "batch of the first", first.produce(produceV1, "out"), kerr.InvalidProducerEpoch)
	wantCode(t, "partition of the first", first.add("out", 0), kerr.ProducerFenced)
	wantCode(t, "commit of the first", first.end(endV2, true), kerr.ProducerFenced)
	wantCode(t, "so in v1", first.end(1, true), kerr.InvalidProducerEpoch)
	wantCode(t, "produce of the second", second.produce(produceV2, "out"), nil)
	wantCode(t, "commit of the second", second.end(endV2, true), nil)
	wantStable(t, b, "at the end", "out", 4, 4)
}

// TestTransactionOverRestarts: a transaction is open after each kind of end of the broker,
// and can be ended then.
func TestTransactionOverRestarts(t *testing.T) {
	for name, restart := range map[string]func(b *brokertest.Broker){
		"clean": func(b *brokertest.Broker) { b.Restart() },
		"kill":  func(b *brokertest.Broker) { b.Kill() },
		"power": func(b *brokertest.Broker) { b.Crash(7) },
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t)
			createTopic(t, b, "out", 1)
			createTopic(t, b, "other", 1)
			x := beginner(t, b, "id")
			wantCode(t, "produce", x.produce(produceV2, "out"), nil)
			restart(b)
			x.rawConn = dial(t, b)
			wantStable(t, b, "after the restart", "out", 0, 1)
			wantCode(t, "produce on", x.produce(produceV2, "out"), nil)
			wantCode(t, "produce to another", x.produce(produceV2, "other"), nil)
			restart(b)
			x.rawConn = dial(t, b)
			again := x.endRequest(endV2, true)
			wantCode(t, "commit", x.end(endV2, true), nil)
			restart(b)
			x.rawConn = dial(t, b)
			wantStable(t, b, "at the end", "out", 3, 3)
			wantStable(t, b, "at the end", "other", 2, 2)
			wantCode(t, "the commit again", ask[*kmsg.EndTxnResponse](x.rawConn, again).ErrorCode, nil)
			wantCode(t, "the next one", x.produce(produceV2, "out"), nil)
		})
	}
}

// TestTransactionOfDeletedTopic: partitions that are gone are left out of the end; those of
// a new topic of the same name have nothing to do with it.
func TestTransactionOfDeletedTopic(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	createTopic(t, b, "gone", 1)
	x := beginner(t, b, "id")
	wantCode(t, "produce", x.produce(produceV2, "out"), nil)
	wantCode(t, "produce", x.produce(produceV2, "gone"), nil)
	deleteTopic(t, b, "gone")
	createTopic(t, b, "gone", 1)
	wantCode(t, "commit", x.end(endV2, true), nil)
	wantStable(t, b, "after the commit", "out", 2, 2)
	wantStable(t, b, "the new one", "gone", 0, 0)

	wantCode(t, "produce", x.produce(produceV2, "gone"), nil)
	deleteTopic(t, b, "gone")
	createTopic(t, b, "gone", 1)
	x.next["gone"] = 0
	wantCode(t, "produce to the new one", x.produce(produceV2, "gone"), nil)
	wantStable(t, b, "the newest one", "gone", 0, 1)
	wantCode(t, "abort", x.end(endV2, false), nil)
	wantStable(t, b, "the newest one", "gone", 2, 2)
}

// TestTransactionByTopicID: Produce v13 names topics by id, also to a transaction. What one
// connection sends without waiting is served in its order.
func TestTransactionByTopicID(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "out", 1)
	x := beginner(t, b, "id")
	first := x.request(13, "", x.batch("out"))
	first.Topics[0].TopicID = id
	end := x.endRequest(endV2, true)
	x.epoch++
	next := x.request(13, "", x.batch("out"))
	next.Topics[0].TopicID = id
	unknown := x.request(13, "", x.batch("out"))
	unknown.Topics[0].TopicID = [16]byte{9}
	for _, req := range []kmsg.Request{first, end, next, unknown} {
		x.send(req)
	}
	for i, want := range []*kerr.Error{nil, nil, nil, kerr.UnknownTopicID} {
		at := x.correlation - 3 + int32(i)
		if i == 1 {
			resp := kmsg.NewPtrEndTxnResponse()
			resp.Version = endV2
			x.receive(resp, at)
			wantCode(t, "end", resp.ErrorCode, want)
			continue
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 13
		x.receive(resp, at)
		wantCode(t, "produce", produced(resp).ErrorCode, want)
	}
	wantStable(t, b, "the second one is open", "out", 2, 3)
	wantCode(t, "abort", x.end(endV2, false), nil)
	wantStable(t, b, "at the end", "out", 4, 4)
}

// TestAddPartitionsRefusals: one that does not exist keeps all from being added, in all
// versions; internal topics belong to nobody.
func TestAddPartitionsRefusals(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 1)
	x := beginner(t, b, "id")
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 3, x.id, x.pid, x.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{
		{Topic: "out", Partitions: []int32{0, 1, -1}}, {Topic: "none", Partitions: []int32{0}},
		{Topic: "__transaction_state", Partitions: []int32{0}},
	}
	want := []*kerr.Error{kerr.OperationNotAttempted, kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition, kerr.TopicAuthorizationFailed}
	n := 0
	for _, topic := range ask[*kmsg.AddPartitionsToTxnResponse](x.rawConn, req).Topics {
		for _, p := range topic.Partitions {
			wantCode(t, topic.Topic, p.ErrorCode, want[n])
			n++
		}
	}
	if n != len(want) {
		t.Errorf("%d partitions answered, want %d", n, len(want))
	}
	wantCode(t, "commit of nothing", x.end(endV1, true), kerr.InvalidTxnState)

	many := kmsg.NewPtrAddPartitionsToTxnRequest()
	many.Version = 5
	for _, verify := range []bool{true, false, true} {
		tx := kmsg.NewAddPartitionsToTxnRequestTransaction()
		tx.TransactionalID, tx.ProducerID, tx.ProducerEpoch, tx.VerifyOnly = x.id, x.pid, x.epoch, verify
		tx.Topics = []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "out", Partitions: []int32{0}}}
		many.Transactions = append(many.Transactions, tx)
	}
	nobody := kmsg.NewAddPartitionsToTxnRequestTransaction()
	nobody.TransactionalID, nobody.ProducerID = "nobody", 5
	nobody.Topics = []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "out", Partitions: []int32{0}}}
	many.Transactions = append(many.Transactions, nobody)
	resp := ask[*kmsg.AddPartitionsToTxnResponse](x.rawConn, many)
	for i, want := range []*kerr.Error{kerr.TransactionAbortable, nil, nil, kerr.InvalidProducerIDMapping} {
		wantCode(t, "batched", resp.Transactions[i].Topics[0].Partitions[0].ErrorCode, want)
	}
}
