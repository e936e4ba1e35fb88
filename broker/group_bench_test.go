package broker_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// BenchmarkCreateTopicBesideGroups makes topics, one after another, that none of a
// thousand consumer groups subscribes to.
func BenchmarkCreateTopicBesideGroups(b *testing.B) {
	regex := "orders-[0-9]+"
	for name, subscribe := range map[string]func(*kmsg.ConsumerGroupHeartbeatRequest){
		"none":        nil,
		"names":       func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{"orders"} },
		"expressions": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = &regex },
	} {
		b.Run("groups="+name, func(b *testing.B) {
			cl := brokertest.Start(b, brokertest.WithSettings(map[string]string{
				"weir.max.groups": "2000", "group.consumer.session.timeout.ms": "60000"})).Client()
			defer cl.Close()
			create := func(name string) {
				req := kmsg.NewPtrCreateTopicsRequest()
				topic := kmsg.NewCreateTopicsRequestTopic()
				topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
				req.Topics = append(req.Topics, topic)
				resp, err := req.RequestWith(b.Context(), cl)
				if err != nil || resp.Topics[0].ErrorCode != 0 {
					b.Fatal(resp, err)
				}
			}
			create("orders")
			for i := range 1000 {
				if subscribe == nil {
					break
				}
				req := beat(1, fmt.Sprint("g", i), "m", 0)
				subscribe(req)
				resp, err := req.RequestWith(b.Context(), cl)
				if err != nil || resp.ErrorCode != 0 {
					b.Fatal(resp, err)
				}
			}
			n := 0
			for b.Loop() {
				n++
				create(fmt.Sprint("t", n))
			}
		})
	}
}
