package broker_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

const (
	topicResource  = kmsg.ConfigResourceTypeTopic
	groupResource  = kmsg.ConfigResourceTypeGroupConfig
	brokerResource = kmsg.ConfigResourceTypeBroker
)

// alterResource makes a resource of settings that are written "name=value", "-name",
// "name+=value" or "name-=value".
func alterResource(kind kmsg.ConfigResourceType, name string, settings ...string) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, s := range settings {
		kv := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		key, value, given := strings.Cut(s, "=")
		kv.Name, kv.Value = strings.Trim(key, "+-"), &value
		switch {
		case !given:
			kv.Op, kv.Value = kmsg.IncrementalAlterConfigOpDelete, nil
		case strings.HasSuffix(key, "+"):
			kv.Op = kmsg.IncrementalAlterConfigOpAppend
		case strings.HasSuffix(key, "-"):
			kv.Op = kmsg.IncrementalAlterConfigOpSubtract
		}
		r.Configs = append(r.Configs, kv)
	}
	return r
}

func alterRequest(resources ...kmsg.IncrementalAlterConfigsRequestResource) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version, req.Resources = 1, resources
	return req
}

// alter changes settings of a topic, which must be allowed.
func alter(t *testing.T, c *rawConn, topic string, settings ...string) {
	t.Helper()
	r := ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(alterResource(topicResource, topic, settings...))).Resources[0]
	if r.ErrorCode != 0 {
		t.Fatalf("alter %s %q: %v, %s", topic, settings, kerr.ErrorForCode(r.ErrorCode), *r.ErrorMessage)
	}
}

// described is one setting of a resource with the number of its source: "value source".
func described(c *rawConn, kind kmsg.ConfigResourceType, name, setting string) string {
	c.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms = 4, true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, []string{setting}
	req.Resources = append(req.Resources, r)
	got := ask[*kmsg.DescribeConfigsResponse](c, req).Resources[0]
	if len(got.Configs) != 1 || got.ErrorCode != 0 {
		return fmt.Sprintf("%v with %d settings", kerr.ErrorForCode(got.ErrorCode), len(got.Configs))
	}
	return fmt.Sprintf("%s %d", *got.Configs[0].Value, got.Configs[0].Source)
}

func TestAlterConfigsEveryVersion(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1, "segment.bytes", "2000000")
	c := dial(t, b)
	for v := range int16(2) {
		req := alterRequest(alterResource(topicResource, "t", fmt.Sprintf("retention.ms=%d", 100+v)), alterResource(groupResource, "g", fmt.Sprintf("consumer.session.timeout.ms=%d", 50_000+int(v))))
		req.Version = v
		for _, r := range ask[*kmsg.IncrementalAlterConfigsResponse](c, req).Resources {
			wantCode(t, r.ResourceName, r.ErrorCode, nil)
		}
		for _, tt := range []struct {
			got, want string
		}{
			{described(c, topicResource, "t", "retention.ms"), fmt.Sprintf("%d 1", 100+v)},
			{described(c, topicResource, "t", "segment.bytes"), "2000000 1"},
			{described(c, groupResource, "g", "consumer.session.timeout.ms"), fmt.Sprintf("%d 8", 50_000+int(v))},
			{described(c, groupResource, "other", "consumer.session.timeout.ms"), "45000 5"},
		} {
			if tt.got != tt.want {
				t.Errorf("v%d: %s, want %s", v, tt.got, tt.want)
			}
		}
	}
	// The older request replaces all that was set.
	for v := range int16(3) {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Version = v
		value := fmt.Sprint(500 + v)
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = topicResource, "t"
		kv := kmsg.NewAlterConfigsRequestResourceConfig()
		kv.Name, kv.Value = "segment.ms", &value
		r.Configs = append(r.Configs, kv)
		req.Resources = append(req.Resources, r)
		wantCode(t, "AlterConfigs", ask[*kmsg.AlterConfigsResponse](c, req).Resources[0].ErrorCode, nil)
		if got := described(c, topicResource, "t", "segment.ms"); !strings.HasPrefix(got, value+" ") {
			t.Errorf("v%d: segment.ms is %s, want %s", v, got, value)
		}
		if got := described(c, topicResource, "t", "retention.ms"); !strings.HasPrefix(got, "604800000 ") {
			t.Errorf("v%d: retention.ms is %s, though it was not named", v, got)
		}
	}
}

