//go:build unix

package interop

import (
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
	offsets := readings(readers["weir"]).offsets
	for name, out := range readers {
		got := readings(out)
		for topic, of := range committed {
			for p, want := range of {
				if has := got.values[topic][p]; !slices.Equal(has, want) {
					t.Errorf("%s, %s-%d: %s", name, topic, p, difference(has, want))
				}
			}
		}
		if len(got.values) != len(committed) {
			t.Errorf("%s reads %d topics, not %d; it printed:\n%.2000s", name, len(got.values), len(committed), out)
		}
		if !maps.EqualFunc(got.offsets, offsets, func(a, b map[int32][]string) bool { return maps.EqualFunc(a, b, slices.Equal) }) {
			t.Errorf("%s reads at other offsets than weir", name)
		}
	}
	t.Logf("%d committed records of %d topics read by %d kinds of consumers", total, len(topics), len(readers))
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
