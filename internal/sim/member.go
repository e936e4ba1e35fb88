package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// member joins the group, reads and commits, leaves after a while, and joins
// again under a new id.
func (l *Load) member(ctx context.Context, number int) {
	random := rand.New(rand.NewPCG(uint64(number), 7))
	for life := 0; ctx.Err() == nil; life++ {
		limited, cancel := context.WithTimeout(ctx, 2*time.Second+time.Duration(random.IntN(5000))*time.Millisecond)
		m := &session{load: l, name: fmt.Sprintf("member %d.%d", number, life)}
		m.run(limited)
		cancel()
	}
}

// session is one membership in the group.
type session struct {
	load       *Load
	name       string
	cl         *kgo.Client
	generation int32
}

func (m *session) run(ctx context.Context) {
	var err error
	m.cl, err = m.load.cfg.Target.client(
		kgo.ConsumerGroup(groupName), kgo.ConsumeTopics(m.load.topics[0]), kgo.Balancers(kgo.RangeBalancer()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(m.assigned),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.SessionTimeout(6*time.Second), kgo.RebalanceTimeout(6*time.Second),
	)
	if err != nil {
		return
	}
	defer m.cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := m.cl.PollRecords(ctx, 500)
		fetches.EachRecord(func(r *kgo.Record) {
			// A new generation reads from what was committed: a session of its own.
			note(m.load.cfg.Ledger, r, r.Topic, fmt.Sprintf("%s in generation %d", m.name, m.generation), groupName)
		})
		m.commit(fetches.Records())
		m.cl.AllowRebalance()
	}
}

// assigned runs while no poll is under way (BlockRebalanceOnPoll).
func (m *session) assigned(_ context.Context, _ *kgo.Client, now map[string][]int32) {
	id, generation := m.cl.GroupMetadata()
	m.generation = generation
	for topic, parts := range now {
		for _, part := range parts {
			m.load.cfg.Ledger.Add(Owned{groupName, id, generation, m.load.cfg.Incarnation(), Partition{topic, part}})
		}
	}
}

func (m *session) commit(records []*kgo.Record) {
	if len(records) == 0 {
		return
	}
	// The member may be about to leave; what it has read it commits all the same.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	next := map[Partition]int64{}
	for _, r := range records {
		next[Partition{r.Topic, r.Partition}] = r.Offset + 1
	}
	err := m.cl.CommitRecords(ctx, records...)
	for p, offset := range next {
		if err != nil {
			m.load.cfg.Ledger.Add(CommitUnknown{groupName, p, offset})
		} else {
			m.load.cfg.Ledger.Add(Committed{groupName, p, offset})
		}
	}
}

// catchUp waits until the group has committed all of its topic.
func (l *Load) catchUp(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cl, err := l.cfg.Target.client()
	if err != nil {
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var last []Caught
	for {
		if now, err := l.caught(ctx, admin); err == nil {
			last = now
		}
		behind := len(last) == 0
		for _, c := range last {
			behind = behind || c.Committed < c.High
		}
		if !behind || !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	for _, c := range last {
		l.cfg.Ledger.Add(c)
	}
	if len(last) == 0 {
		l.cfg.Ledger.Add(Broken{Anomaly{GroupStuck, "the group's offsets cannot be asked for"}})
	}
}

func (l *Load) caught(ctx context.Context, admin *kadm.Client) ([]Caught, error) {
	_, high, _, err := bounds(ctx, admin, l.topics[0])
	if err != nil {
		return nil, err
	}
	offsets, err := admin.FetchOffsets(ctx, groupName)
	if err != nil {
		return nil, err
	}
	var out []Caught
	high.Each(func(o kadm.ListedOffset) {
		c := Caught{groupName, Partition{l.topics[0], o.Partition}, 0, o.Offset}
		if at, ok := offsets.Lookup(l.topics[0], o.Partition); ok {
			c.Committed = at.At
		}
		out = append(out, c)
	})
	return out, nil
}
