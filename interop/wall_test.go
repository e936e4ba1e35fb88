//go:build unix

package interop

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestWall runs weir's own applications against Apache Kafka: the same test
// binary that go test ./... runs against the embedded broker, another address.
func TestWall(t *testing.T) {
	in := require(t)
	kafka := apacheKafka(t, in, shortestSession)
	address := kafka.address
	t.Run("applications", func(t *testing.T) {
		out := run(t, "applications", []string{"WEIR_TEST_BROKERS=" + address}, "",
			in.applications, "-test.run", "^TestWall", "-test.v", "-test.timeout", "3m")
		if strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS: TestWall") {
			t.Errorf("not all of the applications ran:\n%s", out)
		}
	})
	t.Run("commands", func(t *testing.T) { commands(t, in, address) })
	t.Run("groups", func(t *testing.T) { groups(t, in, address) })
	t.Run("group tools", func(t *testing.T) { groupTools(t, in, address) })
	t.Run("group clients", func(t *testing.T) { groupClients(t, in, address) })
	// Without the restarts: it takes longer to start on a loaded machine than members wait.
	t.Run("group stories", func(t *testing.T) { stories(t, in, kafka, onKafka()) })
	t.Run("transaction stories", func(t *testing.T) {
		if committed := txnStories(t, in, kafka, flows()[:2], false); !t.Failed() {
			readersAgree(t, in, address, committed)
		}
	})
}

// TestCommands is the other side of it: the same commands on weir's broker.
func TestCommands(t *testing.T) {
	in := require(t)
	address := freeAddress(t)
	weirServe(t, in, address)
	commands(t, in, address)
	groups(t, in, address)
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

// groups walks through what the commands do with a group that has a member, and
// none, of the consumer protocol (KIP-848) on both brokers.
func groups(t *testing.T, in installed, address string) {
	t.Helper()
	dir := t.TempDir()
	weir := func(args ...string) string {
		t.Helper()
		return run(t, "weir "+strings.Join(args, " "), []string{"WEIR_BROKERS=" + address}, "", in.weir, args...)
	}
	says := func(out string, words ...string) {
		t.Helper()
		for _, word := range words {
			if !strings.Contains(out, word) {
				t.Errorf("%q is not in\n%s", word, out)
			}
		}
	}
	createTopic(t, address, "ways", 2)
	leave := joined(t, address, "hikers", "ways", 2)
	says(weir("group", "list", "--state", "stable", "--type", "consumer", "-O", "csv"), "hikers,Stable,consumer,consumer,")
	says(weir("group", "members", "hikers", "-O", "csv"), ",guide,", ",ways:0-1,", ",consumer,")
	says(weir("group", "reset", "hikers", "--topic", "ways", "--to-end"), "would change")
	says(weir("group", "delete", "hikers", "--topic", "ways", "--dry-run"), "unchanged")
	leave()
	undo := filepath.Join(dir, "undo.json")
	says(weir("group", "reset", "hikers", "--topic", "ways", "--to-start", "--execute", "--undo", undo), "hikers  ways   1          -       0      -      0    changed  -")
	says(weir("group", "describe", "hikers", "-O", "csv"), "hikers,Empty,ways,1,0,0,0,")
	says(weir("group", "reset", "hikers", "--from-file", undo, "--execute", "--undo", filepath.Join(dir, "redo.json")), "changed")
	says(weir("group", "delete", "hikers", "--yes"), "deleted")
	if out := weir("group", "list", "-O", "name"); strings.Contains(out, "hikers") {
		t.Errorf("a deleted group is there:\n%s", out)
	}
}

// joined starts a member that asks for the consumer protocol (KIP-848), waits until
// it has all partitions of its topic, and returns what makes it leave.
func joined(t *testing.T, address, group, topic string, partitions int) (leave func()) {
	t.Helper()
	return joinedBy(t, address, group, topic, partitions, kgo.ServerSideBalancer())
}

// joinedBy is joined with a protocol of the caller's choice.
func joinedBy(t *testing.T, address, group, topic string, partitions int, protocol ...kgo.Opt) (leave func()) {
	t.Helper()
	assigned := make(chan struct{}, 16)
	cl := client(t, address, append(protocol, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ClientID("guide"), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			for range got[topic] {
				assigned <- struct{}{}
			}
		}))...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range partitions {
		select {
		case <-assigned:
		case <-ctx.Done():
			t.Fatalf("group %s gets no partitions of %s", group, topic)
		}
	}
	return cl.Close
}
