package broker_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// sessionClient is one client with a fetch session: what it sends is spelled out,
// and what it gets is told in a line.
type sessionClient struct {
	*rawConn
	version   int16
	id, epoch int32
	ids       map[string][16]byte // of topics, from v13 on
	maxBytes  int32
	minBytes  int32
	maxWait   int32
}

func newSessionClient(t *testing.T, b *brokertest.Broker, version int16) *sessionClient {
	return &sessionClient{rawConn: dial(t, b), version: version, ids: map[string][16]byte{}, maxBytes: 1 << 20}
}

// at names a partition and the offset to fetch from.
type at struct {
	topic     string
	partition int32
	offset    int64
}

func (c *sessionClient) request(parts []at, forgotten []at) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID = c.version, -1
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis = c.minBytes, c.maxBytes, c.maxWait
	req.SessionID, req.SessionEpoch = c.id, c.epoch
	for _, a := range parts {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = a.partition, a.offset, 1<<20, -1
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.TopicID, topic.Partitions = a.topic, c.ids[a.topic], append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
	}
	for _, a := range forgotten {
		g := kmsg.NewFetchRequestForgottenTopic()
		g.Topic, g.TopicID, g.Partitions = a.topic, c.ids[a.topic], []int32{a.partition}
		req.ForgottenTopics = append(req.ForgottenTopics, g)
	}
	return req
}

// told writes an answer in a line: the error of the whole, then each partition
// with its error or high watermark and the offsets of its batches.
func (c *sessionClient) told(resp *kmsg.FetchResponse) string {
	if resp.ErrorCode != 0 {
		return kerr.ErrorForCode(resp.ErrorCode).(*kerr.Error).Message
	}
	out := ""
	for i := range resp.Topics {
		name := resp.Topics[i].Topic
		for n, id := range c.ids {
			if id == resp.Topics[i].TopicID {
				name = n
			}
		}
		for k := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[k]
			out += fmt.Sprintf(" %s-%d", name, p.Partition)
			if p.ErrorCode != 0 {
				out += ":" + kerr.ErrorForCode(p.ErrorCode).(*kerr.Error).Message
				continue
			}
			out += fmt.Sprintf("<%d", p.HighWatermark)
			for rest := p.RecordBatches; len(rest) > 0; {
				one, more, err := batch.Split(rest)
				if err != nil {
					c.t.Fatal(err)
				}
				out += fmt.Sprintf("@%d", one.BaseOffset())
				rest = more
			}
		}
	}
	if out == "" {
		return "nothing"
	}
	return out[1:]
}

// fetch sends one request and goes on with the session of its answer.
func (c *sessionClient) fetch(parts []at, forgotten ...at) string {
	c.t.Helper()
	resp := ask[*kmsg.FetchResponse](c.rawConn, c.request(parts, forgotten))
	if resp.ErrorCode == 0 {
		c.id = resp.SessionID
		if c.id != 0 {
			c.epoch++
		}
	}
	return c.told(resp)
}

func (c *sessionClient) want(want string, parts []at, forgotten ...at) {
	c.t.Helper()
	if got := c.fetch(parts, forgotten...); got != want {
		c.t.Errorf("fetch %v, without %v: %q, want %q", parts, forgotten, got, want)
	}
}

