package sim

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestLine: while a line is held nothing is written, read or dialled, and then all
// of it is; who closes the connection or gives up does not wait.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var far net.Conn
		l, target := newLine(Target{Dial: func(context.Context, string, string) (net.Conn, error) {
			near, other := net.Pipe()
			far = other
			return near, nil
		}})
		c, err := target.Dial(t.Context(), "tcp", "broker")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		l.hold()
		go func() {
			_, _ = far.Write([]byte("a"))
			_, _ = far.Read(make([]byte, 1))
		}()
		time.AfterFunc(time.Second, l.release)
		for _, do := range []func([]byte) (int, error){c.Read, c.Write} {
			if n, err := do(make([]byte, 1)); n != 1 || err != nil || time.Since(begin) != time.Second {
				t.Errorf("%d bytes, %v after %v", n, err, time.Since(begin))
			}
		}
		l.hold()
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := target.Dial(short, "tcp", "broker"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialled a line that is held: %v", err)
		}
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		if _, err := c.Write([]byte("b")); err == nil {
			t.Error("written to a connection that was closed while the line was held")
		}
	})
}
