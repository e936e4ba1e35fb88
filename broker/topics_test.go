package broker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

func create(c *rawConn, version int16, change func(req *kmsg.CreateTopicsRequest, topic *kmsg.CreateTopicsRequestTopic)) *kmsg.CreateTopicsResponse {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = version
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "fresh", 1, 1
	change(req, &topic)
	req.Topics = append(req.Topics, topic)
	return ask[*kmsg.CreateTopicsResponse](c, req)
}

// TestPitfall19TopicNames: names, counts and collisions that are refused (H76–H88),
// with the codes of Apache Kafka 4.3.1.
func TestPitfall19TopicNames(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"weir.replication.factor.policy": "refuse"}))
	createTopic(t, b, "there.is", 1)
	c := dial(t, b)
	named := func(name string) func(*kmsg.CreateTopicsRequestTopic) {
		return func(topic *kmsg.CreateTopicsRequestTopic) { topic.Topic = name }
	}
	config := func(key, value string) func(*kmsg.CreateTopicsRequestTopic) {
		return func(topic *kmsg.CreateTopicsRequestTopic) {
			kv := kmsg.NewCreateTopicsRequestTopicConfig()
			kv.Name, kv.Value = key, &value
			topic.Configs = append(topic.Configs, kv)
		}
	}
	for name, tc := range map[string]struct {
		change func(*kmsg.CreateTopicsRequestTopic)
		want   *kerr.Error
	}{
		"H76 ..":                         {named(".."), kerr.InvalidTopicException},
		"H77 .":                          {named("."), kerr.InvalidTopicException},
		"H78 empty":                      {named(""), kerr.InvalidTopicException},
		"H79 path traversal":             {named("../../etc/passwd"), kerr.InvalidTopicException},
		"H80 slash":                      {named("a/b"), kerr.InvalidTopicException},
		"H81 NUL":                        {named("a\x00b"), kerr.InvalidTopicException},
		"H82 250 characters":             {named(strings.Repeat("x", 250)), kerr.InvalidTopicException},
		"H83 markup":                     {named("<b>x</b>"), kerr.InvalidTopicException},
		"H84 2^31-1 partitions":          {func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 1<<31 - 1 }, kerr.PolicyViolation},
		"H85 -5 partitions":              {func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = -5 }, kerr.InvalidPartitions},
		"H86 3 replicas on one broker":   {func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 3 }, kerr.InvalidReplicationFactor},
		"0 replicas":                     {func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 0 }, kerr.InvalidReplicationFactor},
		"H87 segment.bytes=-1":           {config("segment.bytes", "-1"), kerr.InvalidConfig},
		"H88 unknown config key":         {config("no.such.key", "1"), kerr.InvalidConfig},
		"pitfall 19: collision":          {named("there_is"), kerr.InvalidTopicException},
		"exists":                         {named("there.is"), kerr.TopicAlreadyExists},
		"the metadata log's own name":    {named("__cluster_metadata"), kerr.InvalidTopicException},
		"assignment to another broker":   {assigned(2), kerr.InvalidReplicaAssignment},
		"assignment and partition count": {func(t *kmsg.CreateTopicsRequestTopic) { assigned(1)(t); t.NumPartitions = 3 }, kerr.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			resp := create(c, 5, func(_ *kmsg.CreateTopicsRequest, topic *kmsg.CreateTopicsRequestTopic) { tc.change(topic) })
			out := resp.Topics[0]
			if out.ErrorCode != tc.want.Code || out.ErrorMessage == nil {
				t.Errorf("code %d, message %v; want %s (%d)", out.ErrorCode, out.ErrorMessage, tc.want.Message, tc.want.Code)
			}
		})
	}
}

func assigned(node int32) func(*kmsg.CreateTopicsRequestTopic) {
	return func(topic *kmsg.CreateTopicsRequestTopic) {
		topic.NumPartitions, topic.ReplicationFactor = -1, -1
		for i := range int32(3) {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = i, []int32{node}
			topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
		}
	}
}

