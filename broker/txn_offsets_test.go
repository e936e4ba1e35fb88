package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// pendRequest commits an offset of a topic's partition 0 in the transaction of x.
func (x *rawTxn) pendRequest(version int16, group, topic string, at int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group = version, x.id, group
	req.ProducerID, req.ProducerEpoch, req.Generation = x.pid, x.epoch, -1
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch, p.Metadata = at, -1, kmsg.StringPtr("note")
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	return req
}

func (x *rawTxn) pend(version int16, group, topic string, at int64) int16 {
	x.t.Helper()
	return pended(ask[*kmsg.TxnOffsetCommitResponse](x.rawConn, x.pendRequest(version, group, topic, at)))
}

func pended(resp *kmsg.TxnOffsetCommitResponse) int16 { return resp.Topics[0].Partitions[0].ErrorCode }

func (x *rawTxn) addOffsets(group string) int16 {
	x.t.Helper()
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = 3, x.id, x.pid, x.epoch, group
	return ask[*kmsg.AddOffsetsToTxnResponse](x.rawConn, req).ErrorCode
}

// wantUnstable asks for partition 0 as a consumer that wants stable offsets does, and as
// one that does not mind.
func wantUnstable(t *testing.T, c *rawConn, when, group, topic string, plain int64) {
	t.Helper()
	for _, stable := range []bool{true, false} {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.RequireStable = 9, stable
		rg := kmsg.NewOffsetFetchRequestGroup()
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic, rt.Partitions = topic, []int32{0}
		rg.Group, rg.Topics, rg.MemberEpoch = group, append(rg.Topics, rt), -1
		req.Groups = append(req.Groups, rg)
		p := ask[*kmsg.OffsetFetchResponse](c, req).Groups[0].Topics[0].Partitions[0]
		switch {
		case stable && (p.ErrorCode != kerr.UnstableOffsetCommit.Code || p.Offset != -1):
			t.Errorf("%s: the stable offset of %s is %d, code %d", when, group, p.Offset, p.ErrorCode)
		case !stable && (p.ErrorCode != 0 || p.Offset != plain):
			t.Errorf("%s: the offset of %s is %d, code %d, want %d", when, group, p.Offset, p.ErrorCode, plain)
		}
	}
}

// TestTxnOffsetCommitEveryVersion: pending until the end, then there or gone.
func TestTxnOffsetCommitEveryVersion(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "in", 1)
	for v := int16(0); v <= 5; v++ {
		t.Run(fmt.Sprintf("v%d", v), func(t *testing.T) {
			group := fmt.Sprintf("g%d", v)
			c := groupConn(t, b)
			mustCommit(t, c, group, "in", 1)
			x := beginner(t, b, "id-"+group)
			end := int16(endV2)
			if v < 5 {
				end = endV1
			}
			for round, commit := range []bool{true, false} {
				at, want := int64(10+round), int64(10)
				if v < 5 {
					wantCode(t, "AddOffsetsToTxn", x.addOffsets(group), nil)
				}
				wantCode(t, "TxnOffsetCommit", x.pend(v, group, "in", at), nil)
				wantUnstable(t, c, "before the end", group, "in", int64(1+9*round))
				wantCode(t, "EndTxn", x.end(end, commit), nil)
				wantOffset(t, c, group, "in", want)
			}
		})
	}
}

