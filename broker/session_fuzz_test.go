package broker

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzSession gives the lists of an incremental request (partitions, forgotten
// ones) to a session that exists, twice. Whatever they are, there is an answer
// that can be decoded or the connection closes, without a panic, and the
// session's books are right.
func FuzzSession(f *testing.F) {
	b := openForTest(f)
	for _, name := range []string{"t", "u"} {
		if _, _, err := b.metadata.create(context.Background(), name, 3, nil); err != nil {
			f.Fatal(err)
		}
	}
	for _, v := range []int16{7, 12, 15} {
		req := sessionRequest(v, b.metadata.topic("t").ID, 1)
		g := kmsg.NewFetchRequestForgottenTopic()
		g.Topic, g.TopicID, g.Partitions = "t", req.Topics[0].TopicID, []int32{0, 0, 9}
		for range 2 {
			f.Add(v, req.AppendTo(nil)[sessionTail(v):])
			req.ForgottenTopics = append(req.ForgottenTopics, g)
		}
	}
	f.Fuzz(func(t *testing.T, version int16, tail []byte) {
		if version < 7 || version > 18 {
			return
		}
		c := fuzzDial(t, b)
		defer c.Close()
		req := sessionRequest(version, b.metadata.topic("t").ID, 0)
		if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
			t.Fatal(err)
		}
		head := 4
		if version >= 12 {
			head = 5
		}
		id := binary.BigEndian.Uint32(readAnswer(t, c)[head+4+2:])
		for epoch := uint32(1); epoch < 3; epoch++ {
			frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
			body := len(frame) - len(req.AppendTo(nil))
			frame = append(frame[:body+sessionTail(version)], tail...)
			at := body + sessionTail(version) - 8
			binary.BigEndian.PutUint32(frame[at:], id)
			binary.BigEndian.PutUint32(frame[at+4:], epoch)
			binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
			if _, err := c.Write(frame); err != nil {
				return
			}
			answer := tryAnswer(c)
			if answer == nil {
				break
			}
			resp := kmsg.NewPtrFetchResponse()
			resp.Version = version
			if err := resp.ReadFrom(answer[head:]); err != nil {
				t.Fatal(err)
			}
			checkSession(t, b, int32(id))
		}
		b.sessions.remove(int32(id))
		if n := panics(t, b); n > 0 {
			t.Fatalf("%v panics", n)
		}
	})
}

// sessionTail is where the list of topics begins in a request's body.
func sessionTail(version int16) int {
	n := 4 + 4 + 4 + 4 + 1 + 4 + 4 // replica, wait, minimum, maximum, isolation, session, epoch
	if version >= 15 {
		n -= 4
	}
	return n
}

func sessionRequest(version int16, topic [16]byte, epoch int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.SessionEpoch, req.MaxBytes = version, -1, epoch, 1<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = "t", topic
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// checkSession compares what a session counts with what it has.
func checkSession(t *testing.T, b *Broker, id int32) {
	t.Helper()
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	s := b.sessions.mu.byID[id]
	if s == nil {
		return
	}
	count, names, queued := 0, 0, map[*sessionPartition]bool{}
	for key, topic := range s.topics {
		count, names = count+len(topic.parts), names+len(key)
	}
	for _, p := range s.queue {
		if queued[p] || !p.queued {
			t.Fatal("a partition stands in the queue twice or does not know it")
		}
		queued[p] = true
	}
	if s.busy || s.count != count || s.size != count || s.names != names || s.charged != s.cost() || count == 0 {
		t.Fatalf("busy %v, count %d (%d), size %d, names %d (%d), charged %d (%d)", s.busy, s.count, count, s.size, s.names, names, s.charged, s.cost())
	}
}
