package sim

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

type lie = func(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error)

// drops answers a Produce request and throws it away.
func drops(s *shim, req kmsg.Request, _ exchange) (kmsg.Response, error) {
	if p, ok := req.(*kmsg.ProduceRequest); ok && s.once(5) {
		return s.accept(p), nil
	}
	return nil, nil
}

// doubles appends a Produce request twice.
func doubles(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.ProduceRequest); ok && s.once(5) {
		if _, err := s.learn(req, broker); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// reorders appends a Produce request after the next one.
func reorders(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	p, ok := req.(*kmsg.ProduceRequest)
	if !ok {
		return nil, nil
	}
	if s.once(5) {
		forEach(p, func(_ string, _ int32, b []byte) []byte { s.kept = b; return b })
		return s.accept(p), nil
	}
	if s.kept == nil {
		return nil, nil
	}
	kept := s.kept
	s.kept = nil
	resp, err := s.learn(req, broker)
	if err == nil {
		forEach(p, func(string, int32, []byte) []byte { return kept })
		_, err = s.learn(p, broker)
	}
	return resp, err
}

// misplaces answers an offset that is one too high.
func misplaces(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.ProduceRequest); !ok || !s.once(5) {
		return nil, nil
	}
	resp, err := s.learn(req, broker)
	if err == nil {
		resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].BaseOffset++
	}
	return resp, err
}

// shows gives a batch to a reader and then does not keep it.
func shows(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		if !s.once(5) {
			return nil, nil
		}
		resp := s.accept(req)
		at := &resp.Topics[0].Partitions[0]
		b := req.Topics[0].Partitions[0].Records
		binary.BigEndian.PutUint64(b, uint64(at.BaseOffset))
		s.mu.Lock()
		s.kept, s.topic, s.id = b, req.Topics[0].Topic, req.Topics[0].TopicID
		s.mu.Unlock()
		<-s.shown
		at.ErrorCode = kerr.InvalidRecord.Code
		return resp, nil
	case *kmsg.FetchRequest:
		resp, err := broker(req)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if f := resp.(*kmsg.FetchResponse); s.kept != nil && s.slip(f) {
			s.kept = nil
			s.end()
		}
		return resp, nil
	}
	return nil, nil
}

// slip puts the batch that was held back into an answer that has no records; true
// if that was often enough.
func (s *shim) slip(f *kmsg.FetchResponse) bool {
	if len(f.Topics) == 0 { // nothing is new in a fetch session
		p := kmsg.NewFetchResponseTopicPartition()
		f.Topics = []kmsg.FetchResponseTopic{{Topic: s.topic, TopicID: s.id, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
	}
	p := &f.Topics[0].Partitions[0]
	if len(p.RecordBatches) > 0 {
		return false
	}
	p.RecordBatches = s.kept
	p.HighWatermark, p.LastStableOffset = 1<<30, 1<<30
	// Several times: the first client may be about to leave and not look at it.
	s.slips++
	return s.slips == 8
}

// shifts serves a batch under other offsets.
func shifts(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.FetchRequest); !ok {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil {
		return nil, err
	}
	for i := range resp.(*kmsg.FetchResponse).Topics {
		for j := range resp.(*kmsg.FetchResponse).Topics[i].Partitions {
			b := resp.(*kmsg.FetchResponse).Topics[i].Partitions[j].RecordBatches
			if len(b) > 0 && s.once(5) {
				binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)+1)
			}
		}
	}
	return resp, nil
}

// sinks tells ends that lie before ends it told.
func sinks(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.ListOffsetsRequest); !ok {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil || !s.once(20) {
		return resp, err
	}
	for i := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for j := range resp.(*kmsg.ListOffsetsResponse).Topics[i].Partitions {
			resp.(*kmsg.ListOffsetsResponse).Topics[i].Partitions[j].Offset = 0
		}
	}
	s.mu.Lock()
	s.told = 0 // again and again: the first may ask for the start, which is 0
	s.mu.Unlock()
	return resp, err
}

// hangs never answers a Produce request.
func hangs(s *shim, req kmsg.Request, _ exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.ProduceRequest); !ok || s.told == 0 && !s.once(5) {
		return nil, nil
	}
	<-s.shown // closed when the test ends
	return nil, io.EOF
}

// feigns answers the creation of the second life of a topic and does nothing.
func feigns(s *shim, req kmsg.Request, _ exchange) (kmsg.Response, error) {
	c, ok := req.(*kmsg.CreateTopicsRequest)
	if !ok || c.Topics[0].Topic != churnTopic || !s.once(100) {
		return nil, nil
	}
	resp := c.ResponseKind().(*kmsg.CreateTopicsResponse)
	one := kmsg.NewCreateTopicsResponseTopic()
	one.Topic = churnTopic
	resp.Topics = append(resp.Topics, one)
	return resp, nil
}