// TestTxnOffsetCommitRefusals has Kafka's codes for what no transaction of the producer
// allows, by version.
func TestTxnOffsetCommitRefusals(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "in", 1)
	createTopic(t, b, "out", 1)
	groupConn(t, b)
	x := beginner(t, b, "id")
	change := func(version int16, f func(req *kmsg.TxnOffsetCommitRequest)) *kmsg.TxnOffsetCommitRequest {
		req := x.pendRequest(version, "g", "in", 1)
		f(req)
		return req
	}
	same := func(*kmsg.TxnOffsetCommitRequest) {}
	long := string(make([]byte, 1025))
	for _, begun := range []bool{false, true} {
		for name, tc := range map[string]struct {
			req  *kmsg.TxnOffsetCommitRequest
			want *kerr.Error
		}{
			"v0 not added":      {change(0, same), kerr.InvalidTxnState},
			"v3 not added":      {change(3, same), kerr.InvalidTxnState},
			"v4 not added":      {change(4, same), kerr.TransactionAbortable},
			"no such id":        {change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.TransactionalID = "other" }), kerr.InvalidProducerIDMapping},
			"no such id, v3":    {change(3, func(r *kmsg.TxnOffsetCommitRequest) { r.TransactionalID = "other" }), kerr.InvalidProducerIDMapping},
			"no id":             {change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.TransactionalID = "" }), kerr.InvalidRequest},
			"another producer":  {change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.ProducerID += 7 }), kerr.InvalidProducerIDMapping},
			"a later epoch":     {change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.ProducerEpoch++ }), kerr.InvalidProducerEpoch},
			"negative epoch":    {change(4, func(r *kmsg.TxnOffsetCommitRequest) { r.ProducerEpoch = -1 }), kerr.InvalidProducerEpoch},
			"no group":          {change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.Group = "" }), kerr.InvalidGroupID},
			"too long a group":  {change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.Group = long }), kerr.InvalidGroupID},
			"no such topic":     {x.pendRequest(5, "g", "absent", 1), kerr.UnknownTopicOrPartition},
			"no such partition": {change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.Topics[0].Partitions[0].Partition = 7 }), kerr.UnknownTopicOrPartition},
		} {
			resp := ask[*kmsg.TxnOffsetCommitResponse](dial(t, b), tc.req)
			wantCode(t, fmt.Sprintf("%s, in a transaction: %v", name, begun), pended(resp), tc.want)
		}
		if !begun {
			wantCode(t, "nothing was begun", x.end(endV2, true), kerr.InvalidTxnState)
			wantCode(t, "produce", x.produce(produceV2, "out"), nil)
		}
	}
	wantCode(t, "a generation of no group", pended(ask[*kmsg.TxnOffsetCommitResponse](x.rawConn,
		change(5, func(r *kmsg.TxnOffsetCommitRequest) { r.Generation = 3 }))), kerr.IllegalGeneration)
	wantCode(t, "TxnOffsetCommit", x.pend(5, "g", "in", 1), nil)
	wantCode(t, "v3, added by v5", x.pend(3, "g", "in", 2), nil)
	old := x.pendRequest(5, "g", "in", 3)
	wantCode(t, "EndTxn", x.end(endV2, true), nil)
	wantCode(t, "after the end, with the epoch before it", pended(ask[*kmsg.TxnOffsetCommitResponse](x.rawConn, old)), kerr.InvalidProducerEpoch)
	wantOffset(t, x.rawConn, "g", "in", 2)
}

// TestTxnOffsetsNobodyCoordinates: before there are groups, the producer is sent to look
// for the coordinator.
func TestTxnOffsetsNobodyCoordinates(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "in", 1)
	x := beginner(t, b, "id")
	wantCode(t, "TxnOffsetCommit", x.pend(5, "g", "in", 1), kerr.NotCoordinator)
}

// TestTxnOffsetsOverRestarts: what is pending stays so over each kind of end of the
// broker, and so does what was committed or aborted.
func TestTxnOffsetsOverRestarts(t *testing.T) {
	for name, restart := range map[string]func(b *brokertest.Broker){
		"clean": func(b *brokertest.Broker) { b.Restart() },
		"kill":  func(b *brokertest.Broker) { b.Kill() },
		"power": func(b *brokertest.Broker) { b.Crash(7) },
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t)
			createTopic(t, b, "in", 1)
			c := groupConn(t, b)
			mustCommit(t, c, "g", "in", 1)
			x, y := beginner(t, b, "x"), beginner(t, b, "y")
			again := func() {
				restart(b)
				c, x.rawConn, y.rawConn = dial(t, b), dial(t, b), dial(t, b)
			}
			wantCode(t, "TxnOffsetCommit", x.pend(5, "g", "in", 5), nil)
			wantCode(t, "TxnOffsetCommit", y.pend(5, "h", "in", 5), nil)
			again()
			wantUnstable(t, c, "after the restart", "g", "in", 1)
			wantCode(t, "TxnOffsetCommit on", x.pend(5, "g", "in", 6), nil)
			wantCode(t, "commit", x.end(endV2, true), nil)
			again()
			wantOffset(t, c, "g", "in", 6)
			wantUnstable(t, c, "the other one", "h", "in", -1)
			wantCode(t, "abort", y.end(endV2, false), nil)
			again()
			wantOffset(t, c, "g", "in", 6)
			wantOffset(t, c, "h", "in", -1)
		})
	}
}

// TestTxnOffsetsOfDeletedTopic: a topic takes its pending offsets along, and the end does
// not bring them back for a new topic of the same name.
func TestTxnOffsetsOfDeletedTopic(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "in", 1)
	createTopic(t, b, "stays", 1)
	c := groupConn(t, b)
	x := beginner(t, b, "id")
	wantCode(t, "TxnOffsetCommit", x.pend(5, "g", "in", 5), nil)
	wantCode(t, "TxnOffsetCommit", x.pend(5, "g", "stays", 6), nil)
	deleteTopic(t, b, "in")
	createTopic(t, b, "in", 1)
	wantOffset(t, c, "g", "in", -1)
	wantCode(t, "commit", x.end(endV2, true), nil)
	wantOffset(t, c, "g", "in", -1)
	wantOffset(t, c, "g", "stays", 6)
	b.Kill()
	c = dial(t, b)
	wantOffset(t, c, "g", "in", -1)
	wantOffset(t, c, "g", "stays", 6)
}

