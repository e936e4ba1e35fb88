package broker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// topicsNamed asks for one topic many times.
func topicsNamed(name string, n int) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = 9, true
	for range n {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}

// TestMetadataAnswersOnce: 60 KB that name one topic 20,000 times made an answer of
// 520 MB.
func TestMetadataAnswersOnce(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "t", 1000)
	c := dial(t, b)
	if resp := ask[*kmsg.MetadataResponse](c, topicsNamed("t", 20_000)); len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1000 {
		t.Errorf("%d topics", len(resp.Topics))
	}
	if resp := ask[*kmsg.MetadataResponse](c, topicsNamed("new", 3)); len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 {
		t.Errorf("created: %d topics", len(resp.Topics))
	}
	byID := topicsNamed("t", 3)
	byID.Version = 12
	for i := range byID.Topics {
		byID.Topics[i].Topic, byID.Topics[i].TopicID = nil, id
	}
	if resp := ask[*kmsg.MetadataResponse](c, byID); len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 {
		t.Errorf("by id: %d topics", len(resp.Topics))
	}
}

// TestGroupAnswersOnce: the group that 5,000 elements name is answered once, with
// all that they ask for.
func TestGroupAnswersOnce(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 3)
	c := groupConn(t, b)
	for partition := range int32(3) {
		req := commit(7, "g", "t", int64(partition))
		req.Topics[0].Partitions[0].Partition = partition
		wantCode(t, "commit", ask[*kmsg.OffsetCommitResponse](c, req).Topics[0].Partitions[0].ErrorCode, nil)
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	for i := range 5000 {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		topic := kmsg.NewOffsetFetchRequestGroupTopic()
		topic.Topic, topic.Partitions = "t", []int32{int32(i % 3), 0}
		g.Topics = append(g.Topics, topic)
		req.Groups = append(req.Groups, g)
	}
	resp := ask[*kmsg.OffsetFetchResponse](c, req)
	if len(resp.Groups) != 1 || len(resp.Groups[0].Topics) != 1 || len(resp.Groups[0].Topics[0].Partitions) != 3 {
		t.Errorf("%d groups", len(resp.Groups))
	}
	req.Groups[4000].Topics = nil
	if resp := ask[*kmsg.OffsetFetchResponse](c, req); len(resp.Groups) != 1 || len(resp.Groups[0].Topics[0].Partitions) != 3 {
		t.Errorf("%d groups, when one element asks for all", len(resp.Groups))
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version = 5
	for range 1000 {
		describe.Groups = append(describe.Groups, "g")
	}
	if resp := ask[*kmsg.DescribeGroupsResponse](c, describe); len(resp.Groups) != 1 || resp.Groups[0].State != "Empty" {
		t.Errorf("%d groups described", len(resp.Groups))
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = 4, describe.Groups
	if resp := ask[*kmsg.FindCoordinatorResponse](c, find); len(resp.Coordinators) != 1 {
		t.Errorf("%d coordinators", len(resp.Coordinators))
	}
}

// TestDescribeConfigsAnswersOnce, and tells what has no room in the answer.
func TestDescribeConfigsAnswersOnce(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms, req.IncludeDocumentation = 4, true, true
	for i := range 30_000 {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		r.ConfigNames = []string{[]string{"retention.ms", "cleanup.policy"}[i%2]}
		req.Resources = append(req.Resources, r)
	}
	resp := ask[*kmsg.DescribeConfigsResponse](dial(t, b), req)
	if len(resp.Resources) != 1 || len(resp.Resources[0].Configs) != 2 {
		t.Errorf("%d resources, %d settings", len(resp.Resources), len(resp.Resources[0].Configs))
	}
}

// TestCreateTopicsAnswerIsBounded: the answer tells some 40 settings of each topic.
func TestCreateTopicsAnswerIsBounded(t *testing.T) {
	b := brokertest.Start(t)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.ValidateOnly = 7, true
	for i := range 30_000 {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprint(i), 1, 1
		req.Topics = append(req.Topics, topic)
	}
	c := dial(t, b)
	c.send(req)
	_, body, err := c.readFrame()
	if err != nil || len(body) > 40<<20 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Version = 7
	if err := resp.ReadFrom(body[1:]); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the first", resp.Topics[0].ErrorCode, nil)
	wantCode(t, "the last", resp.Topics[29_999].ErrorCode, kerr.PolicyViolation)
}

// TestNamedTwice is refused by those who would act twice, as in Kafka.
func TestNamedTwice(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "t", 1)
	c := dial(t, b)
	list := kmsg.NewPtrListOffsetsRequest()
	list.Version, list.ReplicaID = 7, -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = -1, -1
	other := p
	other.Partition = 1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.ListOffsetsRequestTopicPartition{p, other, p}
	list.Topics = append(list.Topics, topic)
	listed := ask[*kmsg.ListOffsetsResponse](c, list).Topics[0].Partitions
	wantCode(t, "ListOffsets", listed[0].ErrorCode, kerr.InvalidRequest)
	wantCode(t, "ListOffsets, once", listed[1].ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "ListOffsets, again", listed[2].ErrorCode, kerr.InvalidRequest)

	drop := kmsg.NewPtrDeleteTopicsRequest()
	drop.Version = 6
	for range 3 {
		d := kmsg.NewDeleteTopicsRequestTopic()
		d.TopicID = id
		drop.Topics = append(drop.Topics, d)
	}
	dropped := ask[*kmsg.DeleteTopicsResponse](c, drop).Topics
	if len(dropped) != 1 {
		t.Errorf("DeleteTopics: %d answers", len(dropped))
	}
	wantCode(t, "DeleteTopics", dropped[0].ErrorCode, kerr.InvalidRequest)
	if resp := ask[*kmsg.MetadataResponse](c, topicsNamed("t", 1)); resp.Topics[0].TopicID != id && resp.Topics[0].ErrorCode != 0 {
		t.Error("the topic is gone")
	}
}

// TestAnswerTooLarge: no one request is answered with more than a share of memory.
func TestAnswerTooLarge(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"auto.create.topics.enable": "false"}))
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	for i := range 500_000 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(fmt.Sprint(i))
		req.Topics = append(req.Topics, topic)
	}
	c := dial(t, b)
	c.send(req)
	c.wantClosed()
	ask[*kmsg.MetadataResponse](dial(t, b), topicsNamed("t", 1))
}

