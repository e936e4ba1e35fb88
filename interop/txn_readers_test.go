//go:build unix

package interop

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// readersAgree reads topics as read_committed with three kinds of consumers: weir's,
// the console consumer of Apache Kafka, and confluent-kafka. Each must find what was
// committed, in order, and all must find it at the same offsets.
func readersAgree(t *testing.T, in installed, address string, committed content) {
	t.Helper()
	topics := slices.Sorted(maps.Keys(committed))
	total := 0
	for _, of := range committed {
		for _, values := range of {
			total += len(values)
		}
	}
	readers := map[string]string{
		"weir": run(t, "weir consume", []string{"WEIR_BROKERS=" + address}, "", in.weir,
			append([]string{"consume", "--read-committed", "-e", "-f", `read %t %p %o %v\n`}, topics...)...),
		"confluent-kafka": python(t, in, "committed.py", append([]string{address}, topics...)...),
		"console consumer": java(t, in, "", consoleConsumer, "--bootstrap-server", address, "--include", strings.Join(topics, "|"),
			"--isolation-level", "read_committed", "--from-beginning", "--max-messages", strconv.Itoa(total), "--timeout-ms", "30000", "--formatter", "WithTopic"),
	}
	for _, complaint := range disagreements(readers, committed) {
		t.Error(complaint)
	}
	t.Logf("%d committed records of %d topics read by %d kinds of consumers", total, len(topics), len(readers))
}

// disagreements says where consumers did not print what was committed, or printed it
// at other offsets than one another.
func disagreements(readers map[string]string, committed content) (complaints []string) {
	var first string
	var offsets content
	for _, name := range slices.Sorted(maps.Keys(readers)) {
		got := readings(readers[name])
		for topic, of := range committed {
			for p, want := range of {
				if has := got.values[topic][p]; !slices.Equal(has, want) {
					complaints = append(complaints, fmt.Sprintf("%s, %s-%d: %s", name, topic, p, difference(has, want)))
				}
			}
		}
		for topic, of := range got.values {
			for p := range of {
				if _, ok := committed[topic][p]; !ok {
					complaints = append(complaints, fmt.Sprintf("%s reads %s-%d, where nothing was committed", name, topic, p))
				}
			}
		}
		if offsets == nil {
			first, offsets = name, got.offsets
		} else if !maps.EqualFunc(got.offsets, offsets, func(a, b map[int32][]string) bool { return maps.EqualFunc(a, b, slices.Equal) }) {
			complaints = append(complaints, fmt.Sprintf("%s reads at other offsets than %s", name, first))
		}
	}
	return complaints
}

// reading is what a consumer printed, by topic and partition, in order.
type reading struct{ values, offsets content }

var readLine = regexp.MustCompile(`(?m)^read (\S+) (\d+) (\d+) (\S+)$`)

func readings(out string) reading {
	r := reading{values: content{}, offsets: content{}}
	for _, m := range readLine.FindAllStringSubmatch(out, -1) {
		topic := m[1]
		p, _ := strconv.ParseInt(m[2], 10, 32)
		if r.values[topic] == nil {
			r.values[topic], r.offsets[topic] = map[int32][]string{}, map[int32][]string{}
		}
		r.values[topic][int32(p)] = append(r.values[topic][int32(p)], m[4])
		r.offsets[topic][int32(p)] = append(r.offsets[topic][int32(p)], m[3])
	}
	return r
}

// difference says in few words where two lists part.
func difference(got, want []string) string {
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	part := func(of []string) []string { return of[n:min(n+5, len(of))] }
	return "read " + strconv.Itoa(len(got)) + " records, want " + strconv.Itoa(len(want)) + "; record " + strconv.Itoa(n) +
		" and on: " + strings.Join(part(got), " ") + ", want " + strings.Join(part(want), " ")
}

func TestDisagreements(t *testing.T) {
	committed := content{"a": {0: {"x", "y"}, 1: {"z"}}}
	good := "talk of a library\nread a 0 0 x\nread a 1 4 z\nread a 0 2 y\n"
	if got := disagreements(map[string]string{"one": good, "two": good}, committed); len(got) > 0 {
		t.Errorf("those who agree: %v", got)
	}
	for want, out := range map[string]string{
		"two, a-0: read 1 records, want 2; record 1 and on: , want y":      "read a 0 0 x\nread a 1 4 z\n",
		"two, a-0: read 3 records, want 2; record 2 and on: x, want ":      good + "read a 0 5 x\n",
		"two, a-0: read 2 records, want 2; record 0 and on: y x, want x y": "read a 0 0 y\nread a 1 4 z\nread a 0 2 x\n",
		"two, a-1: read 0 records, want 1; record 0 and on: , want z":      "read a 0 0 x\nread a 0 2 y\n",
		"two reads a-2, where nothing was committed":                       good + "read a 2 0 x\n",
		"two reads b-0, where nothing was committed":                       good + "read b 0 0 x\n",
		"two reads at other offsets than one":                              "read a 0 0 x\nread a 1 4 z\nread a 0 3 y\n",
	} {
		if got := disagreements(map[string]string{"one": good, "two": out}, committed); !slices.Contains(got, want) {
			t.Errorf("want %q of %q, got %q", want, out, got)
		}
	}
}
