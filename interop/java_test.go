//go:build unix

package interop

import (
	"regexp"
	"strings"
	"testing"
)

const (
	consoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	consoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	consumerGroups  = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	topics          = "org.apache.kafka.tools.TopicCommand"
)

// TestJavaConsole sends lines through Apache Kafka's console producer (which is
// idempotent by default), reads them with its console consumer in a group, and
// looks at the group with kafka-consumer-groups --describe.
func TestJavaConsole(t *testing.T) {
	in := require(t)
	address := freeAddress(t)
	weirServe(t, in, address)
	java(t, in, "", topics, "--bootstrap-server", address, "--create", "--topic", "lines", "--partitions", "2")
	if out := java(t, in, "", topics, "--bootstrap-server", address, "--describe", "--topic", "lines"); !strings.Contains(out, "PartitionCount: 2") {
		t.Errorf("kafka-topics --describe printed:\n%s", out)
	}

	java(t, in, "one\ntwo\nthree\n", consoleProducer, "--bootstrap-server", address, "--topic", "lines")
	out := java(t, in, "", consoleConsumer, "--bootstrap-server", address, "--topic", "lines", "--group", "readers",
		"--from-beginning", "--max-messages", "3", "--timeout-ms", "30000")
	for _, line := range []string{"one", "two", "three"} {
		if countLines(strings.Split(out, "\n"), line) != 1 {
			t.Errorf("%q was not read once; the console consumer printed:\n%s", line, out)
		}
	}

	out = java(t, in, "", consumerGroups, "--bootstrap-server", address, "--describe", "--group", "readers")
	row := regexp.MustCompile(`readers\s+lines\s+([01])\s+(\d+)\s+(\d+)\s+0\s`)
	if rows := row.FindAllStringSubmatch(out, -1); len(rows) == 0 {
		t.Errorf("kafka-consumer-groups --describe shows no partition without lag:\n%s", out)
	}
	if out = java(t, in, "", consumerGroups, "--bootstrap-server", address, "--list"); !strings.Contains(out, "readers") {
		t.Errorf("kafka-consumer-groups --list printed:\n%s", out)
	}
}
