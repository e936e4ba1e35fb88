package sim

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commit commits what was not committed; only of these partitions if some are named.
func (m *session) commit(only map[string][]int32) {
	req, owned := m.commitRequest(only)
	if len(owned) == 0 {
		return
	}
	sent := m.load.cfg.Ledger.Clock()
	// The member may be about to leave; what it was given it commits all the same.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resp, err := req.RequestWith(ctx, m.cl)
	codes := map[int32]error{}
	if err == nil {
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				codes[p.Partition] = kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
	for i, o := range owned {
		offset := req.Topics[0].Partitions[i].Offset
		code, answered := codes[o.Partition.Number]
		if answered && code == nil {
			m.load.cfg.Ledger.Add(Committed{o, offset, sent})
			m.committed(o.Partition, offset)
			continue
		}
		m.load.cfg.Ledger.Add(CommitUnknown{o.Group, o.Partition, offset, m.load.cfg.Incarnation(), fenced(code)})
	}
}

// commitRequest says what is to be committed and as whom. The client's own
// function for it would not tell in which generation or epoch it asked. A member of
// the consumer protocol may name the epoch that it was given its partitions in, or
// its newest (KIP-1251).
func (m *session) commitRequest(only map[string][]int32) (*kmsg.OffsetCommitRequest, []Owned) {
	m.mu.Lock()
	defer m.mu.Unlock()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = m.protocol.group(), m.id, m.epoch, m.instance
	if m.commits++; m.commits%2 == 0 {
		req.Generation = m.granted
	}
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = m.load.topics[0], m.load.grouped
	var owned []Owned
	for p, g := range m.held {
		if g.uncommitted == 0 || m.dead || m.mixedUp || only != nil && !contains(only, p) {
			continue
		}
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = p.Number, g.uncommitted
		topic.Partitions = append(topic.Partitions, part)
		o := m.owned(p)
		o.Epoch = req.Generation
		owned = append(owned, o)
	}
	req.Topics = append(req.Topics, topic)
	return req, owned
}

func contains(all map[string][]int32, p Partition) bool {
	for _, number := range all[p.Topic] {
		if number == p.Number {
			return true
		}
	}
	return false
}

// committed: nothing is left to commit unless more was given meanwhile.
func (m *session) committed(p Partition, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.held[p]; g != nil && g.uncommitted == offset {
		g.uncommitted = 0
	}
}

// fenced says whether an error tells a member that it is none, or an old one.
func fenced(err error) bool {
	for _, e := range []error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.FencedInstanceID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
