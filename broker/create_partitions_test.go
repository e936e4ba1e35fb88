package broker_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

func grow(version int16, topic string, count int32, replicas ...[]int32) *kmsg.CreatePartitionsRequest {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Version, req.TimeoutMillis = version, 1000
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = topic, count
	for _, r := range replicas {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = r
		rt.Assignment = append(rt.Assignment, a)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// TestCreatePartitions: new partitions can be written to at once, are told by
// Metadata, and are there after a power cut; a fetch session finds them.
func TestCreatePartitions(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1, "max.message.bytes", "5000")
	c := dial(t, b)
	mustProduce(t, c, "t", 1)
	for v := range int16(4) {
		n := int32(2 + v)
		wantCode(t, "not there yet", produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", n-1, records(1)))).ErrorCode, kerr.UnknownTopicOrPartition)
		check := grow(v, "t", n)
		check.ValidateOnly = true
		wantCode(t, "validate only", ask[*kmsg.CreatePartitionsResponse](c, check).Topics[0].ErrorCode, nil)
		wantCode(t, "create", ask[*kmsg.CreatePartitionsResponse](c, grow(v, "t", n)).Topics[0].ErrorCode, nil)
		wantCode(t, "write", produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", n-1, records(1)))).ErrorCode, nil)
		wantCode(t, "the topic's settings hold", produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", n-1, records(500)))).ErrorCode, kerr.MessageTooLarge)
	}
	b.Crash(5)
	c = dial(t, b)
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	if got := ask[*kmsg.MetadataResponse](c, req).Topics[0].Partitions; len(got) != 5 {
		t.Errorf("%d partitions after a power cut", len(got))
	}
	if got := fetched(ask[*kmsg.FetchResponse](c, fetchRequest(11, "t", 4, 0))); got.ErrorCode != 0 || got.HighWatermark != 1 {
		t.Errorf("partition 4 after a power cut: %+v", got)
	}
}

func TestCreatePartitionsRefusals(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"weir.max.partitions.per.topic": "10", "weir.max.partitions": "12", "offsets.topic.num.partitions": "5"}))
	createTopic(t, b, "t", 3)
	c := groupConn(t, b)
	for name, tt := range map[string]struct {
		req  *kmsg.CreatePartitionsRequest
		want *kerr.Error
	}{
		"as many":                {grow(3, "t", 3), kerr.InvalidPartitions},
		"fewer":                  {grow(3, "t", 2), kerr.InvalidPartitions},
		"negative":               {grow(3, "t", -1), kerr.InvalidPartitions},
		"unknown topic":          {grow(3, "nowhere", 5), kerr.UnknownTopicOrPartition},
		"no name":                {grow(3, "", 5), kerr.UnknownTopicOrPartition},
		"internal":               {grow(3, "__consumer_offsets", 60), kerr.InvalidTopicException},
		"too many of a topic":    {grow(3, "t", 11), kerr.PolicyViolation},
		"2^31-1":                 {grow(3, "t", 1<<31-1), kerr.PolicyViolation},
		"too many of all":        {grow(3, "t", 8), kerr.PolicyViolation},
		"too few assignments":    {grow(3, "t", 5, []int32{1}), kerr.InvalidReplicaAssignment},
		"assignment elsewhere":   {grow(3, "t", 4, []int32{2}), kerr.InvalidReplicaAssignment},
		"two replicas":           {grow(3, "t", 4, []int32{1, 1}), kerr.InvalidReplicaAssignment},
		"assignment and no more": {grow(3, "t", 3, []int32{1}), kerr.InvalidPartitions},
	} {
		wantCode(t, name, ask[*kmsg.CreatePartitionsResponse](c, tt.req).Topics[0].ErrorCode, tt.want)
	}
	wantCode(t, "assigned", ask[*kmsg.CreatePartitionsResponse](c, grow(0, "t", 5, []int32{1}, []int32{1})).Topics[0].ErrorCode, nil)
	twice := grow(3, "t", 6)
	twice.Topics = append(twice.Topics, grow(3, "t", 7).Topics...)
	got := ask[*kmsg.CreatePartitionsResponse](c, twice).Topics
	if len(got) != 1 || got[0].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("named twice: %+v", got)
	}
}
