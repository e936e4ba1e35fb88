package broker_test

import (
	"context"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	b, err := broker.Open(ctx, broker.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer b.Shutdown(ctx)

	// Serve(listener) would let others in; a client of this process dials directly.
	client, err := kgo.NewClient(kgo.SeedBrokers("any"), kgo.Dialer(b.DialContext), kgo.AllowAutoTopicCreation())
	if err != nil {
		panic(err)
	}
	defer client.Close()
	r, err := client.ProduceSync(ctx, &kgo.Record{Topic: "greetings", Value: []byte("hello")}).First()
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Topic, r.Partition, r.Offset)
	// Output: greetings 0 0
}
