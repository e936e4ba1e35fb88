package broker

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/storage"
)

// mustCommit appends to a log as the broker itself does, and waits.
func mustCommit(t *testing.T, b *Broker, log *storage.Partition, batches []byte) {
	t.Helper()
	lsn, err := b.store.Commit(t.Context(), []storage.Append{{Partition: log, Batches: batches}})
	if err == nil {
		err = b.store.Wait(context.Background(), lsn, storage.Durable)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestListOffsetsStable: with read_committed nothing behind the last stable offset
// is told. When the largest timestamp lies there, that is no offset at all, as in
// Apache Kafka.
func TestListOffsetsStable(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 1)
	log := b.metadata.topic("t").partition(0)
	c := fuzzDial(t, b)
	defer c.Close()
	check := func(when string, isolation int8, timestamp, offset, found int64) {
		t.Helper()
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID, req.IsolationLevel = 9, -1, isolation
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: timestamp, CurrentLeaderEpoch: -1}}}}
		mustWrite(t, c, encode(req, 1))
		resp := kmsg.NewPtrListOffsetsResponse()
		decodeAnswer(t, c, resp, req.Version)
		p := resp.Topics[0].Partitions[0]
		epoch := log.LeaderEpoch()
		if offset < 0 {
			epoch = -1
		}
		if p.ErrorCode != 0 || p.Offset != offset || p.Timestamp != found || p.LeaderEpoch != epoch {
			t.Errorf("%s: %d with isolation %d: code %d, offset %d at %d in epoch %d, want %d at %d", when, timestamp, isolation,
				p.ErrorCode, p.Offset, p.Timestamp, p.LeaderEpoch, offset, found)
		}
	}
	check("empty", 0, offsetMaxTimestamp, -1, -1)
	check("empty", 1, offsetMaxTimestamp, -1, -1)
	mustCommit(t, b, log, batch.Build(batch.BuildOptions{}, batch.Record{Timestamp: 100}))
	check("stable", 1, offsetMaxTimestamp, 0, 100)
	mustCommit(t, b, log, batch.Build(batch.BuildOptions{Transactional: true, Producer: &batch.Producer{ID: 7}}, batch.Record{Timestamp: 500}))
	for isolation, end := range []int64{2, 1} {
		check("open", int8(isolation), offsetLatest, end, -1)
	}
	check("open", 0, offsetMaxTimestamp, 1, 500)
	check("open", 1, offsetMaxTimestamp, -1, -1)
	check("open", 0, 200, 1, 500)
	check("open", 1, 200, -1, -1)
	check("open", 1, 50, 0, 100)
	mustCommit(t, b, log, batch.BuildMarker(7, 0, 400, batch.Marker{Commit: true}))
	check("ended", 1, offsetLatest, 3, -1)
	check("ended", 1, offsetMaxTimestamp, 1, 500)
	check("ended", 1, 200, 1, 500)
}
