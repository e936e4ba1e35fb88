//go:build unix

package interop

import (
	"fmt"
	"path/filepath"
	"strconv"
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

// TestPythonGroupSharesPartitions: two members of one group share the
// partitions of a topic; one is killed, and the other takes them all and reads
// what comes after.
func TestPythonGroupSharesPartitions(t *testing.T) {
	for _, script := range []string{"group_member.py", "confluent_group_member.py"} {
		t.Run(strings.TrimSuffix(script, ".py"), func(t *testing.T) {
			in := require(t)
			address := freeAddress(t)
			weirServe(t, in, address)
			createTopic(t, address, "shared", 4)
			member := func(name string) *process {
				return start(t, name, nil, in.python, filepath.Join("python", script), address, "shared", "sharers")
			}
			first, second := member("first"), member("second")
			first.until("half of the partitions", func(l []string) bool { return lastAssigned(l) == 2 })
			second.until("half of the partitions", func(l []string) bool { return lastAssigned(l) == 2 })
			produceEach(t, address, "shared", 4, "before")
			total := func(text string) int {
				return countLines(strings.Split(first.output(), "\n"), text) + countLines(strings.Split(second.output(), "\n"), text)
			}
			first.until("two records", func(l []string) bool { return countLines(l, "before") == 2 })
			second.until("two records", func(l []string) bool { return countLines(l, "before") == 2 })
			if n := total("before"); n != 4 {
				t.Errorf("the members read %d records, want 4", n)
			}
			second.kill()
			first.until("all partitions", func(l []string) bool { return lastAssigned(l) == 4 })
			produceEach(t, address, "shared", 4, "after")
			first.until("the records of all partitions", func(l []string) bool { return countLines(l, "after") == 4 })
		})
	}
}

// lastAssigned is the number in the last line "assigned N".
func lastAssigned(lines []string) int {
	for i := len(lines) - 1; i >= 0; i-- {
		if rest, ok := strings.CutPrefix(lines[i], "assigned "); ok {
			n, _ := strconv.Atoi(rest)
			return n
		}
	}
	return -1
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
