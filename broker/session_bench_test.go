package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
)

// wide opens a broker with a topic of so many partitions and a session over all
// of them that has nothing more to tell. It gives the session's next request.
func wide(t testing.TB, partitions int32, maxWait int32) (b *Broker, c net.Conn, next func() []byte) {
	b, err := Open(context.Background(), Config{Dir: t.TempDir(), Durability: "os"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Shutdown(context.Background()) })
	if _, _, err := b.metadata.create(context.Background(), "t", partitions, nil); err != nil {
		t.Fatal(err)
	}
	c, done := loopback(t, b)
	t.Cleanup(done)
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.SessionEpoch = 12, -1, 0
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = maxWait, 1, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "t"
	for n := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes = n, 1<<20
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	format := kmsg.NewRequestFormatter()
	if _, err := c.Write(format.AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
	answer := readAnswer(t, c)
	req.SessionID = int32(binary.BigEndian.Uint32(answer[4+1+4+2:]))
	if req.SessionID == 0 {
		t.Fatal("no session")
	}
	req.Topics = nil
	return b, c, func() []byte {
		req.SessionEpoch++
		return format.AppendRequest(nil, req, 1)
	}
}

// readAnswer reads one answer without its size.
func readAnswer(t testing.TB, c net.Conn) []byte {
	t.Helper()
	answer := tryAnswer(c)
	if answer == nil {
		t.Fatal("the connection was closed")
	}
	return answer
}

// tryAnswer returns nil if there is no whole answer.
func tryAnswer(c net.Conn) []byte {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil
	}
	return answer
}

// BenchmarkIdleSession polls a session that has no news: the cost must not depend
// on the number of its partitions.
func BenchmarkIdleSession(b *testing.B) {
	for _, partitions := range []int32{10, 1000, 10_000} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			_, c, next := wide(b, partitions, 0)
			round := func() {
				if _, err := c.Write(next()); err != nil {
					b.Fatal(err)
				}
				readAnswer(b, c)
			}
			round()
			b.ReportAllocs()
			for b.Loop() {
				round()
			}
		})
	}
}

// BenchmarkBusySession has one record in one partition of a session that waits:
// from its being produced to the session's answer.
func BenchmarkBusySession(b *testing.B) {
	for _, partitions := range []int32{10, 10_000} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			broker, c, next := wide(b, partitions, 10_000)
			p, done := loopback(b, broker)
			defer done()
			frame := produceFrame("t", batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("value")}))
			for b.Loop() {
				if _, err := c.Write(next()); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Write(frame); err != nil {
					b.Fatal(err)
				}
				readAnswer(b, p)
				readAnswer(b, c)
			}
		})
	}
}

// TestIdleSessionLooksAtNothing: a poll without news looks at none of ten thousand
// partitions, and one with news at that partition.
func TestIdleSessionLooksAtNothing(t *testing.T) {
	b, c, next := wide(t, 10_000, 0)
	poll := func() {
		if _, err := c.Write(next()); err != nil {
			t.Fatal(err)
		}
		readAnswer(t, c)
	}
	if n := toLookAt(b); n != 10_000 {
		t.Errorf("the first request looks at %d partitions", n)
	}
	poll()
	if n := toLookAt(b); n != 0 {
		t.Errorf("an idle one looks at %d", n)
	}
	poll()
	p, done := loopback(t, b)
	defer done()
	if _, err := p.Write(produceFrame("t", batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")}))); err != nil {
		t.Fatal(err)
	}
	readAnswer(t, p)
	if n := toLookAt(b); n != 1 {
		t.Errorf("one with news looks at %d", n)
	}
}

// toLookAt is how many partitions the next request of the only session looks at.
// Between an answer and the next request nobody has the session.
func toLookAt(b *Broker) int {
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	for _, s := range b.sessions.mu.byID {
		s.news.mu.Lock()
		defer s.news.mu.Unlock()
		return len(s.queue) + len(s.news.mu.list)
	}
	return -1
}
