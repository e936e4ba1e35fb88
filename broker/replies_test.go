package broker_test

import (
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRepliesWaitForTheirState: whatever tells of state that is not yet durable,
// errors included, is not answered while the sync is stuck.
func TestRepliesWaitForTheirState(t *testing.T) {
	topic := "new"
	named := func() []kmsg.MetadataRequestTopic { return []kmsg.MetadataRequestTopic{{Topic: &topic}} }
	createNew := func() kmsg.Request {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = 5
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = topic, 1, 1
		req.Topics = append(req.Topics, one)
		return req
	}
	unfetchable := fetchRequest(12, "old", 0, 0)
	for name, requests := range map[string][]kmsg.Request{
		"CreateTopics":        {createNew()},
		"exists":              {createNew(), createNew()},
		"Metadata creates":    {&kmsg.MetadataRequest{Version: 9, Topics: named(), AllowAutoTopicCreation: true}},
		"Metadata of it":      {createNew(), &kmsg.MetadataRequest{Version: 9, Topics: named()}},
		"InitProducerId":      {&kmsg.InitProducerIDRequest{Version: 4}},
		"DeleteTopics":        {&kmsg.DeleteTopicsRequest{Version: 5, TopicNames: []string{"old"}}},
		"Produce to deleted":  {&kmsg.DeleteTopicsRequest{Version: 5, TopicNames: []string{"old"}}, produceRequest(9, -1, "old", 0, records(1))},
		"Fetch from deleted":  {&kmsg.DeleteTopicsRequest{Version: 5, TopicNames: []string{"old"}}, unfetchable},
		"ListOffsets of gone": {&kmsg.DeleteTopicsRequest{Version: 5, TopicNames: []string{"old"}}, &kmsg.ListOffsetsRequest{Version: 5, Topics: []kmsg.ListOffsetsRequestTopic{{Topic: "old"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := gated(t)
				createTopic(t, b, "old", 1)
				open := g.shut()
				answers := make(chan int, len(requests))
				for i, req := range requests {
					c := dialBubble(t, b) // each its own, so that none waits for another
					c.send(req)
					synctest.Wait()
					go func() {
						if _, _, err := c.readFrame(); err != nil {
							t.Errorf("answer %d: %v", i, err)
						}
						answers <- i
					}()
				}
				synctest.Wait()
				select {
				case i := <-answers:
					t.Errorf("request %d was answered before the sync", i)
				default:
				}
				open()
				for range requests {
					<-answers
				}
			})
		})
	}
}

// TestWrittenIsNotDurable: what acks=1 has waited for on a connection says nothing
// of what acks=all must wait for, an error included.
func TestWrittenIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := gated(t)
		createTopic(t, b, "t", 1)
		c := dialBubble(t, b)
		ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, sequenced(7, 0)))
		open := g.shut()
		ask[*kmsg.ProduceResponse](c, produceRequest(9, 1, "t", 0, records(1)))
		c.send(produceRequest(9, -1, "t", 0, sequenced(7, 90))) // out of order: tells of the newest state
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			resp := kmsg.NewPtrProduceResponse()
			resp.Version = 9
			c.receive(resp, c.correlation)
			if code := produced(resp).ErrorCode; code != kerr.OutOfOrderSequenceNumber.Code {
				t.Errorf("code %d", code)
			}
		}()
		synctest.Wait()
		select {
		case <-answered:
			t.Error("answered before the sync")
		default:
		}
		open()
		<-answered
	})
}
