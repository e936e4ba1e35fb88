package broker

import (
	"context"
	"math"
	"net"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
)

// dialInBubble connects within the process, without deadlines.
func dialInBubble(t *testing.T, b *Broker) net.Conn {
	t.Helper()
	c, err := b.DialContext(context.Background(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openConns are the connections that the broker serves.
func openConns(b *Broker) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mu.conns)
}

// TestH95AbandonedPolls: 300 clients begin to wait for ever and go, half of them
// in a session; nothing of them is left but the sessions, which watch nothing.
func TestH95AbandonedPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		made, _, err := b.metadata.create(context.Background(), "t", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		var conns []net.Conn
		for i := range 300 {
			c := dialInBubble(t, b)
			conns = append(conns, c)
			req := sessionRequest(12, made.ID, finalEpoch)
			if i%2 == 0 {
				req.SessionEpoch = initialEpoch
				if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
					t.Fatal(err)
				}
				answer := readAnswer(t, c)
				req.SessionID, req.SessionEpoch = int32(answer[11])<<24|int32(answer[12])<<16|int32(answer[13])<<8|int32(answer[14]), 1
			}
			req.MinBytes, req.MaxWaitMillis = 1, math.MaxInt32
			if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := openConns(b); n != 300 {
			t.Fatalf("%d connections wait", n)
		}
		for _, c := range conns {
			c.Close()
		}
		synctest.Wait()
		if n := openConns(b); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if sessions, _ := b.sessions.counts(); sessions != 150 {
			t.Errorf("%d sessions", sessions)
		}
		b.sessions.mu.Lock()
		defer b.sessions.mu.Unlock()
		for _, s := range b.sessions.mu.byID {
			if s.busy || s.attached {
				t.Fatalf("a session of nobody is busy %v, watches %v", s.busy, s.attached)
			}
		}
	})
}

// TestH96SlowReader sends 4,000 fetches of 1 MiB and reads nothing: it holds its
// own bounded buffers, and others are served.
func TestH96SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		fetch := fetchOf(t, b, 400<<10) // more does not fit the journal of a test
		p := dialInBubble(t, b)
		defer p.Close()
		frame := produceFrame("t", batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: 1, Value: make([]byte, 400<<10)}))
		mustWrite(t, p, frame)
		readAnswer(t, p)
		before := heap()
		slow := dialInBubble(t, b)
		sent := make(chan int)
		go func() {
			n := 0
			for ; n < 4000; n++ {
				if _, err := slow.Write(fetch); err != nil {
					break
				}
			}
			sent <- n
		}()
		synctest.Wait()
		if grown := heap() - before; grown > 2<<20 {
			t.Errorf("a slow reader holds %d bytes", grown)
		}
		mustWrite(t, p, frame)
		readAnswer(t, p)
		slow.Close()
		// Those in the queue, one in each goroutine's hand, and what stands in the
		// reader's buffer behind them.
		if n, most := <-sent, maxInflight+2+readAhead/len(fetch); n > most {
			t.Errorf("%d requests were taken from a client that reads nothing, at most %d are its due", n, most)
		}
	})
}
