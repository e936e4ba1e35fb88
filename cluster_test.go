package weir_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/broker/brokertest"
)

// cluster is what a scenario runs on: a broker in the test's bubble of virtual
// time, or any Kafka cluster at an address, in real time.
type cluster struct {
	t       *testing.T
	brokers []string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	id      string             // distinguishes this run's topics and groups from others'
	broker  *brokertest.Broker // in the bubble only
}

// name makes a topic's or group's name this run's own.
func (c *cluster) name(s string) string { return s + "-" + c.id }

func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.brokers...), kgo.Dialer(c.dial)}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// topic makes a topic. It stays: a cluster named by WEIR_TEST_BROKERS is there for tests.
func (c *cluster) topic(name string, partitions int32) string {
	c.t.Helper()
	name = c.name(name)
	cl := c.client()
	defer cl.Close()
	made, err := kadm.NewClient(cl).CreateTopics(context.Background(), partitions, 1, nil, name)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		c.t.Fatalf("create topic %s: %v", name, err)
	}
	return name
}

func (c *cluster) deleteTopic(topic string) {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	gone, err := kadm.NewClient(cl).DeleteTopics(context.Background(), topic)
	if err == nil {
		err = gone.Error()
	}
	if err != nil {
		c.t.Fatalf("delete topic %s: %v", topic, err)
	}
}

// produce writes n records to each partition: value "0", "1" … in each. They
// are two hours old, as the records of a topic that an application is new to.
func (c *cluster) produce(topic string, partitions int32, n int) {
	c.t.Helper()
	var recs []*kgo.Record
	old := time.Now().Add(-2 * time.Hour)
	for p := range partitions {
		for i := range n {
			recs = append(recs, &kgo.Record{Topic: topic, Partition: p, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Append(nil, i), Timestamp: old})
		}
	}
	c.produceRecords(recs...)
}

func (c *cluster) produceRecords(recs ...*kgo.Record) {
	c.t.Helper()
	c.produceWith(recs)
}

func (c *cluster) produceWith(recs []*kgo.Record, opts ...kgo.Opt) {
	c.t.Helper()
	cl := c.client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	defer cl.Close()
	if err := cl.ProduceSync(context.Background(), recs...).FirstErr(); err != nil {
		c.t.Fatalf("produce: %v", err)
	}
}

// committed returns a group's offsets of a topic by partition; none is absent.
func (c *cluster) committed(group, topic string) map[int32]int64 {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	fetched, err := kadm.NewClient(cl).FetchOffsets(context.Background(), group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		c.t.Fatalf("offsets of %s: %v", group, err)
	}
	offsets := map[int32]int64{}
	fetched.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic && o.At >= 0 {
			offsets[o.Partition] = o.At
		}
	})
	return offsets
}

// members is how many the group's coordinator knows.
func (c *cluster) members(group string) int {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	groups, err := kadm.NewClient(cl).DescribeGroups(context.Background(), c.name(group))
	if err != nil {
		c.t.Fatalf("describe group %s: %v", group, err)
	}
	return len(groups[c.name(group)].Members)
}

// read consumes n records of a topic from its start, without a group.
func (c *cluster) read(topic string, n int) []*kgo.Record {
	c.t.Helper()
	cl := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var recs []*kgo.Record
	for len(recs) < n {
		f := cl.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			c.t.Fatalf("read %s: %d of %d records, then %v", topic, len(recs), n, err)
		}
		recs = append(recs, f.Records()...)
	}
	return recs
}

