package broker_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/vfs"
)

// gate holds syncs of the journal until it is opened.
type gate struct {
	vfs.FS
	mu     sync.Mutex
	closed chan struct{} // nil: open
	syncs  int
}

func (g *gate) Open(name string) (vfs.File, error)   { return g.wrap(g.FS.Open(name)) }
func (g *gate) Create(name string) (vfs.File, error) { return g.wrap(g.FS.Create(name)) }

func (g *gate) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &gatedFile{f, g}, nil
}

type gatedFile struct {
	vfs.File
	g *gate
}

func (f *gatedFile) Sync() error {
	f.g.mu.Lock()
	f.g.syncs++
	closed := f.g.closed
	f.g.mu.Unlock()
	if closed != nil {
		<-closed
	}
	return f.File.Sync()
}

func (g *gate) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{})
	g.closed = c
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.closed = nil
		close(c)
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.syncs
}

// gated starts a broker whose syncs a test can hold.
func gated(t *testing.T) (*brokertest.Broker, *gate) {
	g := &gate{FS: vfs.NewMem()}
	return brokertest.Start(t, brokertest.WithFS(g)), g
}

// TestPipelinedRequestsShareSyncs: one connection with 64 requests in flight
// needs few syncs, because reading never waits for one.
func TestPipelinedRequestsShareSyncs(t *testing.T) {
	b, g := gated(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	const n = 64
	before := g.count()
	open := g.shut()
	for range n {
		c.send(produceRequest(9, -1, "t", 0, records(1)))
	}
	open()
	for i := range int32(n) {
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 9
		c.receive(resp, i+1)
		if p := produced(resp); p.ErrorCode != 0 || p.BaseOffset != int64(i) {
			t.Fatalf("answer %d: code %d, offset %d", i, p.ErrorCode, p.BaseOffset)
		}
	}
	if syncs := g.count() - before; syncs > 4 {
		t.Errorf("%d requests took %d syncs", n, syncs)
	}
}

// TestOnlyDurableIsShown: while a sync is stuck, acks=all is not answered, acks=1
// is, and neither a fetch nor ListOffsets shows the records.
func TestOnlyDurableIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := gated(t)
		createTopic(t, b, "t", 1)
		open := g.shut()
		waiting := dialBubble(t, b)
		waiting.send(produceRequest(9, -1, "t", 0, records(1)))
		synctest.Wait()
		c := dialBubble(t, b)
		if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, 1, "t", 0, records(1)))); p.ErrorCode != 0 || p.BaseOffset != 1 {
			t.Errorf("acks=1: code %d, offset %d", p.ErrorCode, p.BaseOffset)
		}
		fetch := fetchRequest(12, "t", 0, 0)
		fetch.MaxWaitMillis = 1000
		if p := fetched(ask[*kmsg.FetchResponse](c, fetch)); len(p.RecordBatches) > 0 || p.HighWatermark != 0 {
			t.Errorf("fetch shows %d bytes, high watermark %d", len(p.RecordBatches), p.HighWatermark)
		}
		if end := endOffset(t, b, "t"); end != 0 {
			t.Errorf("ListOffsets shows %d", end)
		}
		open()
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 9
		waiting.receive(resp, 1)
		if p := fetched(ask[*kmsg.FetchResponse](c, fetch)); p.HighWatermark != 2 {
			t.Errorf("after the sync the high watermark is %d", p.HighWatermark)
		}
	})
}

// TestIdempotentWaitsForSync: with a producer id, acks=1 waits as acks=all does;
// otherwise a power cut could take a batch and keep the next of its sequence.
func TestIdempotentWaitsForSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := gated(t)
		createTopic(t, b, "t", 1)
		open := g.shut()
		c := dialBubble(t, b)
		c.send(produceRequest(9, 1, "t", 0, sequenced(7, 0)))
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			resp := kmsg.NewPtrProduceResponse()
			resp.Version = 9
			c.receive(resp, 1)
		}()
		synctest.Wait()
		select {
		case <-answered:
			t.Error("answered before the sync")
		default:
		}
		open()
		<-answered
	})
}

