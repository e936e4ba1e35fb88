package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/storage"
)

// ListOffsets, key 2, v1–11.
//
//	v4   leader epochs (KIP-320)            v9   -5 latest tiered (KIP-1005)
//	v6   flexible                           v10  timeout (KIP-1075)
//	v7   -3 largest timestamp (KIP-734)     v11  -6 earliest pending upload (KIP-1023)
//	v8   -4 earliest local (KIP-405)
//
// Nothing behind the high watermark is told, and with read_committed nothing
// behind the last stable offset. There is no tiered storage: the earliest local
// offset is the log start, latest tiered and earliest pending upload are -1. A
// partition that is named more than once is INVALID_REQUEST, as in Kafka.

const (
	offsetLatest          = -1
	offsetEarliest        = -2
	offsetMaxTimestamp    = -3
	offsetEarliestLocal   = -4
	offsetLatestTiered    = -5
	offsetEarliestPending = -6
)

func (b *Broker) listOffsets(c *call, req *kmsg.ListOffsetsRequest) {
	resp := kmsg.NewPtrListOffsetsResponse()
	again, n := repeated(req)
	if err := c.reserve(int64(n) * listedBytes); err != nil {
		c.refuse(err)
		return
	}
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := b.metadata.topic(asked.Topic)
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = asked.Topic
		for k := range asked.Partitions {
			q := &asked.Partitions[k]
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = q.Partition
			p.Offset, p.Timestamp, p.LeaderEpoch = -1, -1, -1
			if again[listed{asked.Topic, q.Partition}] {
				p.ErrorCode = kerr.InvalidRequest.Code
			} else if err := b.listOffset(c, req, t, q, &p); err != nil {
				p.ErrorCode = codeOf(err)
				p.Offset, p.Timestamp, p.LeaderEpoch = -1, -1, -1
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	// High watermarks are durable; topics that are not there may wait.
	c.reply(resp, b.metadata.lsn())
}

// listedBytes is about how much memory a partition takes in the answer.
const listedBytes = 192

type listed struct {
	topic     string
	partition int32
}

// repeated finds the partitions that a request names more than once, and counts
// the elements of its answer.
func repeated(req *kmsg.ListOffsetsRequest) (again map[listed]bool, n int) {
	n = len(req.Topics)
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	if n <= 2 {
		return nil, n
	}
	seen := make(map[listed]bool, n)
	for i := range req.Topics {
		t := &req.Topics[i]
		for k := range t.Partitions {
			key := listed{t.Topic, t.Partitions[k].Partition}
			if _, ok := seen[key]; ok {
				seen[key] = true
			} else {
				seen[key] = false
			}
		}
	}
	return seen, n
}

// lowestListVersion is the first version that knows a special timestamp.
func lowestListVersion(timestamp int64) int16 {
	switch timestamp {
	case offsetMaxTimestamp:
		return 7
	case offsetEarliestLocal:
		return 8
	case offsetLatestTiered:
		return 9
	case offsetEarliestPending:
		return 11
	}
	return 1
}

func (b *Broker) listOffset(c *call, req *kmsg.ListOffsetsRequest, t *topic, q *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) error {
	var log *storage.Partition
	if t != nil {
		log = t.partition(q.Partition)
	}
	switch {
	case log == nil:
		return errNoTopic
	case req.ReplicaID >= 0:
		return refuse(kerr.NotLeaderForPartition, "there are no followers")
	case q.Timestamp < offsetEarliestPending || c.version < lowestListVersion(q.Timestamp):
		return refuse(kerr.UnsupportedVersion, "special timestamp is unknown in this version")
	}
	if code := checkLeaderEpoch(log, q.CurrentLeaderEpoch); code != 0 {
		return &kafkaError{code: code}
	}
	marks := log.Offsets()
	end := marks.High
	if req.IsolationLevel == 1 {
		end = marks.Stable
	}
	out.LeaderEpoch = log.LeaderEpoch()
	var err error
	switch q.Timestamp {
	case offsetLatest:
		out.Offset = end
	case offsetEarliest, offsetEarliestLocal:
		out.Offset, out.LeaderEpoch = log.Earliest()
	case offsetLatestTiered, offsetEarliestPending:
		out.LeaderEpoch = -1
	case offsetMaxTimestamp:
		err = offsetOfMaxTimestamp(log, req.IsolationLevel == 1, out)
	default:
		err = offsetForTime(log, q.Timestamp, end, out)
	}
	return readFailure(err)
}

// offsetOfMaxTimestamp looks at the whole log. With read_committed, when the
// largest timestamp lies behind the last stable offset, nothing is told, not the
// largest before it. The offset is looked at after the search, since it only rises:
// what is stable by then may be told.
func offsetOfMaxTimestamp(log *storage.Partition, committed bool, out *kmsg.ListOffsetsResponseTopicPartition) error {
	offset, timestamp, epoch, err := log.MaxTimestamp()
	if err != nil || committed && offset >= log.Offsets().Stable {
		offset, timestamp, epoch = -1, -1, -1
	}
	out.Offset, out.Timestamp, out.LeaderEpoch = offset, timestamp, epoch
	return err
}

func offsetForTime(log *storage.Partition, timestamp, end int64, out *kmsg.ListOffsetsResponseTopicPartition) error {
	offset, found, epoch, ok, err := log.OffsetForTime(timestamp)
	if err != nil || !ok || offset >= end {
		out.LeaderEpoch = -1
		return err
	}
	out.Offset, out.Timestamp, out.LeaderEpoch = offset, found, epoch
	return nil
}

// readFailure gives a failure to read the log the code that clients retry.
func readFailure(err error) error {
	if err == nil || errors.Is(err, storage.ErrDeleted) {
		return err
	}
	return refuse(kerr.KafkaStorageError, err.Error())
}
