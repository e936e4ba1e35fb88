//go:build unix

package interop

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestGroupTools drives the tools and admin clients of others on weir; TestWall
// does the same on Apache Kafka.
func TestGroupTools(t *testing.T) {
	in := require(t)
	address := freeAddress(t)
	weirServe(t, in, address)
	groupTools(t, in, address)
	groupClients(t, in, address)
}

// twoGroups makes a topic of two partitions with three records each, and two
// groups that have read a part of it, each with one member.
func twoGroups(t *testing.T, address, topic, classic, consumer string) (leave func()) {
	t.Helper()
	createTopic(t, address, topic, 2)
	for n := range 3 {
		produceEach(t, address, topic, 2, fmt.Sprint(n))
	}
	for _, group := range []string{classic, consumer} {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 2, LeaderEpoch: -1})
		offsets.Add(kadm.Offset{Topic: topic, Partition: 1, At: 1, LeaderEpoch: -1})
		if err := kadm.NewClient(client(t, address)).CommitAllOffsets(t.Context(), group, offsets); err != nil {
			t.Fatal(err)
		}
	}
	first := joinedBy(t, address, classic, topic, 2, kgo.Balancers(kgo.RangeBalancer()))
	second := joined(t, address, consumer, topic, 2)
	return func() {
		first()
		second()
	}
}

// groupTools runs kafka-consumer-groups, of Apache Kafka, on groups that have a
// member and then none.
func groupTools(t *testing.T, in installed, address string) {
	t.Helper()
	groups := []string{"runners", "climbers"} // the classic and the consumer protocol
	leave := twoGroups(t, address, "trails", groups[0], groups[1])
	var active, empty []toolCall
	active = append(active,
		toolCall{"--list --type classic --state stable", []string{`runners +Classic +Stable`}},
		toolCall{"--list --type consumer", []string{`climbers +Consumer`}})
	for _, g := range groups {
		active = append(active, activeCalls(g)...)
		empty = append(empty, emptyCalls(g)...)
	}
	tool(t, in, "Groups", address, active)
	leave()
	tool(t, in, "Groups", address, empty)
	ids, err := kadm.NewClient(client(t, address)).ListGroups(t.Context())
	if err != nil {
		t.Fatalf("list groups: %v", err)
	}
	for _, g := range groups {
		if _, ok := ids[g]; ok {
			t.Errorf("group %s is there after it was deleted", g)
		}
	}
}

// toolCall is one call of a tool, and expressions that each match
// in what it prints.
type toolCall struct {
	args string
	want []string
}

func activeCalls(group string) []toolCall {
	assignor := map[string]string{"runners": "range", "climbers": "uniform"}[group]
	return []toolCall{
		{"--describe --group " + group, []string{group + ` +trails +0 +2 +3 +1 +\S+ +/127\.0\.0\.1 +guide`, group + ` +trails +1 +1 +3 +2 +\S+ +/127\.0\.0\.1 +guide`}},
		{"--describe --members --verbose --group " + group, []string{group + ` +\S+ +/127\.0\.0\.1 +guide +2 .*trails[(:]0,1`}},
		{"--describe --state --group " + group, []string{group + ` +\S+ +\(1\) +` + assignor + ` +Stable .*1`}},
		{"--reset-offsets --to-earliest --topic trails --execute --group " + group, []string{`inactive, but the current state is Stable`}},
		{"--delete --group " + group, []string{`could not be deleted.*GroupNotEmptyException`}},
		{"--delete-offsets --topic trails --group " + group, []string{`(?s)trails +0 +Error.*subscribed`}},
	}
}

func emptyCalls(group string) []toolCall {
	return []toolCall{
		{"--describe --state --group " + group, []string{group + ` .*Empty +0`}},
		{"--reset-offsets --to-latest --topic trails --dry-run --group " + group, []string{group + ` +trails +0 +3`, group + ` +trails +1 +3`}},
		{"--reset-offsets --shift-by -1 --topic trails --execute --group " + group, []string{group + ` +trails +0 +1`, group + ` +trails +1 +0`}},
		{"--describe --group " + group, []string{group + ` +trails +0 +1 +3 +2 `, group + ` +trails +1 +0 +3 +3 `}},
		{"--reset-offsets --to-latest --topic trails:1 --execute --group " + group, []string{group + ` +trails +1 +3`}},
		{"--delete-offsets --topic trails:0 --group " + group, []string{`trails +0 +Successful`}},
		{"--describe --group " + group, []string{group + ` +trails +1 +3 +3 +0 `}},
		{"--delete --group " + group, []string{`Deletion of requested consumer groups \('` + group + `'\) was successful`}},
	}
}

// tool makes calls, one after the other, by a program of the folder java that runs
// one of Apache Kafka's tools for each line of its input.
func tool(t *testing.T, in installed, program, address string, calls []toolCall) {
	t.Helper()
	var lines strings.Builder
	for _, c := range calls {
		fmt.Fprintln(&lines, c.args)
	}
	out := java(t, in, lines.String(), program, address)
	printed := strings.Split("\n"+out, "\n$ ")[1:]
	if len(printed) != len(calls) {
		t.Fatalf("%s was called %d times, printed:\n%s", program, len(calls), out)
	}
	for i, c := range calls {
		for _, want := range c.want {
			if !regexp.MustCompile(want).MatchString(printed[i]) {
				t.Errorf("%s does not match in what %s printed:\n%s", want, program, printed[i])
			}
		}
	}
}

// groupClients runs the admin clients of both Python libraries.
func groupClients(t *testing.T, in installed, address string) {
	t.Helper()
	leave := twoGroups(t, address, "paths", "walkers-of-paths", "hikers-of-paths")
	for _, library := range []string{"kafka-python", "confluent-kafka"} {
		python(t, in, "admin.py", library, address, "paths", "walkers-of-paths", "hikers-of-paths")
	}
	leave()
}