// TestSession goes through the life of a session, in both kinds of naming topics.
// Apache Kafka 4.3.1 gives the same answers, with another order of partitions in
// the two that tell of t-0 and t-1.
func TestSession(t *testing.T) {
	for _, version := range []int16{7, 12, 13, 18} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			b := brokertest.Start(t)
			c := newSessionClient(t, b, version)
			c.ids["t"], c.ids["u"] = createTopic(t, b, "t", 3), createTopic(t, b, "u", 1)
			mustProduce(t, dial(t, b), "t", 2)
			c.want("t-0<2@0 t-1<0 u-0<0", []at{{"t", 0, 0}, {"t", 1, 0}, {"u", 0, 0}})
			if c.id <= 0 {
				t.Fatalf("session %d", c.id)
			}
			first := c.id
			c.want("t-0<2@0", nil) // again: the client has not moved on
			c.want("nothing", []at{{"t", 0, 2}})
			c.want("nothing", nil)
			mustProduce(t, dial(t, b), "u", 1)
			c.want("u-0<1@0", nil)
			c.want("nothing", []at{{"u", 0, 1}})
			c.want("t-2<0", []at{{"t", 2, 0}}) // a new one tells its marks once
			c.want("nothing", nil)
			mustProduce(t, dial(t, b), "t", 1)
			c.want("nothing", nil, at{"t", 0, 0}) // forgotten: its news are none
			c.want("t-0<3@2", []at{{"t", 0, 2}})  // and comes back
			c.want("t-0<3@2 t-1:OFFSET_OUT_OF_RANGE", []at{{"t", 1, 9}})
			c.want("t-0<3@2 t-1<0", []at{{"t", 1, 0}}) // what was an error is told again
			if c.id != first {
				t.Errorf("the session became another")
			}
			c.want("nothing", nil, at{"t", 0, 0}, at{"t", 1, 0}, at{"t", 2, 0}, at{"u", 0, 0}, at{"u", 5, 0}, at{"v", 0, 0})
			if c.id != 0 {
				t.Errorf("session %d has no partitions any more", c.id)
			}
			c.id = first
			c.want("FETCH_SESSION_ID_NOT_FOUND", nil)
		})
	}
}

// TestSessionEpochs: each request has the next one; whoever has another must
// begin again. Apache Kafka 4.3.1 gives the same answers.
func TestSessionEpochs(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := newSessionClient(t, b, 12)
	c.want("t-0<0", []at{{"t", 0, 0}})
	id := c.id
	for _, epoch := range []int32{2, 7, -2} {
		c.epoch = epoch
		c.want("INVALID_FETCH_SESSION_EPOCH", nil)
	}
	c.epoch = 1
	c.want("nothing", nil)
	c.epoch = 1
	c.want("INVALID_FETCH_SESSION_EPOCH", nil)
	c.id, c.epoch = id+1, 2
	c.want("FETCH_SESSION_ID_NOT_FOUND", nil)
	c.id, c.epoch = 0, 2
	c.want("FETCH_SESSION_ID_NOT_FOUND", nil)
	// Full requests close the session that they name, whatever it is.
	c.id, c.epoch = id, 0
	c.want("t-0<0", []at{{"t", 0, 0}})
	if second := c.id; second == 0 || second == id {
		t.Errorf("session %d after %d", second, id)
	}
	second := c.id
	c.id, c.epoch = id, 2
	c.want("FETCH_SESSION_ID_NOT_FOUND", nil)
	c.id, c.epoch = second, -1
	c.want("t-0<0", []at{{"t", 0, 0}})
	if c.id != 0 {
		t.Errorf("session %d with the final epoch", c.id)
	}
	c.id, c.epoch = second, 1
	c.want("FETCH_SESSION_ID_NOT_FOUND", nil)
}

// TestSessionTopicIDs: a session keeps to names or to ids.
func TestSessionTopicIDs(t *testing.T) {
	b := brokertest.Start(t)
	id := createTopic(t, b, "t", 1)
	for _, versions := range [][2]int16{{12, 13}, {18, 7}} {
		c := newSessionClient(t, b, versions[0])
		c.ids["t"] = id
		c.want("t-0<0", []at{{"t", 0, 0}})
		c.version = versions[1]
		c.want("FETCH_SESSION_TOPIC_ID_ERROR", nil)
		c.version = versions[0]
		c.want("nothing", nil)
	}
}