// TestCommitDoesNotAmplify: a commit that named one partition of a group with a
// long id 100 times made the journal refuse the frame, and every group of the shard
// lost its members.
func TestCommitDoesNotAmplify(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"offsets.topic.num.partitions": "1"}))
	createTopic(t, b, "t", 1000)
	c := groupConn(t, b)
	joined := ask[*kmsg.JoinGroupResponse](c, join(2, "victim", ""))
	wantCode(t, "join", joined.ErrorCode, nil)
	long := commit(9, strings.Repeat("g", 32_000), "t", 1)
	many := commit(9, strings.Repeat("g", 1024), "t", 1)
	huge := commit(9, "huge", "t", 1)
	for i := range int32(1000) {
		p := long.Topics[0].Partitions[0]
		long.Topics[0].Partitions = append(long.Topics[0].Partitions, p)
		many.Topics[0].Partitions = append(many.Topics[0].Partitions, p)
		p.Partition, p.Metadata = i, kmsg.StringPtr(strings.Repeat("m", 4096))
		huge.Topics[0].Partitions = append(huge.Topics[0].Partitions, p)
	}
	code := func(req *kmsg.OffsetCommitRequest) int16 {
		return ask[*kmsg.OffsetCommitResponse](c, req).Topics[0].Partitions[999].ErrorCode
	}
	wantCode(t, "a long group id", code(long), kerr.InvalidGroupID)
	wantCode(t, "one partition 1,000 times", code(many), nil)
	wantCode(t, "4 MiB of records", code(huge), kerr.InvalidCommitOffsetSize)
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Version, beat.Group, beat.Generation, beat.MemberID = 3, "victim", joined.Generation, joined.MemberID
	wantCode(t, "heartbeat of a member of the shard", ask[*kmsg.HeartbeatResponse](c, beat).ErrorCode, nil)
}

