package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// sized puts the size before a request.
func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

func reader(src net.Conn, limit int) *frameReader {
	return &frameReader{src: src, budget: newBudget(64 << 20), max: limit, idle: time.Minute}
}

// TestFramesArriveWhole whatever the sizes and wherever the bytes are cut.
func TestFramesArriveWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var frames [][]byte
		var wire []byte
		for i, n := range rapid.SliceOfN(rapid.IntRange(8, 300_000), 1, 8).Draw(t, "sizes") {
			frame := bytes.Repeat([]byte{byte(i), byte(i >> 8), byte(n)}, n/3+1)[:n]
			frames = append(frames, frame)
			wire = append(wire, sized(frame)...)
		}
		cuts := rapid.SliceOfN(rapid.IntRange(1, 100_000), 1, 20).Draw(t, "cuts")
		client, server := net.Pipe()
		defer client.Close()
		go func() {
			for i := 0; len(wire) > 0; i++ {
				n := min(len(wire), cuts[i%len(cuts)])
				if _, err := client.Write(wire[:n]); err != nil {
					return
				}
				wire = wire[n:]
			}
			client.Close()
		}()
		f := reader(server, 1<<20)
		for i, want := range frames {
			got, err := f.next(context.Background())
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("frame %d: %d bytes, %v; want %d", i, len(got), err, len(want))
			}
		}
		if _, err := f.next(context.Background()); !errors.Is(err, io.EOF) {
			t.Fatalf("at the end: %v", err)
		}
		f.drop()
		if n := f.budget.inUse(); n != 0 {
			t.Fatalf("%d bytes are still counted", n)
		}
	})
}

// TestBufferGrowsWithBytes: an announced size allocates nothing.
func TestBufferGrowsWithBytes(t *testing.T) {
	client, server := net.Pipe()
	f := reader(server, 100<<20)
	failed := make(chan error)
	go func() {
		_, err := f.next(context.Background())
		failed <- err
	}()
	_, err := client.Write(append(binary.BigEndian.AppendUint32(nil, 100<<20), make([]byte, 100_000)...))
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := <-failed; !errors.Is(err, io.EOF) {
		t.Errorf("next: %v", err)
	}
	if len(f.buf) > 300_000 {
		t.Errorf("the buffer has %d bytes after 100,000 came", len(f.buf))
	}
}

// TestIdleShrinks: a connection that had a large request does not keep its buffer.
func TestIdleShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		f := reader(server, 1<<20)
		served := make(chan error)
		go func() {
			for {
				_, err := f.next(context.Background())
				served <- err
				if err != nil {
					return
				}
			}
		}()
		if _, err := client.Write(sized(make([]byte, 500_000))); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil || f.budget.inUse() == 0 {
			t.Fatalf("%v, %d bytes counted", err, f.budget.inUse())
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := f.budget.inUse(); n != 0 {
			t.Errorf("%d bytes are counted for an idle connection", n)
		}
		begun := time.Now()
		if err := <-served; !errors.Is(err, errIdle) || time.Since(begun) > 40*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestBudgetIsFair(t *testing.T) {
	b := newBudget(100)
	ctx := context.Background()
	if err := b.acquire(ctx, 60); err != nil {
		t.Fatal(err)
	}
	impatient, give := context.WithCancel(ctx)
	give()
	if err := b.acquire(impatient, 50); !errors.Is(err, context.Canceled) {
		t.Errorf("over the budget: %v", err)
	}
	large := make(chan error)
	go func() { large <- b.acquire(ctx, 1000) }() // the whole
	for waiting := 0; waiting == 0; {
		b.mu.Lock()
		waiting = len(b.mu.waiting)
		b.mu.Unlock()
	}
	if err := b.acquire(impatient, 1); err == nil {
		t.Error("a small one overtakes")
	}
	b.release(60)
	if err := <-large; err != nil || b.inUse() != 100 {
		t.Errorf("%v, %d in use", err, b.inUse())
	}
	b.release(1000)
	if n := b.inUse(); n != 0 {
		t.Errorf("%d in use at the end", n)
	}
}