// TestSessionRecreatedTopic: an id never becomes another topic, a name does.
func TestSessionRecreatedTopic(t *testing.T) {
	b := brokertest.Start(t)
	byName, byID := newSessionClient(t, b, 12), newSessionClient(t, b, 13)
	byID.ids["t"] = createTopic(t, b, "t", 2)
	mustProduce(t, dial(t, b), "t", 1)
	for _, c := range []*sessionClient{byName, byID} {
		c.want("t-0<1 t-1<0", []at{{"t", 0, 1}, {"t", 1, 0}})
		c.want("nothing", nil)
	}
	// Both wait while the topic goes: they are woken.
	byName.maxWait, byID.maxWait, byName.minBytes, byID.minBytes = 1<<30, 1<<30, 1, 1
	byName.send(byName.request(nil, nil))
	byID.send(byID.request(nil, nil))
	deleteTopic(t, b, "t")
	for c, want := range map[*sessionClient]string{
		byName: "UNKNOWN_TOPIC_OR_PARTITION", byID: "UNKNOWN_TOPIC_ID",
	} {
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = c.version
		c.receive(resp, c.correlation)
		c.epoch++
		// Storage ends the partitions one after the other.
		if got := c.told(resp); got != "t-0:"+want && got != "t-0:"+want+" t-1:"+want {
			t.Errorf("v%d: woken with %q", c.version, got)
		}
		c.maxWait = 0
	}
	createTopic(t, b, "t", 2)
	byName.fetch(nil)
	byName.want("t-0:OFFSET_OUT_OF_RANGE", nil)
	byName.want("t-0<0", []at{{"t", 0, 0}})
	mustProduce(t, dial(t, b), "t", 1)
	byName.want("t-0<1@0", nil)
	byID.fetch(nil)
	byID.want("t-0:UNKNOWN_TOPIC_ID t-1:UNKNOWN_TOPIC_ID", nil)
}

// TestSessionUnknownTopic is an error in each answer until there is one.
func TestSessionUnknownTopic(t *testing.T) {
	b := brokertest.Start(t)
	c := newSessionClient(t, b, 12)
	c.maxWait = 1 << 30 // an error does not wait
	for range 3 {
		c.want("t-0:UNKNOWN_TOPIC_OR_PARTITION", []at{{"t", 0, 0}})
	}
	createTopic(t, b, "t", 1)
	c.maxWait = 0
	c.want("t-0<0", nil)
	c.want("nothing", nil)
}

// TestSessionRotates: when the answer is full, the next one begins where it ended.
func TestSessionRotates(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 3)
	c := dial(t, b)
	for n := range int32(3) {
		for range 2 {
			if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", n, records(1)))); p.ErrorCode != 0 {
				t.Fatal(p.ErrorCode)
			}
		}
	}
	s := newSessionClient(t, b, 12)
	s.maxBytes = int32(len(records(1)))
	s.want("t-0<2@0 t-1<2 t-2<2", []at{{"t", 0, 0}, {"t", 1, 0}, {"t", 2, 0}})
	s.want("t-0<2@1", []at{{"t", 0, 1}})
	s.want("t-1<2@0", []at{{"t", 0, 2}})
	s.want("t-2<2@0", []at{{"t", 1, 1}})
	s.want("t-1<2@1", []at{{"t", 2, 1}})
	s.want("t-2<2@1", []at{{"t", 1, 2}})
	s.want("nothing", []at{{"t", 2, 2}})
	s.maxBytes = 0 // one batch comes all the same
	s.want("t-0<2@0", []at{{"t", 0, 0}, {"t", 1, 0}})
	s.want("t-1<2@0", nil)
	s.want("t-0<2@0", nil)
}

// TestSessionWaits as long as it may, and is woken by the bytes that it wants.
func TestSessionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1)
		createTopic(t, b, "u", 1)
		c := newSessionClient(t, b, 12)
		c.rawConn = dialBubble(t, b)
		c.want("t-0<0 u-0<0", []at{{"t", 0, 0}, {"u", 0, 0}})
		size := int32(len(records(1)))
		later := func(after time.Duration, topic string) {
			go func() {
				time.Sleep(after)
				mustProduce(t, dialBubble(t, b), topic, 1)
			}()
		}
		for _, step := range []struct {
			min    int32
			puts   []string // one after each second
			parts  []at
			waited time.Duration
			want   string
		}{
			{1, nil, nil, 30 * time.Second, "nothing"},
			{1, []string{"t"}, nil, time.Second, "t-0<1@0"},
			{2 * size, []string{"u"}, nil, time.Second, "t-0<1@0 u-0<1@0"},
			{2 * size, []string{"t", "u"}, []at{{"t", 0, 1}, {"u", 0, 1}}, 2 * time.Second, "t-0<2@1 u-0<2@1"},
			{2 * size, []string{"t"}, []at{{"t", 0, 2}, {"u", 0, 2}}, 30 * time.Second, "t-0<3@2"},
			{0, nil, []at{{"t", 0, 3}}, 0, "nothing"},
		} {
			c.minBytes, c.maxWait = step.min, 30_000
			for i, topic := range step.puts {
				later(time.Duration(i+1)*time.Second, topic)
			}
			begun := time.Now()
			got := c.fetch(step.parts)
			if waited := time.Since(begun); waited != step.waited || got != step.want {
				t.Errorf("min %d, %v: %q after %v, want %q after %v", step.min, step.puts, got, waited, step.want, step.waited)
			}
		}
	})
}