// TestPitfall13OrderOfAnswers: a fetch that waits holds back the answers behind
// it, not the requests.
func TestPitfall13OrderOfAnswers(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	fetch := fetchRequest(12, "t", 0, 0)
	fetch.MaxWaitMillis = 1 << 30
	c.send(fetch)
	c.send(produceRequest(9, -1, "t", 0, records(1))) // ends the wait of the fetch before it
	c.send(kmsg.NewPtrApiVersionsRequest())
	first := kmsg.NewPtrFetchResponse()
	first.Version = 12
	c.receive(first, 1)
	if p := fetched(first); len(p.RecordBatches) == 0 {
		t.Error("the fetch came back without the record")
	}
	second := kmsg.NewPtrProduceResponse()
	second.Version = 9
	c.receive(second, 2)
	c.receive(kmsg.NewPtrApiVersionsResponse(), 3)
}

// TestShutdownEndsLongPolls: waiting clients are answered, new ones refused.
func TestShutdownEndsLongPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 1)
		c := dialBubble(t, b)
		fetch := fetchRequest(12, "t", 0, 0)
		fetch.MaxWaitMillis = 1 << 30
		c.send(fetch)
		synctest.Wait()
		begun := time.Now()
		done := make(chan error)
		go func() { done <- b.Broker().Shutdown(context.Background()) }()
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = 12
		c.receive(resp, 1)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		if _, err := b.DialContext(context.Background(), "", ""); !errors.Is(err, broker.ErrStopped) {
			t.Errorf("dial after shutdown: %v", err)
		}
	})
}

// TestShutdownCutsSlowReaders: a client that takes no answers delays nothing.
func TestShutdownCutsSlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		c := dialBubble(t, b)
		c.send(kmsg.NewPtrMetadataRequest()) // the answer is never read
		synctest.Wait()
		begun := time.Now()
		if err := b.Broker().Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// TestServe listens on the network, and tells clients the address they used.
func TestServe(t *testing.T) {
	b := brokertest.Start(t)
	served := make(chan error, 2)
	var addresses []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, l.Addr().String())
		go func() { served <- b.Broker().Serve(l) }()
	}
	for _, a := range addresses {
		client, err := kgo.NewClient(kgo.SeedBrokers(a), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.ProduceSync(within(t), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Broker().Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// TestH13H97ManyClients: slow, idle and unread connections harm no other.
func TestH13H97ManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"connections.max.idle.ms": "60000"}))
		createTopic(t, b, "t", 1)
		slow := dialBubble(t, b)
		slow.write(bytesOf(int32(1000), make([]byte, 20)))
		idle := dialBubble(t, b)
		unread := dialBubble(t, b)
		go func() {
			for {
				if _, err := unread.net.Write(unread.frame(kmsg.NewPtrMetadataRequest())); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		mustProduce(t, dialBubble(t, b), "t", 1)
		begun := time.Now()
		slow.wantClosed()
		if d := time.Since(begun); d > 50*time.Second {
			t.Errorf("a request that never ends was waited for %v", d)
		}
		idle.wantClosed()
		if d := time.Since(begun); d < 50*time.Second || d > 70*time.Second {
			t.Errorf("idle connection closed after %v", d)
		}
		unread.net.Close()
	})
}

// TestSlowDiskHoldsProducersBack: while syncs do not end, no more is taken from
// producers than the journal's buffers hold; all that was sent is answered later.
func TestSlowDiskHoldsProducersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := gated(t)
		createTopic(t, b, "t", 1)
		const (
			producers = 4
			each      = 80
			size      = 256 << 10
			// What the journal takes ahead of a sync (five times its buffer of 8 MiB),
			// and a request in the hands of each connection's reader and of its
			// client, with room for headers.
			most = 5*(8<<20) + producers*3*size
		)
		var sent atomic.Int64
		open := g.shut()
		conns := make([]*rawConn, producers)
		for i := range conns {
			conns[i] = dialBubble(t, b)
			go func() {
				for range each {
					conns[i].send(produceRequest(9, -1, "t", 0, batch.Build(batch.BuildOptions{}, batch.Record{Value: make([]byte, size)})))
					sent.Add(size)
				}
			}()
		}
		synctest.Wait()
		if n := sent.Load(); n > most || n == 0 {
			t.Errorf("%d MiB were taken while no sync ended, at most %d are its due", n>>20, most>>20)
		}
		open()
		for _, c := range conns {
			for k := range int32(each) {
				resp := kmsg.NewPtrProduceResponse()
				resp.Version = 9
				c.receive(resp, k+1)
				if p := produced(resp); p.ErrorCode != 0 {
					t.Fatalf("code %d", p.ErrorCode)
				}
			}
		}
	})
}
