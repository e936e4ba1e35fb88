package sim

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
)

// renames answers committed offsets of a topic that nobody knows. That is what a client
// sees, too, when the broker ends between the answer and the question for the name.
func renames(s *shim, req kmsg.Request, broker exchange) (kmsg.Response, error) {
	if _, ok := req.(*kmsg.OffsetFetchRequest); !ok {
		return nil, nil
	}
	resp, err := broker(req)
	if err != nil {
		return nil, err
	}
	for _, g := range resp.(*kmsg.OffsetFetchResponse).Groups {
		for i := range g.Topics {
			g.Topics[i].TopicID = [16]byte{1}
			s.count()
		}
	}
	return resp, nil
}

// TestOffsetsWithoutATopicAreNoAnswer: they do not mean that nothing is committed.
func TestOffsetsWithoutATopicAreNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		s := &shim{dial: b.DialContext, lie: renames, next: map[string]int64{}, shown: make(chan struct{})}
		l := &Load{topics: []string{"t"}, cfg: LoadConfig{Target: Target{brokertest.Address, s.Dial}, Ledger: NewLedger(Sync), Partitions: 1, Members: 1, Protocols: []Protocol{Eager}}}
		cl, err := l.cfg.Target.client()
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		admin := kadm.NewClient(cl)
		if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		if err := l.beginGroups(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		l.cfg.Ledger.Add(Committed{Owned{Eager.group(), "m", 1, 1, Partition{"t", 0}}, 0, 0})
		ctx, cancel := context.WithTimeout(t.Context(), 1000*sessionTimeout)
		defer cancel()
		if err := l.sampleGroup(ctx, admin, Eager); err == nil || s.told == 0 {
			t.Errorf("no error, %d lies", s.told)
		}
		if got := l.cfg.Ledger.Counts(); len(got) > 0 {
			t.Errorf("found %v", got)
		}
	})
}