// TestSessionOfAnotherConnection: a session is not bound to the connection that
// made it, and outlives it.
func TestSessionOfAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1)
		c := newSessionClient(t, b, 12)
		c.rawConn = dialBubble(t, b)
		c.want("t-0<0", []at{{"t", 0, 0}})
		c.want("nothing", nil)
		old := c.rawConn
		c.rawConn = dialBubble(t, b)
		c.want("nothing", nil)
		old.net.Close()
		synctest.Wait() // the broker has noticed
		mustProduce(t, dialBubble(t, b), "t", 1)
		c.want("t-0<1@0", nil)
		c.want("nothing", []at{{"t", 0, 1}})
		c.net.Close()
		synctest.Wait()
		mustProduce(t, dialBubble(t, b), "t", 1)
		c.rawConn = dialBubble(t, b)
		c.want("t-0<2@1", nil)
	})
}

// TestSessionBusy: while one request has the session, another one is refused, and
// a full one closes it; the first ends as if nothing were.
func TestSessionBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1)
		c := newSessionClient(t, b, 12)
		c.rawConn = dialBubble(t, b)
		c.want("t-0<0", []at{{"t", 0, 0}})
		other := *c
		other.rawConn = dialBubble(t, b)
		c.maxWait, c.minBytes = 1<<30, 1
		c.send(c.request(nil, nil))
		synctest.Wait()
		for other.epoch = range int32(3) {
			if other.epoch > 0 {
				other.want("INVALID_FETCH_SESSION_EPOCH", nil)
			}
		}
		other.epoch = 0
		other.want("t-0<0", []at{{"t", 0, 0}})
		mustProduce(t, dialBubble(t, b), "t", 1)
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = 12
		c.receive(resp, c.correlation)
		if got := c.told(resp); got != "t-0<1@0" {
			t.Errorf("the request that had the session: %q", got)
		}
		c.epoch++
		c.want("FETCH_SESSION_ID_NOT_FOUND", nil)
	})
}

// TestSessionOfFollower: who poses as one gets none.
func TestSessionOfFollower(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := newSessionClient(t, b, 12)
	req := c.request([]at{{"t", 0, 0}}, nil)
	req.ReplicaID = 1
	resp := ask[*kmsg.FetchResponse](c.rawConn, req)
	if got := c.told(resp); got != "t-0:NOT_LEADER_FOR_PARTITION" || resp.SessionID != 0 {
		t.Errorf("%q, session %d", got, resp.SessionID)
	}
	c.want("t-0<0", []at{{"t", 0, 0}})
	req = c.request(nil, nil)
	req.ReplicaID = 1
	if got := c.told(ask[*kmsg.FetchResponse](c.rawConn, req)); got != "FETCH_SESSION_ID_NOT_FOUND" {
		t.Errorf("%q", got)
	}
}

// TestH94ManyFetchSessions: 2,000 are opened and left; the cache stays within its
// slots and everybody is served.
func TestH94ManyFetchSessions(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	var with []int32
	for range 2000 {
		c := newSessionClient(t, b, 12)
		c.want("t-0<0", []at{{"t", 0, 0}})
		if c.id != 0 {
			with = append(with, c.id)
		}
		c.net.Close()
	}
	if len(with) != 1000 {
		t.Errorf("%d clients have sessions, want 1000", len(with))
	}
	slices.Sort(with)
	if len(slices.Compact(with)) != 1000 {
		t.Error("an id was given twice")
	}
}
