package group

import "github.com/weirstream/weir/internal/assignor"

// consumerMayCommit says whether the sender of a commit may commit at all. Who
// names no epoch is an administrator, or a consumer that assigns itself its
// partitions; it must not disturb a group that has members. In a transaction it may.
func (g *group) consumerMayCommit(from committer) int16 {
	cg := g.consumer
	if from.generation < 0 && len(cg.members) == 0 || from.transactional && from.anonymous() {
		return none
	}
	m := cg.members[from.memberID]
	switch {
	case m == nil:
		return unknownMemberID
	case m.classic == nil && from.version < 9 && !from.transactional:
		return unsupportedVersion
	case m.classic != nil && from.generation != m.epoch:
		return illegalGeneration
	case m.classic == nil && from.generation > m.epoch:
		return staleMemberEpoch
	}
	return none
}

// consumerMayCommitTo says whether it may commit to a partition (KIP-1251): a member
// whose epoch has just moved on may still commit with an older one, as long as it has
// had the partition at that epoch already, and has it still.
func (g *group) consumerMayCommitTo(from committer, topic assignor.TopicID, partition int32) int16 {
	m := g.consumer.members[from.memberID]
	if m == nil || m.classic != nil || from.generation == m.epoch {
		return none
	}
	since, ok := m.assigned[topic][partition]
	if !ok {
		since, ok = m.revoking[topic][partition]
	}
	if !ok || from.generation < since {
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
