//go:build unix

package interop

import (
	"strings"
	"testing"
)

// TestWall runs weir's own applications against Apache Kafka: the same test
// binary that go test ./... runs against the embedded broker, another address.
func TestWall(t *testing.T) {
	in := require(t)
	address := apacheKafka(t, in)
	t.Run("applications", func(t *testing.T) {
		out := run(t, "applications", []string{"WEIR_TEST_BROKERS=" + address}, "",
			in.applications, "-test.run", "^TestWall", "-test.v", "-test.timeout", "3m")
		if strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS: TestWall") {
			t.Errorf("not all of the applications ran:\n%s", out)
		}
	})
	t.Run("commands", func(t *testing.T) { commands(t, in, address) })
}

// TestCommands is the other side of it: the same commands on weir's broker.
func TestCommands(t *testing.T) {
	in := require(t)
	address := freeAddress(t)
	weirServe(t, in, address)
	commands(t, in, address)
}

// commands walk through the life of a topic and a group.
func commands(t *testing.T, in installed, address string) {
	t.Helper()
	weir := func(stdin string, args ...string) string {
		t.Helper()
		return run(t, "weir "+strings.Join(args, " "), []string{"WEIR_BROKERS=" + address}, stdin, in.weir, args...)
	}
	weir("", "topic", "create", "walk", "-p", "2")
	if out := weir("", "topic", "list", "-O", "name"); !strings.Contains(out, "walk") {
		t.Errorf("topic list printed:\n%s", out)
	}
	weir("a:1\nb:2\na:3\n", "produce", "walk", "-K", ":")
	out := weir("", "consume", "walk", "-g", "walkers", "-o", "start", "-n", "3", "-f", "%k=%v\n")
	for _, want := range []string{"a=1", "b=2", "a=3"} {
		if countLines(strings.Split(out, "\n"), want) != 1 {
			t.Errorf("consume did not print %q once:\n%s", want, out)
		}
	}
	if out := weir("", "group", "describe", "walkers"); !strings.Contains(out, "walk") {
		t.Errorf("group describe printed:\n%s", out)
	}
	weir("", "topic", "delete", "walk", "--yes")
}
