package broker

import (
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// connected returns both ends of a connection.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// TestSlowIsNotStalledBehindTheKernel: a write waits for much more than a slow client
// takes in stallAfter. When it took something lately, it is not closed.
func TestSlowIsNotStalledBehindTheKernel(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 8000)
	client, server := connected(t)
	if err := b.start(server, inProcess); err != nil {
		t.Fatal(err)
	}
	for range 200 { // answers of 200 KiB
		mustWrite(t, client, aboutT())
	}
	b.mu.Lock()
	c := slices.Collect(maps.Keys(b.mu.conns))[0]
	b.mu.Unlock()
	if _, err := io.CopyN(io.Discard, client, 1<<20); err != nil {
		t.Fatal(err)
	}
	for c.pending.Load() <= maxPending {
		runtime.Gosched()
	}
	c.progress.Store(time.Now().Add(-time.Hour).UnixNano()) // as if the write had begun then
	b.closeStalled()
	if c.ctx.Err() != nil {
		t.Error("a client that took 1 MiB just now was closed")
	}
}

// TestKernelTellsWhatAClientTakes: bytes are acknowledged as the client reads, long
// before the write that waits for it ends.
func TestKernelTellsWhatAClientTakes(t *testing.T) {
	client, server := connected(t)
	var writing sync.WaitGroup
	defer writing.Wait()
	defer server.Close()
	const more = 64 << 20 // than the kernel's buffers hold
	writing.Go(func() { _, _ = server.Write(make([]byte, more)) })
	read := int64(0)
	take := func(n int64) {
		t.Helper()
		if _, err := io.CopyN(io.Discard, client, n); err != nil {
			t.Fatal(err)
		}
		read += n
	}
	take(1 << 20)
	before, known := sentTo(server)
	if !known || before.acked < 1<<19 || before.acked > more || before.quiet > time.Minute {
		t.Fatalf("the kernel tells %+v, %t", before, known)
	}
	take(16 << 20)
	if after, known := sentTo(server); !known || after.acked < uint64(read)/2 || after.acked > more {
		t.Errorf("after reading %d bytes the kernel tells %+v, %t", read, after, known)
	}
	server.Close()
	if s, known := sentTo(server); known {
		t.Errorf("of a closed connection the kernel tells %+v", s)
	}
}
