package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestDeleteTopicOfVeryManyOffsets: a topic whose committed offsets are more than
// one frame of the journal can forget is deleted all the same, and a power cut
// brings neither back.
func TestDeleteTopicOfVeryManyOffsets(t *testing.T) {
	const groups, partitions = 40, 500
	b := brokertest.Start(t)
	name := strings.Repeat("n", 249)
	createTopic(t, b, name, partitions)
	adm := kadm.NewClient(b.Client())
	defer adm.Close()
	offsets := kadm.Offsets{}
	for n := range int32(partitions) {
		offsets.AddOffset(name, n, 1, -1)
	}
	for g := range groups {
		if err := adm.CommitAllOffsets(within(t), fmt.Sprint("g", g), offsets); err != nil {
			t.Fatal(err)
		}
	}
	deleteTopic(t, b, name)
	b.Crash(1)
	createTopic(t, b, name, partitions)
	again := kadm.NewClient(b.Client())
	defer again.Close()
	for g := range groups {
		left, err := again.FetchOffsets(within(t), fmt.Sprint("g", g))
		if err != nil {
			t.Fatal(err)
		}
		if len(left[name]) > 0 {
			t.Fatalf("group %d has %d offsets in the new topic", g, len(left[name]))
		}
	}
}