// spares answers the deletion of a topic and does nothing.
func spares(s *shim, req kmsg.Request, _ exchange) (kmsg.Response, error) {
	d, ok := req.(*kmsg.DeleteTopicsRequest)
	if !ok || !s.once(0) {
		return nil, nil
	}
	resp := d.ResponseKind().(*kmsg.DeleteTopicsResponse)
	for _, t := range d.Topics {
		one := kmsg.NewDeleteTopicsResponseTopic()
		one.Topic, one.TopicID = t.Topic, t.TopicID
		resp.Topics = append(resp.Topics, one)
	}
	for _, name := range d.TopicNames {
		one := kmsg.NewDeleteTopicsResponseTopic()
		one.Topic = kmsg.StringPtr(name)
		resp.Topics = append(resp.Topics, one)
	}
	return resp, nil
}

// TestLyingBroker: a load on a broker that lies is found out, and one on a broker
// that does not is not.
func TestLyingBroker(t *testing.T) {
	t.Parallel()
	for _, c := range []liar{
		{name: "honest"}, // with groups of all protocols
		{name: "drops", lie: drops, want: []Kind{LostWrite}},
		{name: "doubles", lie: doubles, want: []Kind{Duplicate}, also: []Kind{Reordered, WrongOffset}},
		{name: "reorders", lie: reorders, want: []Kind{Reordered, WrongOffset}},
		{name: "misplaces", lie: misplaces, want: []Kind{WrongOffset}},
		{name: "shows too early", lie: shows, also: []Kind{ReadThenLost, InconsistentValue, NonmonotonicPoll, PollSkip, CommitRegressed, GroupSkipped}},
		{name: "shifts offsets", lie: shifts, want: []Kind{InconsistentValue}, also: []Kind{NonmonotonicPoll, PollSkip, GroupSkipped, ReadThenLost}},
		{name: "sinks watermarks", lie: sinks, want: []Kind{HighRegressed, StableRegressed}, also: []Kind{GroupStuck, GroupSkipped, OffsetGap, LostWrite, ReadThenLost, Unreadable}},
		{name: "hangs", lie: hangs, want: []Kind{ProducerStuck}},
		{name: "feigns to create a topic", lie: feigns, churn: true, want: []Kind{TopicLost}},
		{name: "feigns to delete a topic", lie: spares, churn: true, want: []Kind{TopicUndead}, also: []Kind{Phantom}},
	} {
		if c.lie != nil {
			c.protocols = []Protocol{Eager}
		}
		c.run(t)
	}
}

// liar is a broker that lies, and what is to be found.
type liar struct {
	name      string
	lie       lie
	protocols []Protocol // nil: all
	churn     bool
	txns      bool   // of transactions, on two partitions, and without groups
	await     Kind   // what the load goes on for, two minutes at most; none: ten seconds
	want      []Kind // each must be found
	also      []Kind // may follow
}

func (c liar) run(t *testing.T) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) { synctest.Test(t, c.lied) })
}

func (c liar) lied(t *testing.T) {
	b := brokertest.Start(t, brokertest.WithSettings(Settings()))
	s := &shim{dial: b.DialContext, lie: c.lie, next: map[string]int64{}, shown: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.shown) })
	ledger := NewLedger(Sync)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := LoadConfig{Target: Target{brokertest.Address, s.Dial}, Ledger: ledger, Topics: 1, Partitions: 1, Writers: 1, Members: 2, Rate: 50, RecordBytes: 50, Churn: c.churn, Protocols: c.protocols}
	if c.txns {
		cfg.Partitions, cfg.Members, cfg.Rate, cfg.Transactional, cfg.EndRate, cfg.Copiers = 2, 0, 1, 2, 5, Consumer
	}
	load, err := NewLoad(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for span := 0; span == 0 || span < 12 && c.await != "" && ledger.Counts()[c.await] == 0; span++ {
		time.Sleep(10 * time.Second)
	}
	if err := load.Finish(ctx, 20*time.Second); err != nil {
		t.Error(err)
	}
	s.end()
	got := ledger.Counts()
	if c.lie != nil && s.told == 0 && got[HighRegressed] == 0 {
		t.Error("no lie was told")
	}
	for _, kind := range c.want {
		if got[kind] == 0 {
			t.Errorf("%s was not found (found: %v)", kind, got)
		}
	}
	if c.lie != nil && len(got) == 0 {
		t.Error("nothing was found")
	}
	for kind := range got {
		if !slices.Contains(c.want, kind) && !slices.Contains(c.also, kind) {
			t.Errorf("%s was found besides: %v", kind, ledger.First())
		}
	}
	t.Logf("%d records acknowledged, %v, %v; found %v", ledger.Acked(), ledger.Groups(), ledger.Transactions(), got)
}
