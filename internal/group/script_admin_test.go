package group

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/script"
)

// delete-group group
func (s *stage) deleteGroup(a script.Args) {
	s.printf("delete %s: %s", a.Words[0], code(s.core.DeleteGroup(s.now, strings.Trim(a.Words[0], `"`))))
}

// delete-offsets group topic/0 …
func (s *stage) deleteOffsets(a script.Args) {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = strings.Trim(a.Words[0], `"`)
	for _, w := range a.Words[1:] {
		topic, partition := cutPlace(w)
		p := kmsg.NewOffsetDeleteRequestTopicPartition()
		p.Partition = int32(atoi(partition))
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	resp := s.core.DeleteOffsets(s.now, req, func(topic string, partition int32) bool {
		return !s.noParts[fmt.Sprintf("%s/%d", topic, partition)]
	})
	s.printf("delete offsets of %s: %s", req.Group, code(resp.ErrorCode))
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			s.printf("  %s/%d: %s", t.Topic, p.Partition, code(p.ErrorCode))
		}
	}
}

// timeline group [last=n]: when, what, who, epoch, how long, how many
func (s *stage) timeline(a script.Args) {
	events, ok := s.core.Timeline(a.Words[0])
	if !ok {
		s.printf("no timeline of %s", a.Words[0])
	}
	for _, e := range events[max(0, len(events)-a.Num("last", maxEvents)):] {
		var b strings.Builder
		fmt.Fprintf(&b, "  +%v %s", e.At.Sub(time.UnixMilli(1_000_000)), e.Kind)
		if e.Member != "" {
			fmt.Fprintf(&b, " %s", e.Member)
		}
		if e.Instance != "" {
			fmt.Fprintf(&b, "(%s)", e.Instance)
		}
		fmt.Fprintf(&b, " epoch=%d members=%d", e.Epoch, e.Members)
		if e.Duration != 0 {
			fmt.Fprintf(&b, " after=%v", e.Duration)
		}
		if e.Moved != 0 {
			fmt.Fprintf(&b, " moved=%d", e.Moved)
		}
		s.printf("%s: %s", b.String(), e.Reason)
	}
}

// subscription is the metadata of a consumer: what a script writes as [a+b] after
// the name of a protocol. Anything else is taken as it stands.
func subscription(meta string) []byte {
	list, ok := strings.CutPrefix(meta, "[")
	if !ok {
		return []byte(meta)
	}
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = 1
	for _, topic := range strings.Split(strings.TrimSuffix(list, "]"), "+") {
		if topic != "" {
			m.Topics = append(m.Topics, topic)
		}
	}
	return m.AppendTo(nil)
}

// assignment is the same of what a leader assigns: [a/0+a/1].
func assignment(what string) []byte {
	list, ok := strings.CutPrefix(what, "[")
	if !ok {
		return []byte(what)
	}
	m := kmsg.NewConsumerMemberAssignment()
	for _, tp := range strings.Split(strings.TrimSuffix(list, "]"), "+") {
		if tp == "" {
			continue
		}
		topic, partition := cutPlace(tp)
		t := kmsg.NewConsumerMemberAssignmentTopic()
		t.Topic, t.Partitions = topic, []int32{int32(atoi(partition))}
		m.Topics = append(m.Topics, t)
	}
	return m.AppendTo(nil)
}

// words is what a script prints of metadata or of an assignment that it made with
// subscription or assignment: both as they were written.
func words(b []byte) string {
	var sub kmsg.ConsumerMemberMetadata
	if sub.ReadFrom(b) == nil && len(sub.AppendTo(nil)) == len(b) {
		return "[" + strings.Join(sub.Topics, "+") + "]"
	}
	var as kmsg.ConsumerMemberAssignment
	if as.ReadFrom(b) == nil && len(as.AppendTo(nil)) == len(b) {
		var list []string
		for _, t := range as.Topics {
			for _, p := range t.Partitions {
				list = append(list, fmt.Sprintf("%s/%d", t.Topic, p))
			}
		}
		return "[" + strings.Join(list, "+") + "]"
	}
	return string(b)
}