// TestGroupMemoryIsBounded: 40 joins of 15 MiB of metadata held 585 MiB after their
// connection was gone.
func TestGroupMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 600 MiB")
	}
	b := brokertest.Start(t)
	c := groupConn(t, b)
	metadata := make([]byte, 15<<20)
	refused := 0
	for i := range 40 {
		req := join(2, fmt.Sprint("g", i), "")
		req.SessionTimeoutMillis = 1_800_000
		req.Protocols[0].Metadata = metadata
		c.send(req)
		_, body, err := c.readFrame()
		if err != nil {
			t.Fatal(err)
		}
		if body[4] == 0 && body[5] == byte(kerr.GroupMaxSizeReached.Code) {
			refused++
		}
	}
	c.net.Close()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if refused < 20 || m.HeapInuse > 400<<20 {
		t.Errorf("%d of 40 joins are refused, %d MiB are held", refused, m.HeapInuse>>20)
	}
}

// TestErrorsWaitForWhatTheyTell: with acks=1 too, an answer that speaks of batches
// or topics waits until those are durable.
func TestErrorsWaitForWhatTheyTell(t *testing.T) {
	for name, request := range map[string]func() *kmsg.ProduceRequest{
		"out of order": func() *kmsg.ProduceRequest { return produceRequest(9, 1, "t", 0, sequenced(7, 5)) },
		"absent topic": func() *kmsg.ProduceRequest { return produceRequest(9, 1, "absent", 0, records(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := gated(t)
				createTopic(t, b, "t", 1)
				c, d := dialBubble(t, b), dialBubble(t, b)
				open := g.shut()
				if name == "out of order" {
					c.send(produceRequest(9, -1, "t", 0, sequenced(7, 0)))
				} else {
					// A topic is made, and with it the newest metadata is not durable.
					c.send(topicsNamed("another", 1))
				}
				synctest.Wait()
				d.send(request())
				answered := make(chan int16, 1)
				go func() {
					resp := kmsg.NewPtrProduceResponse()
					resp.Version = 9
					d.receive(resp, 1)
					answered <- produced(resp).ErrorCode
				}()
				synctest.Wait()
				if len(answered) != 0 {
					t.Error("answered before the sync")
				}
				go io.Copy(io.Discard, c.net)
				open()
				if code := <-answered; code == 0 {
					t.Error("no error")
				}
			})
		})
	}
}

// TestLargestBatchFits: what max.message.bytes allows, the default journal of a
// broker for tests can hold.
func TestLargestBatchFits(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	const limit = 1_048_588
	value := limit - 100
	for {
		large := batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, value)})
		if len(large) < limit {
			value += limit - len(large)
			continue
		}
		if p := produced(ask[*kmsg.ProduceResponse](dial(t, b), produceRequest(9, -1, "t", 0, large))); p.ErrorCode != 0 {
			t.Errorf("a batch of %d bytes: code %d", len(large), p.ErrorCode)
		}
		return
	}
}

// lastWords is as in conn.go.
const lastWords = 5 * time.Second

// TestLastWords: a client whose connection ends because of what it sent has some
// seconds to take its answers, however long it may be idle.
func TestLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := gated(t)
		createTopic(t, b, "t", 1)
		c := dialBubble(t, b)
		open := g.shut()
		c.send(produceRequest(9, -1, "t", 0, records(1)))
		synctest.Wait()
		c.write(request(9999, 0, noClientID...))
		synctest.Wait()
		open() // the answer is written, for the first time, when the end has begun
		time.Sleep(lastWords + time.Second)
		synctest.Wait()
		_ = c.net.SetWriteDeadline(time.Now().Add(time.Millisecond)) // fails on a closed connection
		_, err := c.net.Write([]byte{0})
		if !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the connection is open after %v: %v", lastWords, err)
		}
	})
}