// TestAlteredTopicCounts: what producers are held to changes with the answer, and is
// the same after a power cut.
func TestAlteredTopicCounts(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	large := produceRequest(9, -1, "t", 0, records(100))
	if p := produced(ask[*kmsg.ProduceResponse](c, large)); p.ErrorCode != 0 || p.LogAppendTime != -1 {
		t.Fatalf("before: code %d, time %d", p.ErrorCode, p.LogAppendTime)
	}
	alter(t, c, "t", "max.message.bytes=500", "message.timestamp.type=LogAppendTime", "cleanup.policy+=compact")
	check := func(when string) {
		t.Helper()
		c := dial(t, b)
		wantCode(t, when+": a large batch", produced(ask[*kmsg.ProduceResponse](c, large)).ErrorCode, kerr.MessageTooLarge)
		wantCode(t, when+": a record without key", produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, records(1)))).ErrorCode, kerr.InvalidRecord)
		if got := described(c, topicResource, "t", "cleanup.policy"); !strings.HasPrefix(got, "delete,compact ") {
			t.Errorf("%s: cleanup.policy is %s", when, got)
		}
	}
	check("altered")
	b.Crash(1)
	check("after a power cut")
	b.Restart()
	check("after a restart")
	c = dial(t, b)
	alter(t, c, "t", "-cleanup.policy", "-max.message.bytes")
	if p := produced(ask[*kmsg.ProduceResponse](c, large)); p.ErrorCode != 0 || p.LogAppendTime == -1 {
		t.Errorf("after taking back: code %d, time %d", p.ErrorCode, p.LogAppendTime)
	}
}

// TestAlteredRetention: segments roll and go by the new settings.
func TestAlteredRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1, "retention.ms", "-1")
		c := dialBubble(t, b)
		mustProduce(t, c, "t", 10)
		time.Sleep(time.Hour)
		c = dialBubble(t, b) // the first one was idle for too long
		if at := listed(c, "t", -2).Offset; at != 0 {
			t.Fatalf("the log begins at %d without any limit", at)
		}
		alter(t, c, "t", "retention.ms=60000")
		time.Sleep(9 * time.Minute)
		if at := listed(c, "t", -2).Offset; at != 10 {
			t.Errorf("the log begins at %d though all expired", at)
		}
	})
}

// TestAlteredSegments: storage rolls by the new size, so that retention has something
// to take.
func TestAlteredSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1)
		c := dialBubble(t, b)
		alter(t, c, "t", "segment.bytes=1048576", "retention.bytes=1500000")
		batch := batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, 500_000)})
		for range 6 {
			wantCode(t, "produce", produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, batch))).ErrorCode, nil)
		}
		time.Sleep(9 * time.Minute)
		if at := listed(c, "t", -2).Offset; at != 2 {
			t.Errorf("the log begins at %d, want 2: a segment holds two batches", at)
		}
	})
}

