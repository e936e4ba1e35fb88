package broker_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weirstream/weir/broker/brokertest"
)

// metric is the value of a metric without labels.
func metric(t *testing.T, b *brokertest.Broker, name string) float64 {
	t.Helper()
	_, page := askPage(b, "/metrics")
	line := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(page)
	if line == nil {
		t.Fatalf("the page has no %s", name)
	}
	v, err := strconv.ParseFloat(line[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestConsumerOffsetsAreCompacted: of many commits of one group only the newest of
// each partition stay, and they are what the next lives of the broker read.
func TestConsumerOffsetsAreCompacted(t *testing.T) {
	if testing.Short() {
		t.Skip("commits 24 MiB")
	}
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		const partitions, commits = 50, 120
		createTopic(t, b, "log", partitions)
		client := b.Client()
		commit := func(offset int64) {
			var offsets kadm.Offsets
			for p := range int32(partitions) {
				offsets.Add(kadm.Offset{Topic: "log", Partition: p, At: offset, LeaderEpoch: -1, Metadata: strings.Repeat("m", 4000)})
			}
			if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "group", offsets); err != nil {
				t.Fatal(err)
			}
		}
		for i := range int64(commits) {
			commit(i)
		}
		time.Sleep(time.Minute)
		if removed := metric(t, b, "weir_compaction_removed_bytes_total"); removed < 14<<20 {
			t.Errorf("%.0f bytes were removed", removed)
		}
		if passes := metric(t, b, "weir_compaction_passes_total"); passes == 0 {
			t.Error("no log was compacted")
		}
		client.Close()
		check := func(when string) {
			t.Helper()
			client := b.Client()
			defer client.Close()
			got, err := kadm.NewClient(client).FetchOffsets(t.Context(), "group")
			if err != nil || len(got["log"]) != partitions {
				t.Fatalf("%s: %d partitions, %v", when, len(got["log"]), err)
			}
			for p, o := range got["log"] {
				if o.At != commits-1 || len(o.Metadata) != 4000 {
					t.Fatalf("%s: partition %d has offset %d", when, p, o.At)
				}
			}
		}
		check("after a minute")
		b.Kill()
		check("after a kill")
		b.Crash(1)
		check("after a power cut")
		b.Restart()
		check("after a restart")
	})
}
