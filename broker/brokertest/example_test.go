package brokertest_test

import (
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// A test of an application: broker, client and application in one bubble, where
// waiting costs no time. It would be a function TestOrders(t *testing.T).
func ExampleStart() {
	testOrders := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"num.partitions": "3"}))
			client := b.Client(kgo.DefaultProduceTopic("orders"), kgo.AllowAutoTopicCreation())
			if err := client.ProduceSync(t.Context(), kgo.StringRecord("one")).FirstErr(); err != nil {
				t.Fatal(err)
			}
			b.Crash(1) // what was acknowledged is still there
		})
	}
	_ = testOrders
}