func TestCreateTopics(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"num.partitions": "4"}))
	c := dial(t, b)
	for v := int16(2); v <= 7; v++ {
		resp := create(c, v, func(_ *kmsg.CreateTopicsRequest, topic *kmsg.CreateTopicsRequestTopic) {
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "v"+string(rune('0'+v)), -1, 3
		})
		out := resp.Topics[0]
		if out.ErrorCode != 0 {
			t.Fatalf("v%d: code %d", v, out.ErrorCode)
		}
		if v >= 5 && (out.NumPartitions != 4 || out.ReplicationFactor != 1 || len(out.Configs) < 20) {
			t.Errorf("v%d: %d partitions, %d replicas, %d configs", v, out.NumPartitions, out.ReplicationFactor, len(out.Configs))
		}
		if v >= 7 && out.TopicID == ([16]byte{}) {
			t.Error("v7: no topic id")
		}
	}
	if resp := create(c, 7, func(_ *kmsg.CreateTopicsRequest, topic *kmsg.CreateTopicsRequestTopic) { assigned(1)(topic) }); resp.Topics[0].ErrorCode != 0 || resp.Topics[0].NumPartitions != 3 {
		t.Errorf("by assignment: code %d, %d partitions", resp.Topics[0].ErrorCode, resp.Topics[0].NumPartitions)
	}
	resp := create(c, 7, func(req *kmsg.CreateTopicsRequest, topic *kmsg.CreateTopicsRequestTopic) {
		req.ValidateOnly, topic.Topic = true, "tried"
	})
	if resp.Topics[0].ErrorCode != 0 || metadataOf(c, 9, "tried").ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Error("validate only made a topic")
	}
	resp = create(c, 7, func(req *kmsg.CreateTopicsRequest, topic *kmsg.CreateTopicsRequestTopic) {
		topic.Topic = "twice"
		req.Topics = append(req.Topics, *topic)
	})
	if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("the same name twice: %+v", resp.Topics)
	}
}

// metadataOf asks for one topic without creating it.
func metadataOf(c *rawConn, version int16, name string) kmsg.MetadataResponseTopic {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = version
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	return ask[*kmsg.MetadataResponse](c, req).Topics[0]
}

// TestPitfall16Metadata: which list means all, who creates, what is told.
func TestPitfall16Metadata(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"node.id": "5"}))
	id := createTopic(t, b, "t", 2)
	c := dial(t, b)
	for v := int16(0); v <= 13; v++ {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics = v, nil
		if v == 0 {
			req.Topics = []kmsg.MetadataRequestTopic{}
		}
		resp := ask[*kmsg.MetadataResponse](c, req)
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 2 || resp.Brokers[0].NodeID != 5 {
			t.Errorf("v%d, all topics: %+v", v, resp)
			continue
		}
		if p := resp.Topics[0].Partitions[1]; p.Leader != 5 || !slices.Equal(p.Replicas, []int32{5}) || !slices.Equal(p.ISR, []int32{5}) {
			t.Errorf("v%d: %+v", v, p)
		}
		if v >= 1 && resp.ControllerID != 5 {
			t.Errorf("v%d: controller %d", v, resp.ControllerID)
		}
		if v >= 2 && *resp.ClusterID != b.Broker().ClusterID() {
			t.Errorf("v%d: cluster %s", v, *resp.ClusterID)
		}
		if v >= 10 && resp.Topics[0].TopicID != id {
			t.Errorf("v%d: topic id %x", v, resp.Topics[0].TopicID)
		}
		if v >= 1 {
			req.Topics = []kmsg.MetadataRequestTopic{}
			if resp := ask[*kmsg.MetadataResponse](c, req); len(resp.Topics) != 0 {
				t.Errorf("v%d: an empty list is %d topics", v, len(resp.Topics))
			}
		}
	}
	if out := metadataOf(c, 4, "asked-not-to"); out.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("v4 without leave to create: code %d", out.ErrorCode)
	}
	if out := metadataOf(c, 3, "made"); out.ErrorCode != 0 || len(out.Partitions) != 1 {
		t.Errorf("v3 creates: code %d", out.ErrorCode)
	}
	if out := metadataOf(c, 3, "a/b"); out.ErrorCode != kerr.InvalidTopicException.Code {
		t.Errorf("bad name: code %d", out.ErrorCode)
	}
	byID := kmsg.NewPtrMetadataRequest()
	byID.Version = 12
	byID.Topics = []kmsg.MetadataRequestTopic{{TopicID: id}, {TopicID: [16]byte{9}}}
	resp := ask[*kmsg.MetadataResponse](c, byID)
	if *resp.Topics[0].Topic != "t" || resp.Topics[1].ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("by id: %+v", resp.Topics)
	}
}

// TestAutoCreatedTopicSurvives: who was told of a topic finds it after a power cut.
func TestAutoCreatedTopicSurvives(t *testing.T) {
	b := brokertest.Start(t)
	if out := metadataOf(dial(t, b), 3, "made"); out.ErrorCode != 0 {
		t.Fatal(out.ErrorCode)
	}
	for seed := range uint64(5) {
		b.Crash(seed)
		if out := metadataOf(dial(t, b), 9, "made"); out.ErrorCode != 0 {
			t.Fatalf("after crash %d: code %d", seed, out.ErrorCode)
		}
	}
}

