package broker

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzRequest sends any body to any key and version of a small broker. It must
// answer or close, without a panic, and serve the next client.
func FuzzRequest(f *testing.F) {
	for key := range int16(93) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for _, v := range []int16{0, req.MaxVersion() / 2, req.MaxVersion()} {
			req.SetVersion(v)
			f.Add(key, v, req.AppendTo(nil))
		}
	}
	f.Add(int16(0), int16(7), []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Add(int16(1), int16(12), []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 't', 2})
	b := openForTest(f)
	if _, _, err := b.metadata.create(context.Background(), "t", 1, nil); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		frame := []byte{0, 0, 0, 0}
		frame = binary.BigEndian.AppendUint16(frame, uint16(key))
		frame = binary.BigEndian.AppendUint16(frame, uint16(version))
		frame = append(frame, 0, 0, 0, 9, 0xff, 0xff)
		if a := b.apis.find(key, version); a != nil && version >= a.flexible {
			frame = append(frame, 0)
		}
		frame = append(frame, body...)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		c := fuzzDial(t, b)
		defer c.Close()
		if _, err := c.Write(frame); err == nil && answered(key, version, body) {
			var head [8]byte
			if _, err := io.ReadFull(c, head[:]); err == nil && head[7] != 9 {
				t.Fatalf("answer has correlation id %d", head[7])
			}
		}
		if n := panics(t, b); n > 0 {
			t.Fatalf("%v panics", n)
		}
	})
}

// answered says whether an answer may be waited for: a fetch, a join and a sync
// may wait longer, and acks=0 has none.
func answered(key, _ int16, _ []byte) bool {
	switch kmsg.Key(key) {
	case kmsg.Produce, kmsg.Fetch, kmsg.JoinGroup, kmsg.SyncGroup:
		return false
	}
	return true
}

func fuzzDial(t *testing.T, b *Broker) net.Conn {
	c, err := b.DialContext(context.Background(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// panics reads weir_panics_total, after a request that must be served.
func panics(t *testing.T, b *Broker) float64 {
	c := fuzzDial(t, b)
	defer c.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		t.Fatalf("the next client: %v", err)
	}
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
		t.Fatalf("the next client: %v", err)
	}
	families, err := b.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families {
		if m.GetName() == "weir_panics_total" {
			return m.Metric[0].Counter.GetValue()
		}
	}
	t.Fatal("weir_panics_total is missing")
	return 0
}
