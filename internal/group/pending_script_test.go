package group

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/script"
)

func (s *stage) pendingCommands() map[string]func(script.Args) {
	return map[string]func(script.Args){"pend": s.pend, "end": s.end, "compact": s.compact, "held": s.held}
}

// pend A topic/0=5 … [p=1] [pe=0] [gen=] [id=] [instance=] [group=] [meta=] [v=5]:
// TxnOffsetCommit of producer p with epoch pe
func (s *stage) pend(a script.Args) {
	cl := s.client(a.Words[0])
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version = int16(a.Num("v", 5))
	req.TransactionalID = "tx"
	req.ProducerID, req.ProducerEpoch = int64(a.Num("p", 1)), int16(a.Num("pe", 0))
	req.Group, req.MemberID, req.InstanceID = a.Str("group", cl.group), a.Str("id", cl.id), cl.instance
	if a.Has("instance") {
		req.InstanceID = kmsg.StringPtr(a.Options["instance"])
	}
	req.Generation = int32(a.Num("gen", int(cl.generation)))
	for _, w := range a.Words[1:] {
		at, offset, _ := strings.Cut(w, "=")
		topic, partition := cutPlace(at)
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = topic
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = int32(atoi(partition)), int64(atoi(offset)), -1
		if a.Has("meta") {
			p.Metadata = kmsg.StringPtr(a.Options["meta"])
		}
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	resp := s.core.CommitTxn(s.now, req, topicID, func(topic string, partition int32) int16 {
		if s.noParts[fmt.Sprintf("%s/%d", topic, partition)] {
			return kerr.UnknownTopicOrPartition.Code
		}
		return 0
	})
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			s.printf("%s pend %s/%d: %s", cl.name, t.Topic, p.Partition, code(p.ErrorCode))
		}
	}
}

// end commit [p=1], end abort [p=1]: the coordinator of transactions has appended the
// marker of producer p
func (s *stage) end(a script.Args) {
	p := int64(a.Num("p", 1))
	s.log = append(s.log, marker(p, a.Words[0] == "commit"))
	s.core.EndTxn(s.now, p, a.Words[0] == "commit")
}

// marker stands for a control batch in the logs of these tests.
func marker(producerID int64, committed bool) Record {
	v := "abort"
	if committed {
		v = "commit"
	}
	return Record{Value: []byte(v), Txn: &Producer{ID: producerID}}
}

// replayed applies a record or a marker.
func replayed(c *Core, r Record) error {
	if r.Key == nil {
		c.ReplayEnd(r.Txn.ID, string(r.Value) == "commit")
		return nil
	}
	return c.Replay(r)
}

// compact has the log cleaned
func (s *stage) compact(script.Args) {
	was := len(s.log)
	s.log = compacted(s.log)
	s.printf("%d of %d records left", len(s.log), was)
}

// compacted is a log as the cleaner leaves it, at its keenest: it looks at what lies
// below the last stable offset; aborted records go, of those with one key all but the
// last, of tombstones all, and markers without records.
func compacted(log []Record) []Record {
	end := len(log) // where the oldest open transaction begins
	open := map[int64]int{}
	ends := make([]bool, len(log)) // of each record: is it committed?
	for i, r := range log {
		switch {
		case r.Key == nil:
			begin, ok := open[r.Txn.ID]
			for k := begin; ok && k < i; k++ {
				if t := log[k].Txn; t != nil && t.ID == r.Txn.ID {
					ends[k] = string(r.Value) == "commit"
				}
			}
			delete(open, r.Txn.ID)
		case r.Txn == nil:
			ends[i] = true
		default:
			if _, ok := open[r.Txn.ID]; !ok {
				open[r.Txn.ID] = i
			}
		}
	}
	for _, begin := range open {
		end = min(end, begin)
	}
	last := map[string]int{}
	for i, r := range log[:end] {
		if r.Key != nil && ends[i] {
			last[string(r.Key)] = i
		}
	}
	var kept []Record
	left := map[int64]bool{} // producers with records that are left
	for i, r := range log {
		switch {
		case i >= end:
			kept = append(kept, r)
		case r.Key == nil:
			if left[r.Txn.ID] {
				kept = append(kept, r)
			}
			left[r.Txn.ID] = false
		case last[string(r.Key)] == i && ends[i] && r.Value != nil:
			kept = append(kept, r)
			if r.Txn != nil {
				left[r.Txn.ID] = true
			}
		}
	}
	return kept
}

// held prints the memory that is counted
func (s *stage) held(script.Args) { s.printf("%d bytes held", s.core.Held()) }
