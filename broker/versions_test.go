package broker_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestPitfall01AdvertiseProduceMinZero: librdkafka before 2.11.1 compresses only
// if Produce v0 is in the range; the version itself closes the connection.
func TestPitfall01AdvertiseProduceMinZero(t *testing.T) {
	b := brokertest.Start(t)
	resp := ask[*kmsg.ApiVersionsResponse](dial(t, b), kmsg.NewPtrApiVersionsRequest())
	for _, k := range resp.ApiKeys {
		if k.ApiKey == 0 && (k.MinVersion != 0 || k.MaxVersion != 13) {
			t.Errorf("Produce %d–%d", k.MinVersion, k.MaxVersion)
		}
	}
	for v := int16(0); v < 3; v++ {
		c := dial(t, b)
		c.write(request(0, v, bytesOf(noClientID, int16(1), int32(0), int32(0))...))
		c.wantClosed()
	}
}

// TestPitfall02ApiVersions: an unknown version is answered in v0's notation with
// error 35 and the range of ApiVersions alone, as in Kafka; the header never has tags;
// names are checked from v3 on.
func TestPitfall02ApiVersions(t *testing.T) {
	b := brokertest.Start(t)
	for v := int16(0); v <= 4; v++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = v, "kgo", "1.2-3"
		resp := ask[*kmsg.ApiVersionsResponse](dial(t, b), req)
		if resp.ErrorCode != 0 || len(resp.ApiKeys) != 37 {
			t.Errorf("v%d: code %d, %d keys", v, resp.ErrorCode, len(resp.ApiKeys))
		}
	}
	for _, v := range []int16{5, 127, -1} { // H21
		c := dial(t, b)
		c.write(request(18, v, bytesOf(noClientID, 0xff, 0xff, 0xff)...))
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.Version = 0
		c.receive(resp, 1)
		if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 ||
			resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MinVersion != 0 || resp.ApiKeys[0].MaxVersion != 4 {
			t.Errorf("v%d: code %d, %+v", v, resp.ErrorCode, resp.ApiKeys)
		}
		ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest()) // and goes on
	}
}

// TestPitfall03UnservedIsLoggedOnce: such a client comes again and again.
func TestPitfall03UnservedIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	b := brokertest.Start(t, brokertest.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	for range 5 {
		c := dial(t, b)
		c.write(request(71, 0, bytesOf(int16(3), "abc", 0)...))
		c.wantClosed()
	}
	b.Restart() // all is written to the log by then
	if n := strings.Count(log.String(), "GetTelemetrySubscriptions"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}

// TestPitfall12LargeRequests: franz-go sends 5.8 MB and more at its defaults.
func TestPitfall12LargeRequests(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 12)
	req := produceRequest(9, -1, "t", 0, nil)
	one := req.Topics[0].Partitions[0]
	req.Topics[0].Partitions = nil
	for i := range int32(12) {
		one.Partition, one.Records = i, records(60_000)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, one)
	}
	for _, p := range ask[*kmsg.ProduceResponse](dial(t, b), req).Topics[0].Partitions {
		if p.ErrorCode != 0 {
			t.Errorf("partition %d: code %d", p.Partition, p.ErrorCode)
		}
	}
}

// TestPitfall18NoTelemetry: librdkafka logs a line per client when it is told.
func TestPitfall18NoTelemetry(t *testing.T) {
	b := brokertest.Start(t)
	for _, k := range ask[*kmsg.ApiVersionsResponse](dial(t, b), kmsg.NewPtrApiVersionsRequest()).ApiKeys {
		if k.ApiKey == 71 || k.ApiKey == 72 {
			t.Errorf("key %d is told", k.ApiKey)
		}
	}
}

// TestPitfall15LeaderEpochOfClients: -1 or 0 in a batch; the broker stamps its own.
func TestPitfall15LeaderEpochOfClients(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	c := dial(t, b)
	for _, epoch := range []int32{-1, 0, 77} {
		one := records(1)
		one.SetLeaderEpoch(epoch)
		if p := produced(ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", 0, one))); p.ErrorCode != 0 {
			t.Errorf("epoch %d: code %d", epoch, p.ErrorCode)
		}
	}
}

// TestCompressedRecords come back as they were sent, whatever the codec.
func TestCompressedRecords(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	createTopic(t, b, "compacted", 1, "cleanup.policy", "compact")
	for name, codec := range map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		for _, topic := range []string{"t", "compacted"} {
			client := b.Client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(topic))
			value := strings.Repeat(name, 1000)
			r := client.ProduceSync(within(t), &kgo.Record{Key: []byte(name), Value: []byte(value)})
			if err := r.FirstErr(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			one, _ := r.First()
			reader := b.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(one.Offset)}}))
			got := reader.PollFetches(within(t)).Records()
			if len(got) == 0 || string(got[0].Value) != value {
				t.Errorf("%s in %s does not come back", name, topic)
			}
		}
	}
}

// TestHandler asks what an operator asks.
func TestHandler(t *testing.T) {
	b := brokertest.Start(t)
	createTopic(t, b, "t", 1)
	mustProduce(t, dial(t, b), "t", 3)
	server := httptest.NewServer(b.Broker().Handler())
	defer server.Close()
	get := func(path string) (int, string) {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, path := range []string{"/healthz", "/readyz", "/debug/pprof/"} {
		if code, _ := get(path); code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
	}
	_, metrics := get("/metrics")
	for _, line := range []string{`weir_produce_records_total{topic="t"} 3`, `weir_panics_total 0`, `weir_request_duration_seconds_count{api="Produce"} 1`, "weir_partitions 1"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics lack %q", line)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := b.Broker().Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	if code, _ := get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz after shutdown: %d", code)
	}
	http.DefaultClient.CloseIdleConnections()
}
