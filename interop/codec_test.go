//go:build unix

package interop

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// storedCodec is the codec of the first batch of a topic, as the broker gives it.
func storedCodec(t *testing.T, address, topic string) int {
	t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.Fetch.Int16(), 12) // the last that names topics
	cl := client(t, address, kgo.MaxVersions(versions))
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 1000, 1, 1<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.Partitions = topic, []kmsg.FetchRequestTopicPartition{p}
	req.Topics = []kmsg.FetchRequestTopic{ft}
	resp, err := req.RequestWith(t.Context(), cl.SeedBrokers()[0])
	if err == nil {
		err = errors.Join(kerr.ErrorForCode(resp.ErrorCode), kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
	}
	if err != nil {
		t.Fatalf("fetch %s: %v", topic, err)
	}
	batches := resp.Topics[0].Partitions[0].RecordBatches
	const attributes = 21 // offset of the field in a record batch
	if len(batches) < attributes+2 {
		t.Fatalf("fetch %s: %d bytes", topic, len(batches))
	}
	return int(binary.BigEndian.Uint16(batches[attributes:]) & 7)
}
