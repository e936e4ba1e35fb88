package broker_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

func TestMaxConnections(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"max.connections": "2"}))
	first, second := dial(t, b), dial(t, b)
	ask[*kmsg.ApiVersionsResponse](first, kmsg.NewPtrApiVersionsRequest())
	ask[*kmsg.ApiVersionsResponse](second, kmsg.NewPtrApiVersionsRequest())
	if _, err := b.DialContext(t.Context(), "", ""); err == nil {
		t.Error("a third connection is let in")
	}
}

// TestAnswersBeforeAClose: what was asked properly is answered, though what comes
// behind it ends the connection.
func TestAnswersBeforeAClose(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	good := c.frame(produceRequest(9, -1, "t", 0, records(1)))
	go c.net.Write(append(good, request(9999, 0, noClientID...)...))
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = 9
	c.receive(resp, 1)
	c.wantClosed()
}

// TestShutdownAnswersWhatIsDurable: requests that were read are answered.
func TestShutdownAnswersWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := gated(t)
		createTopic(t, b, "t", 1)
		c := dialBubble(t, b)
		open := g.shut()
		for range 10 {
			c.send(produceRequest(9, -1, "t", 0, records(1)))
		}
		synctest.Wait()
		done := make(chan error)
		go func() { done <- b.Broker().Shutdown(context.Background()) }()
		synctest.Wait()
		open()
		for i := range int32(10) {
			resp := kmsg.NewPtrProduceResponse()
			resp.Version = 9
			c.receive(resp, i+1)
			if p := produced(resp); p.ErrorCode != 0 || p.BaseOffset != int64(i) {
				t.Errorf("answer %d: code %d, offset %d", i, p.ErrorCode, p.BaseOffset)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAdvertisedListeners: clients of the network are told the setting; those of
// the process need no address.
func TestAdvertisedListeners(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(map[string]string{"advertised.listeners": "PLAINTEXT://weir.example:19092"}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Broker().Serve(l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	if n := ask[*kmsg.MetadataResponse](&rawConn{t: t, net: nc}, req).Brokers[0]; n.Host != "weir.example" || n.Port != 19092 {
		t.Errorf("clients are told %s:%d", n.Host, n.Port)
	}
	if n := ask[*kmsg.MetadataResponse](dial(t, b), req).Brokers[0]; n.Host != "weir.in-process" {
		t.Errorf("clients of the process are told %s", n.Host)
	}
	if err := b.Broker().Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
}
