package broker

import (
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestPanicEndsOneConnection: a defect is counted, and nobody else hears of it.
func TestPanicEndsOneConnection(t *testing.T) {
	b := openForTest(t)
	b.apis.byKey[kmsg.DescribeCluster.Int16()].handler = func(*call, []byte) error { panic("a defect") }
	other := fuzzDial(t, b)
	defer other.Close()
	c := fuzzDial(t, b)
	defer c.Close()
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrDescribeClusterRequest(), 1)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("the connection is not closed")
	}
	if n := panics(t, b); n != 1 {
		t.Errorf("weir_panics_total is %v", n)
	}
	askVersions(t, other)
}

func askVersions(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
}