// TestTxnOffsetsTimeOut: who has gone is aborted when its time is up, and a consumer that
// waits for stable offsets gets those before.
func TestTxnOffsetsTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "in", 1)
		c := groupConn(t, b)
		mustCommit(t, c, "g", "in", 1)
		x := beginner(t, b, "id")
		wantCode(t, "TxnOffsetCommit", x.pend(5, "g", "in", 5), nil)
		time.Sleep(59 * time.Second)
		wantUnstable(t, groupConn(t, b), "within the timeout", "g", "in", 1)
		time.Sleep(6 * time.Second)
		wantOffset(t, groupConn(t, b), "g", "in", 1)
	})
}

// TestDescribeProducers tells of those that were seen, and where their transactions begin.
func TestDescribeProducers(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "out", 2)
	x, y := beginner(t, b, "x"), beginner(t, b, "y")
	wantCode(t, "produce", x.produce(produceV2, "out"), nil)
	wantCode(t, "produce", x.produce(produceV2, "out"), nil)
	wantCode(t, "produce", y.produce(produceV2, "out"), nil)
	first := y.pid
	wantCode(t, "abort", y.end(endV2, false), nil)
	req := kmsg.NewPtrDescribeProducersRequest()
	rt := kmsg.NewDescribeProducersRequestTopic()
	rt.Topic, rt.Partitions = "out", []int32{0, 1, 0, 9}
	no := kmsg.NewDescribeProducersRequestTopic()
	no.Topic, no.Partitions = "absent", []int32{0}
	req.Topics = append(req.Topics, rt, no, rt)
	resp := ask[*kmsg.DescribeProducersResponse](dial(t, b), req)
	var got []string
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			said := ""
			if p.ErrorMessage != nil {
				said = " " + *p.ErrorMessage
			}
			got = append(got, fmt.Sprintf("%s-%d: %d%s", t.Topic, p.Partition, p.ErrorCode, said))
			for _, w := range p.ActiveProducers {
				seen := time.Since(time.UnixMilli(w.LastTimestamp)) < time.Minute
				got = append(got, fmt.Sprintf("producer %d epoch %d sequence %d seen %v coordinator %v transaction %d",
					w.ProducerID, w.ProducerEpoch, w.LastSequence, seen, w.CoordinatorEpoch >= 0, w.CurrentTxnStartOffset))
			}
		}
	}
	want := []string{
		"out-0: 0",
		fmt.Sprintf("producer %d epoch 0 sequence 1 seen true coordinator false transaction 0", x.pid),
		fmt.Sprintf("producer %d epoch 1 sequence -1 seen true coordinator true transaction -1", first),
		"out-1: 0", "out-9: 3", "absent-0: 3 This server does not host this topic-partition.",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestTxnOffsetsAreCompacted: of many commits in transactions, committed, aborted and one
// that is open, the cleaner leaves what counts, and the next lives of the broker read it.
func TestTxnOffsetsAreCompacted(t *testing.T) {
	if testing.Short() {
		t.Skip("commits 24 MiB")
	}
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"offsets.topic.num.partitions": "1"}))
		const partitions, commits = 50, 120
		createTopic(t, b, "log", partitions)
		groupConn(t, b)
		x := beginner(t, b, "x")
		pendAll := func(at int64) {
			t.Helper()
			req := x.pendRequest(5, "g", "log", at)
			one := req.Topics[0].Partitions[0]
			one.Metadata = kmsg.StringPtr(strings.Repeat("m", 4000))
			req.Topics[0].Partitions = nil
			for p := range int32(partitions) {
				one.Partition = p
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, one)
			}
			wantCode(t, "TxnOffsetCommit", pended(ask[*kmsg.TxnOffsetCommitResponse](x.rawConn, req)), nil)
		}
		last := int64(-1)
		for i := range int64(commits) {
			pendAll(i)
			wantCode(t, "EndTxn", x.end(endV2, i%3 > 0), nil)
			if i%3 > 0 {
				last = i
			}
		}
		y := beginner(t, b, "y")
		wantCode(t, "AddOffsetsToTxn", y.addOffsets("h"), nil)
		wantCode(t, "TxnOffsetCommit", y.pend(4, "h", "log", 77), nil)
		for i := range int64(20) { // behind the open one nothing can be compacted
			pendAll(1000 + i)
			wantCode(t, "EndTxn", x.end(endV2, false), nil)
		}
		time.Sleep(30 * time.Second)
		if removed := metric(t, b, "weir_compaction_removed_bytes_total"); removed < 14<<20 {
			t.Errorf("%.0f bytes were removed", removed)
		}
		check := func(when string, open bool) {
			t.Helper()
			c := dial(t, b)
			wantOffset(t, c, "g", "log", last)
			if open {
				wantUnstable(t, c, when, "h", "log", -1)
			}
		}
		check("after a while", true)
		b.Kill()
		check("after a kill", true)
		b.Crash(1)
		check("after a power cut", true)
		y.rawConn = dial(t, b)
		wantCode(t, "EndTxn", y.end(endV1, true), nil)
		b.Restart()
		check("at the end", false)
		wantOffset(t, dial(t, b), "h", "log", 77)
	})
}
