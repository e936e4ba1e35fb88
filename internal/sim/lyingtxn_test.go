package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// count counts a lie that is told often.
func (s *shim) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told++
}

// tenth says yes every tenth time.
func (s *shim) tenth() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slips++
	return s.slips%10 == 0
}

// feignsEnds answers every tenth end of a transaction and does nothing.
func feignsEnds(s *shim, req kmsg.Request, _ exchange) (kmsg.Response, error) {
	r, ok := req.(*kmsg.EndTxnRequest)
	if !ok {
		return nil, nil
	}
	if !s.tenth() {
		return nil, nil
	}
	s.count()
	resp := r.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = r.ProducerID, r.ProducerEpoch
	return resp, nil
}

// alters changes what the broker answers to a Fetch request, partition by partition. f
// says whether it did.
func alters(f func(s *shim, number int32, p *kmsg.FetchResponseTopicPartition) bool) lie {
	return func(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
		if _, ok := req.(*kmsg.FetchRequest); !ok {
			return nil, nil
		}
		resp, err := broker(req)
		if err != nil {
			return nil, err
		}
		for i := range resp.(*kmsg.FetchResponse).Topics {
			t := &resp.(*kmsg.FetchResponse).Topics[i]
			for j := range t.Partitions {
				if f(s, t.Partitions[j].Partition, &t.Partitions[j]) {
					s.count()
				}
			}
		}
		return resp, nil
	}
}

// split splits what was fetched into batches.
func split(b []byte) [][]byte {
	var out [][]byte
	for len(b) > 12 {
		n := int(binary.BigEndian.Uint32(b[8:])) + 12
		if n > len(b) {
			break
		}
		out, b = append(out, b[:n]), b[n:]
	}
	return out
}

func isControl(b []byte) bool { return b[22]&0x20 > 0 }

// dropsMarkers leaves out the markers of one partition.
func dropsMarkers(_ *shim, number int32, p *kmsg.FetchResponseTopicPartition) bool {
	if number != 1 {
		return false
	}
	batches := split(p.RecordBatches)
	kept := slices.DeleteFunc(slices.Clone(batches), isControl)
	if len(kept) == len(batches) || len(kept) == 0 { // a client stays where it gets nothing
		return false
	}
	p.RecordBatches = slices.Concat(kept...)
	return true
}

// tears makes the commits of one partition aborts.
func tears(_ *shim, number int32, p *kmsg.FetchResponseTopicPartition) bool {
	const kind = 61 + 5 + 3 // the last byte of the key, when all lengths and deltas are short
	torn := false
	for _, b := range split(p.RecordBatches) {
		if number == 1 && isControl(b) && b[kind] == 1 {
			b[kind] = 0
			seal(b)
			torn = true
		}
	}
	return torn
}

// showsAborted does not tell readers which transactions were aborted.
func showsAborted(_ *shim, _ int32, p *kmsg.FetchResponseTopicPartition) bool {
	n := len(p.AbortedTransactions)
	p.AbortedTransactions = nil
	return n > 0
}

// hidesCommitted tells readers, in every tenth answer, that the first transaction of it
// was aborted.
func hidesCommitted(s *shim, _ int32, p *kmsg.FetchResponseTopicPartition) bool {
	batches := split(p.RecordBatches)
	if p.AbortedTransactions == nil || len(batches) == 0 || isControl(batches[0]) || !s.tenth() {
		return false
	}
	p.AbortedTransactions = append(p.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{
		ProducerID: int64(binary.BigEndian.Uint64(batches[0][43:])), FirstOffset: int64(binary.BigEndian.Uint64(batches[0])),
	})
	return true
}

// welcomes acknowledges records of producers that were fenced.
func welcomes(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.ProduceRequest); !ok {
		return nil, nil
	}
	resp, err := s.learn(req, broker)
	if err != nil {
		return nil, err
	}
	for i := range resp.(*kmsg.ProduceResponse).Topics {
		for j := range resp.(*kmsg.ProduceResponse).Topics[i].Partitions {
			p := &resp.(*kmsg.ProduceResponse).Topics[i].Partitions[j]
			if isFenced(p.ErrorCode) {
				p.ErrorCode, p.BaseOffset = 0, 1<<30
				s.count()
			}
		}
	}
	return resp, nil
}

