package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// shim stands between clients and a broker, one request after another on each
// connection, and lies.
type shim struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// lie answers a request instead of the broker, with its help; nil forwards.
	lie func(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error)

	mu       sync.Mutex
	produced int // Produce requests so far
	told     int // lies so far
	next     map[string]int64
	kept     []byte // a batch that the lie holds back, and its topic
	slips    int
	assigned *kmsg.ConsumerGroupHeartbeatResponseAssignment // a member's, and its id in topic
	topic    string
	id       [16]byte
	shown    chan struct{}
	end      func() // closes shown, once
}

// understood are the keys of the requests that a lie may touch: Produce, Fetch,
// ListOffsets, OffsetCommit, OffsetFetch, SyncGroup, CreateTopics, DeleteTopics, EndTxn,
// TxnOffsetCommit, ConsumerGroupHeartbeat.
var understood = []int16{0, 1, 2, 8, 9, 14, 19, 20, 26, 28, 68}

// exchange has the broker answer a request.
type exchange func(kmsg.Request) (kmsg.Response, error)

func (s *shim) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	up, err := s.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	client, down := net.Pipe()
	go func() {
		defer func() { _, _ = up.Close(), down.Close() }()
		for s.one(down, up) == nil {
		}
	}()
	return client, nil
}

// one serves one request.
func (s *shim) one(down, up net.Conn) error {
	frame, err := readFrame(down)
	if err != nil {
		return err
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	raw := func(frame []byte) ([]byte, error) {
		if err := writeFrame(up, frame); err != nil {
			return nil, err
		}
		return readFrame(up)
	}
	if !slices.Contains(understood, key) {
		answer, err := raw(frame)
		if err != nil {
			return err
		}
		return writeFrame(down, answer)
	}
	header := headerLen(frame, req.IsFlexible())
	if err := req.ReadFrom(frame[header:]); err != nil {
		return err
	}
	resp, err := s.answer(req, func(req kmsg.Request) (kmsg.Response, error) {
		body, err := raw(req.AppendTo(slices.Clone(frame[:header])))
		if err != nil {
			return nil, err
		}
		resp := req.ResponseKind()
		body = body[4:]
		if resp.IsFlexible() {
			body = body[1:]
		}
		return resp, resp.ReadFrom(body)
	})
	if err != nil {
		return err
	}
	out := slices.Clone(frame[4:8])
	if resp.IsFlexible() {
		out = append(out, 0)
	}
	return writeFrame(down, resp.AppendTo(out))
}

func (s *shim) answer(req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if p, ok := req.(*kmsg.ProduceRequest); ok {
		if p.TransactionID == nil {
			forEach(p, func(_ string, _ int32, b []byte) []byte { return anonymous(b) })
		}
		s.mu.Lock()
		s.produced++
		s.mu.Unlock()
	}
	if s.lie == nil {
		return s.learn(req, broker)
	}
	resp, err := s.lie(s, req, broker)
	if resp == nil && err == nil {
		return s.learn(req, broker)
	}
	return resp, err
}

// learn forwards, and remembers where the partitions end.
func (s *shim) learn(req kmsg.Request, broker exchange) (kmsg.Response, error) {
	resp, err := broker(req)
	p, ok := req.(*kmsg.ProduceRequest)
	if err != nil || !ok {
		return resp, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int64{}
	forEach(p, func(topic string, part int32, b []byte) []byte {
		if len(b) < 61 {
			return b // a client that has given its records up in the meantime
		}
		counts[fmt.Sprint(topic, part)] = int64(binary.BigEndian.Uint32(b[57:]))
		return b
	})
	for _, t := range resp.(*kmsg.ProduceResponse).Topics {
		for _, q := range t.Partitions {
			if k := fmt.Sprint(topicKey(t.Topic, t.TopicID), q.Partition); q.ErrorCode == 0 {
				s.next[k] = q.BaseOffset + counts[k]
			}
		}
	}
	return resp, nil
}

// accept is the answer of a broker that has taken everything.
func (s *shim) accept(p *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	resp := p.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range p.Topics {
		out := kmsg.NewProduceResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		for _, q := range t.Partitions {
			k := fmt.Sprint(topicKey(t.Topic, t.TopicID), q.Partition)
			one := kmsg.NewProduceResponseTopicPartition()
			one.Partition, one.BaseOffset = q.Partition, s.next[k]
			out.Partitions = append(out.Partitions, one)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// once says yes to the first request after n Produce requests.
func (s *shim) once(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told > 0 || s.produced < n {
		return false
	}
	s.told++
	return true
}

func topicKey(name string, id [16]byte) string {
	if name != "" {
		return name
	}
	return string(id[:])
}

// forEach replaces each batch of the request.
func forEach(p *kmsg.ProduceRequest, f func(topic string, part int32, b []byte) []byte) {
	for i := range p.Topics {
		t := &p.Topics[i]
		for j := range t.Partitions {
			q := &t.Partitions[j]
			q.Records = f(topicKey(t.Topic, t.TopicID), q.Partition, q.Records)
		}
	}
}

// anonymous takes the producer out of a batch, so that the broker below finds no
// fault with what the shim does to it.
func anonymous(b []byte) []byte {
	if len(b) < 61 {
		return b
	}
	b = slices.Clone(b)
	for i := 43; i < 57; i++ {
		b[i] = 0xff
	}
	seal(b)
	return b
}

// seal sets the checksum of a batch.
func seal(b []byte) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

func headerLen(frame []byte, flexible bool) int {
	r := kbin.Reader{Src: frame[8:]}
	r.NullableString()
	if flexible {
		kmsg.SkipTags(&r)
	}
	return len(frame) - len(r.Src)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 64<<20 {
		return nil, errors.New("a frame of more than 64 MiB")
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}