func TestDeleteTopics(t *testing.T) {
	b := brokertest.Start(t)
	c := dial(t, b)
	for v := int16(1); v <= 6; v++ {
		id := createTopic(t, b, "t", 1)
		mustProduce(t, c, "t", 1)
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TopicNames = v, []string{"t", "absent"}
		if v >= 6 {
			absent := "absent"
			req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: id}, {Topic: &absent}}
		}
		resp := ask[*kmsg.DeleteTopicsResponse](c, req)
		if *resp.Topics[0].Topic != "t" || resp.Topics[0].ErrorCode != 0 || resp.Topics[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("v%d: %+v", v, resp.Topics)
		}
		if out := metadataOf(c, 9, "t"); out.ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("v%d: the topic is still told: code %d", v, out.ErrorCode)
		}
	}
	b.Crash(3)
	if out := metadataOf(dial(t, b), 9, "t"); out.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("a power cut brought the topic back: code %d", out.ErrorCode)
	}
}

// TestPitfall08ListOffsets: each special timestamp and its first version.
func TestPitfall08ListOffsets(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	mustProduce(t, c, "t", 3)
	for _, tc := range []struct {
		timestamp    int64
		first        int16
		offset       int64
		lookedUpTime bool
	}{{-1, 1, 3, false}, {-2, 1, 0, false}, {-3, 7, 0, true}, {-4, 8, 0, false}, {-5, 9, -1, false}, {-6, 11, -1, false}, {1000, 1, 0, true}, {1 << 60, 1, -1, false}} {
		for v := int16(1); v <= 11; v++ {
			req := kmsg.NewPtrListOffsetsRequest()
			req.Version, req.ReplicaID = v, -1
			req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{
				{Timestamp: tc.timestamp, CurrentLeaderEpoch: -1}, {Partition: 4, Timestamp: tc.timestamp, CurrentLeaderEpoch: -1}}}}
			resp := ask[*kmsg.ListOffsetsResponse](c, req)
			p, absent := resp.Topics[0].Partitions[0], resp.Topics[0].Partitions[1]
			if absent.ErrorCode != kerr.UnknownTopicOrPartition.Code {
				t.Errorf("unknown partition: code %d", absent.ErrorCode)
			}
			if v < tc.first {
				if p.ErrorCode != kerr.UnsupportedVersion.Code {
					t.Errorf("%d in v%d: code %d", tc.timestamp, v, p.ErrorCode)
				}
				continue
			}
			if p.ErrorCode != 0 || p.Offset != tc.offset || (p.Timestamp >= 0) != tc.lookedUpTime {
				t.Errorf("%d in v%d: code %d, offset %d, timestamp %d", tc.timestamp, v, p.ErrorCode, p.Offset, p.Timestamp)
			}
		}
	}
}

func TestDescribeConfigs(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"log.segment.bytes": "2097152"}))
	createTopic(t, b, "u", 1)
	createTopic(t, b, "t", 1, "retention.ms", "1000")
	c := dial(t, b)
	for v := int16(1); v <= 4; v++ {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Version, req.IncludeSynonyms, req.IncludeDocumentation = v, true, true
		req.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "absent"},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "2"},
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "u", ConfigNames: []string{"segment.bytes"}},
		}
		rs := ask[*kmsg.DescribeConfigsResponse](c, req).Resources
		if rs[0].ErrorCode != 0 || rs[1].ErrorCode != 0 || rs[2].ErrorCode != kerr.UnknownTopicOrPartition.Code || rs[3].ErrorCode != kerr.InvalidRequest.Code {
			t.Fatalf("v%d: codes %d %d %d %d", v, rs[0].ErrorCode, rs[1].ErrorCode, rs[2].ErrorCode, rs[3].ErrorCode)
		}
		i := slices.IndexFunc(rs[0].Configs, func(e kmsg.DescribeConfigsResponseResourceConfig) bool { return e.Name == "retention.ms" })
		if e := rs[0].Configs[i]; *e.Value != "1000" || e.Source != kmsg.ConfigSourceDynamicTopicConfig || v >= 3 && (e.ConfigType != kmsg.ConfigTypeLong || e.Documentation == nil) {
			t.Errorf("v%d: %+v", v, e)
		}
		if e := rs[4].Configs; len(e) != 1 || *e[0].Value != "2097152" || e[0].Source != kmsg.ConfigSourceStaticBrokerConfig || len(e[0].ConfigSynonyms) < 2 {
			t.Errorf("v%d: %+v", v, e)
		}
	}
}

func TestDescribeCluster(t *testing.T) {
	b := brokertest.Start(t)
	c := dial(t, b)
	for v := int16(0); v <= 2; v++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version, req.EndpointType = v, 1
		resp := ask[*kmsg.DescribeClusterResponse](c, req)
		if resp.ErrorCode != 0 || resp.ClusterID != b.Broker().ClusterID() || len(resp.Brokers) != 1 || resp.ControllerID != 1 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 1, 2
	if resp := ask[*kmsg.DescribeClusterResponse](c, req); resp.ErrorCode != kerr.MismatchedEndpointType.Code {
		t.Errorf("controllers: code %d", resp.ErrorCode)
	}
}
