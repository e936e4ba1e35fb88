//go:build unix

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

const guideMessage = "Received message: {'event_type': 'user_login', 'user_id': 12345, 'timestamp': 1678886400}"

// TestGuidePrograms runs the guide's producer and consumer, unmodified, where
// they expect a broker.
func TestGuidePrograms(t *testing.T) {
	in := require(t)
	weirServe(t, in, guideAddress)
	if out := python(t, in, "producer.py"); !strings.Contains(out, "Message sent successfully!") {
		t.Fatalf("producer.py printed:\n%s", out)
	}
	if n := endOffset(t, guideAddress, "my-topic"); n != 1 {
		t.Fatalf("my-topic holds %d records, want 1", n)
	}
	consumer := start(t, "consumer.py", nil, in.python, filepath.Join("python", "consumer.py"))
	consumer.says(guideMessage)
	python(t, in, "producer.py")
	consumer.until("second message", func(lines []string) bool { return countLines(lines, guideMessage) == 2 })
}

// TestGuideProgramsConfluent is the same with the other Python client.
func TestGuideProgramsConfluent(t *testing.T) {
	in := require(t)
	weirServe(t, in, guideAddress)
	if out := python(t, in, "confluent_producer.py"); !strings.Contains(out, "Message sent successfully!") {
		t.Fatalf("confluent_producer.py printed:\n%s", out)
	}
	consumer := start(t, "confluent_consumer.py", nil, in.python, filepath.Join("python", "confluent_consumer.py"))
	consumer.says(guideMessage)
}

// produceEach writes one record to each partition.
func produceEach(t *testing.T, address, topic string, partitions int32, value string) {
	t.Helper()
	cl := client(t, address, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for p := range partitions {
		r := &kgo.Record{Topic: topic, Partition: p, Value: fmt.Appendf(nil, "%s-%d", value, p)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPythonCompression: each codec that the clients offer arrives as such (a
// client that mistrusts the broker's versions sends uncompressed, silently) and
// is read back.
func TestPythonCompression(t *testing.T) {
	in := require(t)
	address := freeAddress(t)
	weirServe(t, in, address)
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	for _, library := range []string{"kafka-python", "confluent-kafka"} {
		for want, codec := range codecs {
			topic := library + "-" + codec
			createTopic(t, address, topic, 1)
			out := python(t, in, "compress.py", library, address, topic, codec)
			if !strings.Contains(out, "read 100 of 100") {
				t.Errorf("%s: %s", topic, out)
			}
			if got := storedCodec(t, address, topic); got != want {
				t.Errorf("%s is stored with codec %d, want %d", topic, got, want)
			}
		}
	}
}
