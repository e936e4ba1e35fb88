package broker

import (
	"maps"
	"testing"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
)

// TestSalvagedMetadata: a metadata log that is made anew says what the one before
// said of topics and groups.
func TestSalvagedMetadata(t *testing.T) {
	img := meta.NewImage()
	for _, r := range []meta.Record{
		meta.ClusterRecord{ClusterID: "c"},
		meta.TopicRecord{Name: "t", ID: [16]byte{1}, Partitions: 2},
		meta.TopicConfigsRecord{Name: "t", ID: [16]byte{1}, Configs: map[string]string{"retention.ms": "7"}},
		meta.TopicPartitionsRecord{Name: "t", ID: [16]byte{1}, Partitions: 5},
		meta.LogStartRecord{ID: [16]byte{1}, Starts: []meta.LogStart{{Partition: 4, Offset: 3}}},
		meta.GroupConfigsRecord{Name: "g", Configs: map[string]string{"consumer.session.timeout.ms": "50000"}},
	} {
		var err error
		if img, err = img.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	again := &catalog{image: meta.NewImage(), deleted: map[[16]byte]bool{}}
	rebuilt := (&catalog{image: img}).Rebuild(1)
	if err := again.Apply(batch.Batch(rebuilt)); err != nil {
		t.Fatal(err)
	}
	got := again.image.Topic("t")
	if got == nil || got.ID != [16]byte{1} || got.Partitions != 5 || got.Configs["retention.ms"] != "7" || again.image.LogStart(got.ID, 4) != 3 {
		t.Errorf("topic is %+v", got)
	}
	if !maps.Equal(again.image.GroupConfigs("g"), img.GroupConfigs("g")) || again.image.ClusterID() != "c" {
		t.Errorf("group has %v", again.image.GroupConfigs("g"))
	}
}
