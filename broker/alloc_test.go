package broker

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
)

// TestProduceAllocatesNothing in steady state: header, decoding, checks, append,
// answer. Storage and the journal are included; the file system in memory, which
// makes pages, is not.
func TestProduceAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes pools forget")
	}
	b, err := Open(context.Background(), Config{Dir: t.TempDir(), Durability: "os"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	if _, _, err := b.metadata.create(context.Background(), "t", 1, nil); err != nil {
		t.Fatal(err)
	}
	c, done := loopback(t, b)
	defer done()
	frame := produceFrame("t", batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, 1000)}))
	answer := make([]byte, 256)
	round := func() {
		if _, err := c.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(c, answer, 8); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(500, round); n > 0 {
		t.Errorf("%v allocations for each request", n)
	}
}

func produceFrame(topic string, records []byte) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = 9, -1
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: records}}}}
	return kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
}

// loopback connects over TCP: net.Pipe allocates for each read and write.
func loopback(t testing.TB, b *Broker) (net.Conn, func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		c.Close()
		l.Close()
		<-served
	}
}

// BenchmarkProduce is one connection with one request in flight.
func BenchmarkProduce(b *testing.B) {
	for _, bm := range []struct {
		name, durability string
		size             int
	}{{"os/1KiB", "os", 1 << 10}, {"os/256KiB", "os", 256 << 10}, {"sync/1KiB", "sync", 1 << 10}} {
		b.Run(bm.name, func(b *testing.B) {
			broker, err := Open(context.Background(), Config{Dir: b.TempDir(), Durability: bm.durability})
			if err != nil {
				b.Fatal(err)
			}
			defer broker.Shutdown(context.Background())
			if _, _, err := broker.metadata.create(context.Background(), "t", 1, nil); err != nil {
				b.Fatal(err)
			}
			c, done := loopback(b, broker)
			defer done()
			frame := produceFrame("t", batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, bm.size)}))
			answer := make([]byte, 256)
			b.SetBytes(int64(bm.size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(frame); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadAtLeast(c, answer, 8); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
