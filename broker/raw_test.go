package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that would hang. It is never waited for.
const patience = 20 * time.Second

// rawConn speaks the protocol without a client's help.
type rawConn struct {
	t           *testing.T
	net         net.Conn
	correlation int32
}

func dial(t *testing.T, b *brokertest.Broker) *rawConn {
	t.Helper()
	nc, err := b.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{t: t, net: nc}
}

// frame encodes a request with the next correlation id.
func (c *rawConn) frame(req kmsg.Request) []byte {
	c.correlation++
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, c.correlation)
}

func (c *rawConn) write(b []byte) {
	c.t.Helper()
	if _, err := c.net.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *rawConn) send(req kmsg.Request) {
	c.t.Helper()
	c.write(c.frame(req))
}

// readFrame reads one answer: its correlation id and what follows it.
func (c *rawConn) readFrame() (int32, []byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.net, head[:]); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err := io.ReadFull(c.net, body)
	return int32(binary.BigEndian.Uint32(head[4:])), body, err
}

// receive reads the answer to the oldest request that was not answered.
func (c *rawConn) receive(resp kmsg.Response, correlation int32) {
	c.t.Helper()
	got, body, err := c.readFrame()
	if err != nil {
		c.t.Fatalf("read the answer %d: %v", correlation, err)
	}
	if got != correlation {
		c.t.Fatalf("answer has correlation id %d, want %d", got, correlation)
	}
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			c.t.Fatalf("answer has no empty tags in its header: %x", body[:min(len(body), 8)])
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		c.t.Fatalf("decode %s v%d: %v", kmsg.NameForKey(resp.Key()), resp.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		c.t.Errorf("%s v%d: answer has %d bytes, encoding it again gives %d", kmsg.NameForKey(resp.Key()), resp.GetVersion(), len(body), len(again))
	}
}

// ask sends a request and reads its answer.
func ask[R kmsg.Response](c *rawConn, req kmsg.Request) R {
	c.t.Helper()
	c.send(req)
	resp := req.ResponseKind().(R)
	c.receive(resp, c.correlation)
	return resp
}

// wantClosed fails unless the broker closes the connection without an answer.
func (c *rawConn) wantClosed() {
	c.t.Helper()
	n, err := c.net.Read(make([]byte, 1))
	if n > 0 {
		c.t.Fatal("the broker answers instead of closing")
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		c.t.Fatal("the broker keeps the connection open")
	}
}

// createTopic makes a topic and returns its id.
func createTopic(t *testing.T, b *brokertest.Broker, name string, partitions int32, configs ...string) [16]byte {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		kv := kmsg.NewCreateTopicsRequestTopicConfig()
		kv.Name, kv.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, kv)
	}
	req.Topics = append(req.Topics, topic)
	resp := ask[*kmsg.CreateTopicsResponse](dial(t, b), req)
	if code := resp.Topics[0].ErrorCode; code != 0 {
		t.Fatalf("create topic %s: code %d", name, code)
	}
	return resp.Topics[0].TopicID
}

// records makes a batch of n records.
func records(n int) batch.Batch {
	rs := make([]batch.Record, n)
	for i := range rs {
		rs[i] = batch.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("value")}
	}
	return batch.Build(batch.BuildOptions{}, rs...)
}

// sequenced makes a batch of an idempotent producer.
func sequenced(id int64, sequence int32) batch.Batch {
	return batch.Build(batch.BuildOptions{Producer: &batch.Producer{ID: id, Sequence: sequence}},
		batch.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("value")})
}

// produceRequest makes a request for one partition.
func produceRequest(version, acks int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 1000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// produced is the only partition of an answer.
func produced(resp *kmsg.ProduceResponse) kmsg.ProduceResponseTopicPartition {
	return resp.Topics[0].Partitions[0]
}

// fetchRequest makes a request for one partition.
func fetchRequest(version int16, topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes, req.ReplicaID = version, 1, 1<<20, -1
	req.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetched is the only partition of an answer.
func fetched(resp *kmsg.FetchResponse) kmsg.FetchResponseTopicPartition {
	return resp.Topics[0].Partitions[0]
}

// mustProduce appends n records in one batch.
func mustProduce(t *testing.T, c *rawConn, topic string, n int) {
	t.Helper()
	p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, topic, 0, records(n))))
	if p.ErrorCode != 0 {
		t.Fatalf("produce to %s: code %d", topic, p.ErrorCode)
	}
}

// within gives a context that ends a test that would hang.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
