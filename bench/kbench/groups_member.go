package main

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicBeater is a member of a classic group.
type classicBeater struct {
	conn       *sharedConn
	group, id  string
	generation int32
}

func (b *classicBeater) turn() (bool, error) {
	code, err := b.heartbeat()
	if err != nil || code == 0 {
		return err == nil, err
	}
	return false, b.join()
}

func (b *classicBeater) interval() (time.Duration, bool) { return 0, false }

func (b *classicBeater) heartbeat() (int16, error) {
	if b.id == "" {
		return kerr.UnknownMemberID.Code, nil
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, b.group, b.id, b.generation
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	err := b.conn.roundTrip(req, resp)
	return resp.ErrorCode, err
}

// join takes part in a round. What is assigned does not matter; what goes wrong
// is tried again with the next heartbeat.
func (b *classicBeater) join() error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 3, b.group, b.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45_000, 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "kbench"
	req.Protocols = append(req.Protocols, p)
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	if err := b.conn.roundTrip(req, resp); err != nil {
		return err
	}
	b.id, b.generation = resp.MemberID, resp.Generation
	if resp.ErrorCode != 0 {
		b.id = ""
		return nil
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 1, b.group, b.id, b.generation
	for _, m := range resp.Members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID = m.MemberID
		sync.GroupAssignment = append(sync.GroupAssignment, a)
	}
	return b.conn.roundTrip(sync, sync.ResponseKind())
}

func (b *classicBeater) commit(topic string, partition int32, at int64) error {
	return commitOne(b.conn, 8, b.group, b.id, b.generation, topic, partition, at)
}

func commitOne(conn *sharedConn, version int16, group, id string, generation int32, topic string, partition int32, at int64) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, group, id, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, at
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	if err := conn.roundTrip(req, resp); err != nil {
		return err
	}
	err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	if errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.StaleMemberEpoch) {
		return nil // the next heartbeat tells what is new
	}
	return err
}

// consumerBeater is a member of a group of the next protocol (KIP-848).
type consumerBeater struct {
	conn             *sharedConn
	group, id, topic string
	epoch            int32
	told             time.Duration // by the broker
	quiet            bool          // the last answer brought nothing new
	has              []kmsg.ConsumerGroupHeartbeatRequestTopic
}

// turn says what the member has until an answer brings nothing new, and then only that
// it lives. A member is settled when it has something.
func (b *consumerBeater) turn() (bool, error) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, b.group, b.id, b.epoch
	if b.epoch == 0 {
		b.has = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{b.topic}
	}
	if !b.quiet {
		req.Topics = b.has
	}
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	if err := b.conn.roundTrip(req, resp); err != nil {
		return false, err
	}
	if resp.ErrorCode != 0 {
		b.epoch, b.quiet = 0, false
		return false, nil
	}
	b.quiet = resp.MemberEpoch == b.epoch && resp.Assignment == nil
	b.epoch, b.told = resp.MemberEpoch, time.Duration(resp.HeartbeatIntervalMillis)*time.Millisecond
	if resp.Assignment != nil {
		b.has = b.has[:0]
		for _, t := range resp.Assignment.Topics {
			b.has = append(b.has, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: slices.Clone(t.Partitions)})
		}
	}
	return b.quiet && len(b.has) > 0, nil
}

// interval is the broker's until the member has settled, as clients have it; then all
// have the one that is measured.
func (b *consumerBeater) interval() (time.Duration, bool) { return b.told, !b.quiet && b.told > 0 }

func (b *consumerBeater) commit(topic string, partition int32, at int64) error {
	return commitOne(b.conn, 9, b.group, b.id, b.epoch, topic, partition, at)
}