// TestAlterConfigsRefusals: the codes are Apache Kafka's, but where deviations.md
// says otherwise. What is refused changes nothing.
func TestAlterConfigsRefusals(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"weir.max.groups": "1"}))
	createTopic(t, b, "t", 1)
	c := groupConn(t, b)
	null := alterResource(topicResource, "t", "retention.ms=1")
	null.Configs[0].Value = nil
	op := alterResource(topicResource, "t", "retention.ms=1")
	op.Configs[0].Op = 7
	wantCode(t, "first group", ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(alterResource(groupResource, "first", "consumer.session.timeout.ms=50000"))).Resources[0].ErrorCode, nil)
	for name, tt := range map[string]struct {
		resource kmsg.IncrementalAlterConfigsRequestResource
		want     *kerr.Error
	}{
		"unknown topic":                  {alterResource(topicResource, "nowhere", "retention.ms=1"), kerr.UnknownTopicOrPartition},
		"bad value of an unknown topic":  {alterResource(topicResource, "nowhere", "retention.ms=x"), kerr.InvalidConfig},
		"topic name":                     {alterResource(topicResource, "a/b", "retention.ms=1"), kerr.InvalidTopicException},
		"no topic name":                  {alterResource(topicResource, "", "retention.ms=1"), kerr.InvalidRequest},
		"unknown setting":                {alterResource(topicResource, "t", "retention.mss=1"), kerr.InvalidConfig},
		"bad value":                      {alterResource(topicResource, "t", "retention.ms=-2"), kerr.InvalidConfig},
		"one of two bad":                 {alterResource(topicResource, "t", "retention.ms=1", "segment.bytes=1"), kerr.InvalidConfig},
		"append to a number":             {alterResource(topicResource, "t", "retention.ms+=1"), kerr.InvalidConfig},
		"same setting twice":             {alterResource(topicResource, "t", "retention.ms=1", "retention.ms=2"), kerr.InvalidRequest},
		"null":                           {null, kerr.InvalidRequest},
		"operation 7":                    {op, kerr.InvalidRequest},
		"internal topic not compacted":   {alterResource(topicResource, "__consumer_offsets", "cleanup.policy=delete"), kerr.PolicyViolation},
		"internal topic by default":      {alterResource(topicResource, "__consumer_offsets", "-cleanup.policy"), kerr.PolicyViolation},
		"setting of this broker":         {alterResource(brokerResource, "1", "num.io.threads=3"), kerr.InvalidRequest},
		"setting of all brokers":         {alterResource(brokerResource, "", "log.retention.ms=3"), kerr.InvalidRequest},
		"another broker":                 {alterResource(brokerResource, "2"), kerr.InvalidRequest},
		"logger":                         {alterResource(kmsg.ConfigResourceTypeBrokerLogger, "1", "root=DEBUG"), kerr.InvalidRequest},
		"client metrics":                 {alterResource(kmsg.ConfigResourceTypeClientMetrics, "m", "interval.ms=1"), kerr.InvalidRequest},
		"unknown kind":                   {alterResource(99, "m", "interval.ms=1"), kerr.InvalidRequest},
		"no group":                       {alterResource(groupResource, "", "consumer.session.timeout.ms=50000"), kerr.InvalidRequest},
		"long group":                     {alterResource(groupResource, strings.Repeat("g", 1025), "consumer.session.timeout.ms=50000"), kerr.InvalidRequest},
		"group below the broker's bound": {alterResource(groupResource, "first", "consumer.session.timeout.ms=44999"), kerr.InvalidConfig},
		"setting no group has":           {alterResource(groupResource, "first", "retention.ms=1"), kerr.InvalidConfig},
		"too many groups":                {alterResource(groupResource, "second", "consumer.session.timeout.ms=50000"), kerr.PolicyViolation},
	} {
		r := ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(tt.resource)).Resources[0]
		wantCode(t, name, r.ErrorCode, tt.want)
		if r.ErrorMessage == nil || *r.ErrorMessage == "" || r.ResourceName != tt.resource.ResourceName || r.ResourceType != tt.resource.ResourceType {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if got := described(c, topicResource, "t", "retention.ms"); !strings.HasPrefix(got, "604800000 ") {
		t.Errorf("retention.ms is %s after refusals", got)
	}
	twice := ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(alterResource(topicResource, "t", "retention.ms=1"), alterResource(groupResource, "t"), alterResource(topicResource, "t", "segment.ms=1"))).Resources
	wantCode(t, "resource twice, first", twice[0].ErrorCode, kerr.InvalidRequest)
	wantCode(t, "group of that name", twice[1].ErrorCode, nil)
	wantCode(t, "resource twice, second", twice[2].ErrorCode, kerr.InvalidRequest)
}

func TestAlterConfigsValidateOnly(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	req := alterRequest(alterResource(topicResource, "t", "retention.ms=7"), alterResource(topicResource, "u", "retention.ms=7"), alterResource(groupResource, "g", "consumer.session.timeout.ms=50000"))
	req.ValidateOnly = true
	got := ask[*kmsg.IncrementalAlterConfigsResponse](c, req).Resources
	wantCode(t, "topic", got[0].ErrorCode, nil)
	wantCode(t, "unknown topic", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "group", got[2].ErrorCode, nil)
	if got := described(c, topicResource, "t", "retention.ms"); !strings.HasPrefix(got, "604800000 ") {
		t.Errorf("retention.ms is %s", got)
	}
	if got := described(c, groupResource, "g", "consumer.session.timeout.ms"); !strings.HasPrefix(got, "45000 ") {
		t.Errorf("consumer.session.timeout.ms is %s", got)
	}
}

