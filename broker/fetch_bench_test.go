package broker

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
)

// BenchmarkTinyBesideScan is a request for the metadata of one topic while another
// client reads a log of 1 GiB from its start to its end, again and again, in
// answers of 50 MiB.
func BenchmarkTinyBesideScan(b *testing.B) {
	broker, err := Open(context.Background(), Config{Dir: b.TempDir(), Durability: "os"})
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Shutdown(context.Background())
	if _, _, err := broker.metadata.create(context.Background(), "t", 1, nil); err != nil {
		b.Fatal(err)
	}
	tiny, done := loopback(b, broker)
	defer done()
	const batches = 1024
	frame := produceFrame("t", batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, 1<<20-100)}))
	for range batches {
		if _, err := tiny.Write(frame); err != nil {
			b.Fatal(err)
		}
		readAnswer(b, tiny)
	}
	scan, done2 := loopback(b, broker)
	defer done2()
	ended := make(chan int64)
	go func() { ended <- scanAgain(scan, batches) }()

	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("t")
	req.Topics = append(req.Topics, topic)
	ask := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	var took []time.Duration
	begun := time.Now()
	for b.Loop() {
		sent := time.Now()
		if _, err := tiny.Write(ask); err != nil {
			b.Fatal(err)
		}
		readAnswer(b, tiny)
		took = append(took, time.Since(sent))
	}
	elapsed := time.Since(begun)
	scan.Close()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(float64(<-ended)/1e6/elapsed.Seconds(), "scan-MB/s")
}

// scanAgain fetches until the connection closes, and returns the bytes it got.
func scanAgain(c net.Conn, end int64) (got int64) {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxBytes = 12, -1, 50<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 50 << 20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = "t", append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	for {
		if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
			return got
		}
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return got
		}
		n, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size[:])))
		if err != nil {
			return got
		}
		got += n
		at := &req.Topics[0].Partitions[0].FetchOffset
		if *at += max(1, n>>20); *at >= end {
			*at = 0
		}
	}
}
