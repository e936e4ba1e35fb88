//go:build linux || darwin

package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

// TestManyPartitionsFewDescriptors writes to each of many partitions, and reads
// from it, with a fifth of the descriptors. With WEIR_LONG it is 10,000 with the
// limit of an old shell.
func TestManyPartitionsFewDescriptors(t *testing.T) {
	partitions, limit := int32(600), uint64(120)
	if os.Getenv("WEIR_LONG") != "" {
		partitions, limit = 10_000, 1024
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = limit
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	b, err := Open(context.Background(), Config{Dir: t.TempDir(), Durability: "os", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	if _, _, err := b.metadata.create(context.Background(), "t", partitions, nil); err != nil {
		t.Fatal(err)
	}
	putEverywhere(t, b, "t", 10)
	for n, p := range b.metadata.topic("t").partitions {
		high := p.Offsets().High
		extent, err := p.Read(0, 1000, high)
		if err == nil {
			_, err = extent.ReadAt(make([]byte, extent.Len()), 0)
		}
		if err != nil || high != 1 {
			t.Fatalf("partition %d: high watermark %d, %v", n, high, err)
		}
		extent.Release()
	}
}

// crowdedListener has no descriptor for so many calls, and then gives a
// connection for each token.
type crowdedListener struct {
	failures int
	calls    []time.Time
	conns    chan net.Conn
}

func (l *crowdedListener) Accept() (net.Conn, error) {
	l.calls = append(l.calls, time.Now())
	if len(l.calls) <= l.failures {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *crowdedListener) Close() error   { return nil }
func (l *crowdedListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestAcceptWithoutDescriptors: running out of them is waited out, longer each
// time, and never ends the listener.
func TestAcceptWithoutDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := Open(context.Background(), Config{Dir: "/data", FS: vfs.NewMem(), JournalFileBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		l := &crowdedListener{failures: 12, conns: make(chan net.Conn)}
		served := make(chan error, 1)
		go func() { served <- b.Serve(l) }()
		client, server := net.Pipe()
		l.conns <- server
		if _, err := client.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
		if answer := tryAnswer(client); len(answer) < 4 || answer[3] != 7 {
			t.Errorf("answer % x", answer)
		}
		client.Close()
		close(l.conns)
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
		pause := 5 * time.Millisecond
		for i := range l.failures {
			if got := l.calls[i+1].Sub(l.calls[i]); got != pause {
				t.Errorf("pause %d is %v, want %v", i, got, pause)
			}
			pause = min(2*pause, time.Second)
		}
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