// end is the number of records in a topic that lost none.
func (c *cluster) end(topic string) (n int64) {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(context.Background(), topic)
	if err != nil {
		c.t.Fatalf("end of %s: %v", topic, err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// eventually waits until ok.
func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// member is a running App.
type member struct {
	*weir.App
	c    *cluster
	net  *network
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// config is a Config for quick tests: short timeouts, no jitter to wait for.
func (c *cluster) config(group string, net *network) weir.Config {
	return weir.Config{
		Brokers: c.brokers, Group: c.name(group), Client: []kgo.Opt{kgo.Dialer(net.dialer(c.dial))},
		CommitInterval: 50 * time.Millisecond, SessionTimeout: 6 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
		RebalanceTimeout: 10 * time.Second, DrainTimeout: 4 * time.Second,
	}
}

// start runs an App until the test ends or its member is stopped.
func (c *cluster) start(group string, handle func(*weir.App), change ...func(*weir.Config)) *member {
	c.t.Helper()
	m := &member{c: c, net: &network{}, done: make(chan struct{})}
	cfg := c.config(group, m.net)
	for _, f := range change {
		f(&cfg)
	}
	app, err := weir.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	m.App = app
	handle(app)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go func() {
		defer close(m.done)
		m.err = app.Run(ctx)
	}()
	c.t.Cleanup(func() { m.stop(); m.net.release(); <-m.done })
	return m
}

// quit stops the member gracefully.
func (m *member) quit() {
	m.c.t.Helper()
	m.stop()
	<-m.done
	if m.err != nil {
		m.c.t.Fatalf("Run returned %v after its context ended", m.err)
	}
}

// failure waits for Run to return a reason.
func (m *member) failure() error {
	m.c.t.Helper()
	select {
	case <-m.done:
	case <-time.After(2 * time.Minute):
		m.c.t.Fatal("Run did not return")
	}
	if m.err == nil {
		m.c.t.Fatal("Run returned nil, want the reason")
	}
	return m.err
}

func (m *member) assigned(topic string) int { return len(m.Stats().Topics[topic].Partitions) }

var errCut = errors.New("the test cut the network")

// network stands between a client and its broker. It can hold back requests of
// one kind, and be cut.
type network struct {
	mu struct {
		sync.Mutex
		cut   bool
		hold  bool
		key   int16
		held  []held
		conns []net.Conn
	}
}

func (n *network) dialer(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.mu.Lock()
		cut := n.mu.cut
		n.mu.Unlock()
		if cut {
			return nil, errCut
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		n.mu.conns = append(n.mu.conns, c)
		n.mu.Unlock()
		return &gate{Conn: c, net: n}, nil
	}
}

// cut ends all connections and lets no new one through.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.cut = true
	for _, c := range n.mu.conns {
		c.Close()
	}
}

func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.cut = false
}

const produceKey = 0

// holdBack lets no request of an API leave until release. The client does not
// notice: it has one goroutine for all that it writes to a broker.
func (n *network) holdBack(key int16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.hold = true
	n.mu.key = key
}

func (n *network) release() {
	n.mu.Lock()
	n.mu.hold = false
	held := n.mu.held
	n.mu.held = nil
	n.mu.Unlock()
	for _, h := range held {
		h.conn.Write(h.request) // its error is the client's next one
	}
}

type held struct {
	conn    net.Conn
	request []byte
}

// gate looks at the API key of each request; the client writes one request at a
// time.
type gate struct {
	net.Conn
	net *network
}

func (g *gate) Write(b []byte) (int, error) {
	g.net.mu.Lock()
	if g.net.mu.hold && len(b) >= 6 && int16(binary.BigEndian.Uint16(b[4:])) == g.net.mu.key {
		defer g.net.mu.Unlock()
		g.net.mu.held = append(g.net.mu.held, held{g.Conn, bytes.Clone(b)})
		return len(b), nil
	}
	g.net.mu.Unlock()
	return g.Conn.Write(b)
}

// handled collects handled records by partition.
type handled struct {
	mu  sync.Mutex
	seq map[int32][]int64 // offsets in the order of handling
	who map[string]int    // records by member
}

func newHandled() *handled { return &handled{seq: map[int32][]int64{}, who: map[string]int{}} }

func (h *handled) add(who string, partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq[partition] = append(h.seq[partition], offset)
	h.who[who]++
}

func (h *handled) total() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.seq {
		n += len(s)
	}
	return n
}

// distinct is the number of records handled at least once.
func (h *handled) distinct() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.seq {
		seen := map[int64]bool{}
		for _, o := range s {
			seen[o] = true
		}
		n += len(seen)
	}
	return n
}

func (h *handled) by(who string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.who[who]
}

// onceInOrder checks that each partition's records 0 to n-1 were handled in order
// and once.
func (h *handled) onceInOrder(t *testing.T, partitions int32, n int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range partitions {
		if len(h.seq[p]) != n {
			t.Errorf("partition %d: %d records handled, want %d", p, len(h.seq[p]), n)
		}
		for i, o := range h.seq[p] {
			if o != int64(i) {
				t.Errorf("partition %d: record %d handled as number %d", p, o, i)
				break
			}
		}
	}
}

func texts(name string) weir.Topic[string, string] {
	return weir.Topic[string, string]{Name: name, Key: weir.String(), Value: weir.String()}
}

// logTo has an App log to a handler.
func logTo(h slog.Handler) func(*weir.Config) {
	return func(cfg *weir.Config) { cfg.Logger = slog.New(h) }
}

// runID distinguishes the runs on a cluster that outlives them.
func runID() string { return fmt.Sprintf("%08x", rand.Uint32()) }

func record(topic string, partition int32, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
}