// obeys acknowledges ends that were refused because of their epoch.
func obeys(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	r, ok := req.(*kmsg.EndTxnRequest)
	if !ok {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil {
		return nil, err
	}
	if end := resp.(*kmsg.EndTxnResponse); isFenced(end.ErrorCode) {
		end.ErrorCode, end.ProducerID, end.ProducerEpoch = 0, r.ProducerID, r.ProducerEpoch
		s.count()
	}
	return resp, nil
}

func isFenced(code int16) bool {
	err := kerr.ErrorForCode(code)
	return errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced)
}

// freezes tells a stable end that never moves.
func freezes(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	r, ok := req.(*kmsg.ListOffsetsRequest)
	if !ok || r.IsolationLevel == 0 || r.Topics[0].Partitions[0].Timestamp != -1 {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range resp.(*kmsg.ListOffsetsResponse).Topics {
		t := &resp.(*kmsg.ListOffsetsResponse).Topics[i]
		for j := range t.Partitions {
			k := fmt.Sprint("frozen ", t.Topic, t.Partitions[j].Partition)
			if s.next[k] == 0 {
				s.next[k] = t.Partitions[j].Offset
				continue
			}
			t.Partitions[j].Offset = s.next[k]
			s.told++
		}
	}
	return resp, nil
}

// forgetsCopies answers offsets that are committed in a transaction and throws them away.
func forgetsCopies(s *shim, req kmsg.Request, _ exchange) (kmsg.Response, error) {
	r, ok := req.(*kmsg.TxnOffsetCommitRequest)
	if !ok {
		return nil, nil
	}
	s.count()
	resp := r.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for _, t := range r.Topics {
		out := kmsg.NewTxnOffsetCommitResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			one := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			one.Partition = p.Partition
			out.Partitions = append(out.Partitions, one)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// TestLyingTxnCoordinator: what a broker lies about transactions is found out.
func TestLyingTxnCoordinator(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("nine loads, slow with the race detector")
	}
	for _, c := range []liar{
		{name: "honest"},
		{name: "feigns ends", lie: feignsEnds, want: []Kind{WrongEnd},
			also: []Kind{AbortedShown, CommittedHidden, CopyLost, CopyTwice, GroupStuck, LostWrite, ZombieTxn, TornTxn, Phantom}},
		{name: "drops markers", lie: alters(dropsMarkers), want: []Kind{TornTxn, OffsetGap},
			also: []Kind{AbortedShown, CommittedHidden, CopyLost, CopyTwice, GroupStuck, PollSkip, Phantom, ReadThenLost, StableHangs, WrongEnd}},
		{name: "tears commits", lie: alters(tears), want: []Kind{TornTxn, WrongEnd}, also: []Kind{AbortedShown, CopyLost, Phantom}},
		{name: "shows aborted data", lie: alters(showsAborted), want: []Kind{AbortedShown}, also: []Kind{Phantom}},
		{name: "hides what is committed", lie: alters(hidesCommitted), want: []Kind{CommittedHidden}, also: []Kind{CopyLost}},
		{name: "welcomes fenced producers", lie: welcomes, await: ZombieTxn, want: []Kind{ZombieTxn, LostWrite}},
		{name: "obeys fenced producers", lie: obeys, await: ZombieTxn, want: []Kind{ZombieTxn}, also: []Kind{WrongEnd}},
		{name: "freezes stable offsets", lie: freezes, want: []Kind{StableHangs}, also: []Kind{StableRegressed}},
		{name: "forgets offsets in transactions", lie: forgetsCopies, want: []Kind{CopyTwice, GroupStuck}},
	} {
		c.txns = true
		c.run(t)
	}
}
