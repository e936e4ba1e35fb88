package weir_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/vfs"
)

// Order is the value in the examples' topics.
type Order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

var (
	orders = weir.Topic[string, Order]{Name: "orders", Key: weir.String(), Value: weir.JSON[Order]()}
	picks  = weir.Topic[string, string]{Name: "picks", Key: weir.String(), Value: weir.String()}
)

// exampleCluster stands in for a cluster: a broker in memory that holds the given
// orders. It returns a configuration for the examples' applications.
func exampleCluster(values ...string) (cfg weir.Config, stop func()) {
	ctx := context.Background()
	b, err := broker.Open(ctx, broker.Config{
		Dir: "/data", FS: vfs.NewMem(), JournalFileBytes: 1 << 20, CheckpointBytes: 2 << 20,
		Settings: map[string]string{"group.initial.rebalance.delay.ms": "0"},
	})
	if err != nil {
		log.Fatal(err)
	}
	client := []kgo.Opt{kgo.Dialer(b.DialContext), kgo.AllowAutoTopicCreation()}
	cl, err := kgo.NewClient(append(client, kgo.SeedBrokers("localhost:9092"))...)
	if err != nil {
		log.Fatal(err)
	}
	defer cl.Close()
	for i, v := range values {
		r := &kgo.Record{Topic: "orders", Key: fmt.Appendf(nil, "order-%d", i+1), Value: []byte(v)}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			log.Fatal(err)
		}
	}
	return weir.Config{Brokers: []string{"localhost:9092"}, Group: "warehouse", Client: client}, func() { b.Shutdown(ctx) }
}

// A handler is called with each record of a topic, already decoded.
func ExampleHandle() {
	cfg, stop := exampleCluster(`{"item":"lamp","count":2}`, `{"item":"chair","count":1}`)
	defer stop()
	ctx, done := context.WithCancel(context.Background())

	app, err := weir.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	weir.Handle(app, orders, func(ctx context.Context, rec weir.Record[string, Order]) error {
		fmt.Printf("%s: %d × %s\n", rec.Key, rec.Value.Count, rec.Value.Item)
		if rec.Offset == 1 {
			done()
		}
		return nil
	})
	fmt.Println("stopped:", app.Run(ctx))
	// Output:
	// order-1: 2 × lamp
	// order-2: 1 × chair
	// stopped: <nil>
}

// What a handler produces is acknowledged before its record's offset is
// committed. Produce itself does not wait for that.
func ExampleProduce() {
	cfg, stop := exampleCluster(`{"item":"lamp","count":2}`)
	defer stop()
	ctx, done := context.WithCancel(context.Background())

	app, err := weir.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	weir.Handle(app, orders, func(ctx context.Context, rec weir.Record[string, Order]) error {
		return weir.Produce(ctx, picks, rec.Value.Item, fmt.Sprint("for ", rec.Key))
	})
	weir.Handle(app, picks, func(ctx context.Context, rec weir.Record[string, string]) error {
		fmt.Println("pick", rec.Key, rec.Value)
		done()
		return nil
	})
	fmt.Println("stopped:", app.Run(ctx))
	// Output:
	// pick lamp for order-1
	// stopped: <nil>
}

// Permanent sends a record to the dead letters without further attempts. Headers
// say why; the record itself is unchanged.
func ExamplePermanent() {
	cfg, stop := exampleCluster(`{"item":"lamp","count":-2}`)
	defer stop()
	ctx, done := context.WithCancel(context.Background())

	app, err := weir.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	weir.Handle(app, orders, func(ctx context.Context, rec weir.Record[string, Order]) error {
		if rec.Value.Count < 1 {
			return weir.Permanent(errors.New("nothing to pick"))
		}
		return nil
	})
	dead := weir.Topic[string, []byte]{Name: "orders.dlq", Key: weir.String(), Value: weir.Bytes()}
	weir.Handle(app, dead, func(ctx context.Context, rec weir.Record[string, []byte]) error {
		fmt.Printf("%s: %s\n", rec.Key, rec.Value)
		for _, h := range rec.Headers {
			switch h.Key {
			case "__streams.errors.message", "__streams.errors.offset", "weir.dlq.app", "weir.dlq.stage":
				fmt.Printf("  %s = %s\n", h.Key, h.Value)
			}
		}
		done()
		return nil
	}, weir.NoDeadLetter())
	fmt.Println("stopped:", app.Run(ctx))
	// Output:
	// order-1: {"item":"lamp","count":-2}
	//   __streams.errors.message = nothing to pick
	//   __streams.errors.offset = 0
	//   weir.dlq.app = warehouse
	//   weir.dlq.stage = handle
	// stopped: <nil>
}

// A Topic gives its records types. Values that do not decode never reach the
// handler.
func ExampleTopic() {
	type Item struct{ Name string }
	stock := weir.Topic[int64, Item]{Name: "stock", Key: weir.Int64(), Value: weir.JSON[Item]()}

	data, err := stock.Value.Encode(Item{"lamp"})
	fmt.Println(string(data), err)
	_, err = stock.Key.Decode([]byte("7"))
	fmt.Println(err)
	// Output:
	// {"Name":"lamp"} <nil>
	// an Int64 has 8 bytes, not 1
}

// upper is a Serde of its own: words that are kept in capitals.
type upper struct{}

func (upper) Encode(v string) ([]byte, error)    { return []byte(strings.ToUpper(v)), nil }
func (upper) Decode(data []byte) (string, error) { return strings.ToLower(string(data)), nil }

// Any type with Encode and Decode is a Serde.
func ExampleSerde() {
	words := weir.Topic[[]byte, string]{Name: "words", Key: weir.Bytes(), Value: upper{}}
	data, _ := words.Value.Encode("lamp")
	back, _ := words.Value.Decode(data)
	fmt.Println(string(data), back)
	// Output: LAMP lamp
}
