package broker_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/vfs"
)

var rewriteFormat = flag.Bool("format.rewrite", false, "write the newest directory of testdata anew, as this version writes it")

// formatDirs are data directories as versions of this format left them after a
// kill, one for each version of the checkpoint, the newest last: one part is in
// segments and told of by the checkpoint, the rest in the journal. What they hold
// is beside them as JSON. A format that changes gets a directory of its own; these
// must stay readable.
var formatDirs = []string{"testdata/data-v1-checkpoint1", "testdata/data-v1-checkpoint2", "testdata/data-v1-checkpoint3"}

// formatContents is what a data directory holds, by "topic-partition".
type formatContents struct {
	Records   map[string]map[string]string `json:"records"` // values by offset
	Committed map[string]int64             `json:"committed"`
	Groups    map[string]formatGroup       `json:"groups,omitempty"`
}

// readBroker reads all that a broker serves, as a client.
func readBroker(t *testing.T, b *broker.Broker) formatContents {
	t.Helper()
	out := formatContents{Records: map[string]map[string]string{}, Committed: map[string]int64{}}
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.DialContext),
		kgo.ConsumeTopics("orders", "events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(within(t), "orders", "events")
	if err != nil {
		t.Fatal(err)
	}
	starts, err := adm.ListStartOffsets(within(t), "orders", "events")
	if err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	starts.Each(func(o kadm.ListedOffset) { want -= o.Offset })
	for got := int64(0); got < want; {
		fetches := cl.PollFetches(within(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := fmt.Sprint(r.Topic, "-", r.Partition)
			if out.Records[key] == nil {
				out.Records[key] = map[string]string{}
			}
			out.Records[key][fmt.Sprint(r.Offset)] = string(r.Value)
			got++
		})
	}
	committed, err := adm.FetchOffsets(within(t), "readers")
	if err != nil {
		t.Fatal(err)
	}
	committed.Each(func(o kadm.OffsetResponse) { out.Committed[fmt.Sprint(o.Topic, "-", o.Partition)] = o.At })
	out.Groups = readGroups(t, cl)
	return out
}

func formatConfig(fsys vfs.FS) broker.Config {
	return broker.Config{Dir: "data", FS: fsys, JournalFileBytes: 48 << 10, CheckpointBytes: 20 << 10,
		Settings: map[string]string{"offsets.topic.num.partitions": "2"}}
}

// writeFormat fills a data directory in two lives, the first of which is killed,
// and returns it as a second kill leaves it.
func writeFormat(t *testing.T) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	for life := range 2 {
		b, err := broker.Open(t.Context(), formatConfig(mem))
		if err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.DialContext),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			t.Fatal(err)
		}
		adm := kadm.NewClient(cl)
		if life == 0 {
			for topic, partitions := range map[string]int32{"orders": 2, "events": 1, "gone": 1} {
				age := "60000"
				if _, err := adm.CreateTopic(within(t), partitions, 1, map[string]*string{"segment.ms": &age}, topic); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := adm.DeleteTopic(within(t), "gone"); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 60 {
			r := &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: []byte(fmt.Sprint("order ", life, "/", i, strings.Repeat(".", i*7)))}
			if i%4 == 3 {
				r = &kgo.Record{Topic: "events", Value: []byte(fmt.Sprint("event ", life, "/", i))}
			}
			r.Timestamp = time.UnixMilli(1_700_000_000_000).Add(time.Duration(life*60+i) * 4 * time.Second)
			if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		offsets := kadm.Offsets{}
		offsets.AddOffset("orders", 0, int64(10*(life+1)), -1)
		offsets.AddOffset("events", 0, int64(5*(life+1)), -1)
		if err := adm.CommitAllOffsets(within(t), "readers", offsets); err != nil {
			t.Fatal(err)
		}
		if life == 1 {
			writeGroups(t, cl)
			below := kadm.Offsets{}
			below.AddOffset("events", 0, 3, -1)
			if _, err := adm.DeleteRecords(within(t), below); err != nil {
				t.Fatal(err)
			}
		}
		killed := mem.CrashClone(rand.New(rand.NewPCG(1, uint64(life))), vfs.CrashOptions{KeepUnsynced: true})
		cl.Close()
		if err := b.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		mem = killed
	}
	return mem
}

// TestFormatStaysReadable: a data directory that an earlier version wrote opens
// with all its contents, and a check finds nothing wrong.
func TestFormatStaysReadable(t *testing.T) {
	if *rewriteFormat {
		storeFormat(t, formatDirs[len(formatDirs)-1])
	}
	for i, dir := range formatDirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
			if err != nil || len(b) < 6 || int(b[5]) != i+1 {
				t.Errorf("the checkpoint is not of version %d: %v", i+1, err)
			}
			testFormat(t, dir)
		})
	}
}

func testFormat(t *testing.T, dir string) {
	mem := vfs.NewMem()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Join("data", strings.TrimPrefix(path, filepath.FromSlash(dir)))
		if err := mem.MkdirAll(filepath.Dir(name)); err != nil {
			return err
		}
		f, err := mem.Create(name)
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var want formatContents
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	report, err := broker.Check(t.Context(), mem, "data")
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %v, %+v", err, report)
	}
	b, err := broker.Open(t.Context(), formatConfig(mem))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	got := readBroker(t, b)
	if !maps.Equal(got.Committed, want.Committed) {
		t.Errorf("committed %v, want %v", got.Committed, want.Committed)
	}
	if !reflect.DeepEqual(got.Groups, want.Groups) && len(got.Groups)+len(want.Groups) > 0 {
		t.Errorf("groups %+v, want %+v", got.Groups, want.Groups)
	}
	if len(want.Records) != 3 || !slices.Equal(slices.Sorted(maps.Keys(got.Records)), slices.Sorted(maps.Keys(want.Records))) {
		t.Fatalf("partitions %v", slices.Sorted(maps.Keys(got.Records)))
	}
	for key, records := range want.Records {
		if !maps.Equal(got.Records[key], records) {
			t.Errorf("%s: %d records, want %d, or other ones", key, len(got.Records[key]), len(records))
		}
	}
}

// storeFormat writes the directory, and what a broker reads of it.
func storeFormat(t *testing.T, to string) {
	mem := writeFormat(t)
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	var dump func(dir string)
	dump = func(dir string) {
		names, err := mem.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			info, err := mem.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir {
				dump(path)
				continue
			}
			if name == "lock" || name == "ballast" || strings.HasSuffix(name, ".spare") {
				continue
			}
			f, err := mem.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, info.Size)
			if _, err := f.ReadAt(b, 0); err != nil && info.Size > 0 {
				t.Fatal(err)
			}
			name := filepath.Join(to, strings.TrimPrefix(path, "data"))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	dump("data")
	b, err := broker.Open(t.Context(), formatConfig(mem))
	if err != nil {
		t.Fatal(err)
	}
	contents := readBroker(t, b)
	if err := b.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(contents, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".json", append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