// TestAlterWhileProducing: no producer is told that a topic is unknown while its
// settings change.
func TestAlterWhileProducing(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	var wait sync.WaitGroup
	for range 4 {
		p := dial(t, b)
		wait.Go(func() {
			for range 100 {
				if code := produced(ask[*kmsg.ProduceResponse](p, produceRequest(9, -1, "t", 0, records(1)))).ErrorCode; code != 0 {
					t.Errorf("produce: %v", kerr.ErrorForCode(code))
				}
			}
		})
	}
	for i := range 100 {
		alter(t, c, "t", fmt.Sprintf("retention.ms=%d", 1_000_000+i))
	}
	wait.Wait()
	if at := listed(c, "t", -1).Offset; at != 400 {
		t.Errorf("%d records", at)
	}
	// The topic can still be deleted: the newest description of it goes.
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.Version, del.TopicNames = 1, []string{"t"}
	wantCode(t, "delete", ask[*kmsg.DeleteTopicsResponse](c, del).Topics[0].ErrorCode, nil)
	wantCode(t, "produce to a deleted topic", produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, 1, "t", 0, records(1)))).ErrorCode, kerr.UnknownTopicOrPartition)
}

func TestListConfigResources(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	for _, g := range []string{"b", "a"} {
		ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(alterResource(groupResource, g, "consumer.session.timeout.ms=50000")))
	}
	list := func(version int16, kinds ...int8) string {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.Version, req.ResourceTypes = version, kinds
		resp := ask[*kmsg.ListConfigResourcesResponse](c, req)
		if resp.ErrorCode != 0 {
			return kerr.TypedErrorForCode(resp.ErrorCode).Message
		}
		var out []string
		for _, r := range resp.ConfigResources {
			out = append(out, fmt.Sprintf("%d:%s", r.Type, r.Name))
		}
		return strings.Join(out, " ")
	}
	for _, tt := range []struct {
		got, want string
	}{
		{list(0), ""},
		{list(1), "2:t 4:1 8:1 32:a 32:b"},
		{list(1, 32, 32), "32:a 32:b"},
		{list(1, 16), ""},
		{list(1, 4, 2), "4:1 2:t"},
		{list(1, 2, 3), "UNSUPPORTED_VERSION"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	wantCode(t, "no more settings", ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(alterResource(groupResource, "a", "-consumer.session.timeout.ms"))).Resources[0].ErrorCode, nil)
	b.Crash(3)
	c = dial(t, b)
	if got := list(1, 32); got != "32:b" {
		t.Errorf("after a power cut %q", got)
	}
}

// TestHostileAlterConfigs: a small request that names very much is answered in
// bounded memory, or closed.
func TestHostileAlterConfigs(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	var all []kmsg.IncrementalAlterConfigsRequestResource
	for range 5000 {
		all = append(all, alterResource(topicResource, "t", "retention.ms=1"))
	}
	resp := ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(all...))
	if len(resp.Resources) != 5000 || slices.ContainsFunc(resp.Resources, func(r kmsg.IncrementalAlterConfigsResponseResource) bool {
		return r.ErrorCode != kerr.InvalidRequest.Code
	}) {
		t.Errorf("%d resources", len(resp.Resources))
	}
	name := alterResource(topicResource, "t", strings.Repeat("x", 500_000)+"=1")
	r := ask[*kmsg.IncrementalAlterConfigsResponse](c, alterRequest(name)).Resources[0]
	wantCode(t, "a setting with a long name", r.ErrorCode, kerr.InvalidConfig)
	if len(*r.ErrorMessage) > 2000 {
		t.Errorf("message of %d bytes", len(*r.ErrorMessage))
	}
	lying := dial(t, b)
	go lying.net.Write(request(44, 1, append(noClientID, bytes.Repeat([]byte{0xff}, 10)...)...))
	lying.wantClosed()
}
