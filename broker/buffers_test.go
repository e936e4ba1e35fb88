package broker

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
)

// fetchOf stores one batch of so many bytes and returns a Fetch that asks for it.
func fetchOf(t *testing.T, b *Broker, size int) []byte {
	t.Helper()
	made, _, err := b.metadata.create(context.Background(), "t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := dialInBubble(t, b)
	defer p.Close()
	mustWrite(t, p, produceFrame("t", batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: 1, Value: make([]byte, size)})))
	if resp := decodeAnswer(t, p, kmsg.NewPtrProduceResponse(), 9); resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("produce: code %d", resp.Topics[0].Partitions[0].ErrorCode)
	}
	return kmsg.NewRequestFormatter().AppendRequest(nil, sessionRequest(12, made.ID, finalEpoch), 1)
}

// TestIdleConnectionsKeepNoAnswerBuffers: each of 10,000 consumers kept the buffer
// of its last answer, 57 KB.
func TestIdleConnectionsKeepNoAnswerBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		fetch := fetchOf(t, b, 30<<10)
		var clients []net.Conn
		for range 300 {
			clients = append(clients, dialInBubble(t, b))
		}
		before := heap()
		for _, c := range clients {
			mustWrite(t, c, fetch)
			readAnswer(t, c)
		}
		synctest.Wait()
		if grown := (heap() - before) / int64(len(clients)); grown > 10<<10 {
			t.Errorf("an idle connection keeps %d bytes", grown)
		}
		for _, c := range clients {
			c.Close()
		}
	})
}

// TestLargeBuffersAreFew: slow readers beyond maxChunks are sent smaller chunks, and
// all get what they asked for.
func TestLargeBuffersAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openForTest(t)
		b.maxChunks = 5
		fetch := fetchOf(t, b, 400<<10)
		before := heap()
		var clients []net.Conn
		for range 60 {
			c := dialInBubble(t, b)
			clients = append(clients, c)
			mustWrite(t, c, fetch)
		}
		synctest.Wait()
		if grown, most := heap()-before, int64(5*chunkCap+60*(pageCap+30<<10)); grown > most {
			t.Errorf("slow readers hold %d bytes, at most %d are their due", grown, most)
		}
		if n := b.chunks.Load(); n != 5 {
			t.Errorf("%d large buffers", n)
		}
		for i, c := range clients {
			if i%2 == 0 {
				if n := len(readAnswer(t, c)); n < 400<<10 {
					t.Errorf("an answer of %d bytes", n)
				}
				synctest.Wait()
			}
			c.Close()
			_, _ = io.Copy(io.Discard, c)
		}
		synctest.Wait()
		if n := b.chunks.Load(); n != 0 {
			t.Errorf("%d large buffers are counted when all are gone", n)
		}
	})
}
