package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/weirstream/weir/internal/assignor"
)

// consumerMayCommit says whether the sender of an OffsetCommit may commit at all. Who
// names no epoch is an administrator, or a consumer that assigns itself its
// partitions; it must not disturb a group that has members.
func (g *group) consumerMayCommit(req *kmsg.OffsetCommitRequest) int16 {
	cg := g.consumer
	if req.Generation < 0 && len(cg.members) == 0 {
		return none
	}
	m := cg.members[req.MemberID]
	switch {
	case m == nil:
		return unknownMemberID
	case m.classic == nil && req.Version < 9:
		return unsupportedVersion
	case m.classic != nil && req.Generation != m.epoch:
		return illegalGeneration
	case m.classic == nil && req.Generation > m.epoch:
		return staleMemberEpoch
	}
	return none
}

// consumerMayCommitTo says whether it may commit to a partition (KIP-1251): a member
// whose epoch has just moved on may still commit with an older one, as long as it has
// had the partition at that epoch already, and has it still.
func (g *group) consumerMayCommitTo(req *kmsg.OffsetCommitRequest, topic assignor.TopicID, partition int32) int16 {
	m := g.consumer.members[req.MemberID]
	if m == nil || m.classic != nil || req.Generation == m.epoch {
		return none
	}
	since, ok := m.assigned[topic][partition]
	if !ok {
		since, ok = m.revoking[topic][partition]
	}
	if !ok || req.Generation < since {
		return staleMemberEpoch
	}
	return none
}

// consumerMayFetch checks the member of an OffsetFetch, if it names one.
func (g *group) consumerMayFetch(memberID *string, epoch int32) int16 {
	if memberID == nil && epoch < 0 {
		return none
	}
	var m *consumer
	if memberID != nil {
		m = g.consumer.members[*memberID]
	}
	switch {
	case m == nil:
		return unknownMemberID
	case epoch == m.epoch:
		return none
	case m.classic != nil:
		return illegalGeneration
	}
	return staleMemberEpoch
}
