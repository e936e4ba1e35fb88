package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member joins the group, reads and commits, leaves or dies after a while, and
// joins again, under a new id if it is not a static one.
func (l *Load) member(ctx context.Context, p Protocol, number int) {
	random := rand.New(rand.NewPCG(l.cfg.Seed+uint64(number), uint64(len(p))))
	for life := 0; ctx.Err() == nil; life++ {
		m := &session{load: l, protocol: p, number: number, name: fmt.Sprintf("member %d.%d", number, life), life: life, random: random}
		if p.static(number) {
			m.name = fmt.Sprintf("instance %d", number)
			m.instance = &m.name
		}
		m.run(ctx, time.Duration(500+random.IntN(4500))*time.Millisecond)
	}
}

// session is one membership in the group. The client's callbacks and the polling
// goroutine take turns (BlockRebalanceOnPoll), but for the end.
type session struct {
	load     *Load
	protocol Protocol
	number   int
	name     string
	instance *string
	life     int
	random   *rand.Rand
	cl       *kgo.Client
	line     *line
	standsAt int // the poll after which the member stands still for a while; negative: never

	mu      sync.Mutex
	id      string // as the broker knows it
	granted int32  // generation or epoch of the last assignment
	epoch   int32  // of an answer since, with a member of the consumer protocol
	grants  int
	commits int // tried
	held    map[Partition]*grant
	dead    bool // nothing that is called back counts any more
	mixedUp bool
}

// grant is a partition that the member has.
type grant struct {
	reader      string
	floor       int64
	uncommitted int64 // the offset to commit; 0 if there is none
}

// run is one life. While the group is to come to the end no life ends.
func (m *session) run(ctx context.Context, life time.Duration) {
	alive, die := context.WithCancel(context.Background())
	defer die()
	m.held = map[Partition]*grant{}
	options := append(m.protocol.options(m.load.topics[0], m.number), kgo.WithContext(alive),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost))
	if m.instance != nil {
		options = append(options, kgo.InstanceID(*m.instance))
	}
	var target Target
	m.line, target = newLine(m.load.cfg.Target)
	var err error
	if m.cl, err = target.client(options...); err != nil {
		m.load.cfg.Ledger.Add(Broken{Anomaly{GroupStuck, err.Error()}})
		return
	}
	dies := m.random.IntN(4) == 0
	m.standsAt = m.random.IntN(20) - 10
	over := time.NewTimer(life)
	defer over.Stop()
	for ended := false; !ended; {
		ended = m.poll(ctx, over.C)
		if ended && dies && ctx.Err() == nil {
			m.drop()
			die() // without a word to the broker
		}
		m.cl.AllowRebalance()
	}
	m.cl.CloseAllowingRebalance()
	m.drop()
}

// poll takes what there is and mostly commits it; true if life is over.
func (m *session) poll(ctx context.Context, over <-chan time.Time) bool {
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	fetches := m.cl.PollRecords(limited, 500)
	cancel()
	m.follow()
	fetches.EachRecord(m.deliver)
	select {
	case <-over:
		if m.load.draining.Err() == nil {
			return true
		}
	default:
	}
	if m.standStill(ctx); m.random.IntN(4) > 0 {
		m.commit(nil)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return ctx.Err() != nil || m.mixedUp
}

// standStill holds the member's line for so long that it is taken for dead. It
// has not noticed that when it commits what it was given before.
func (m *session) standStill(ctx context.Context) {
	if m.standsAt--; m.standsAt != 0 || m.load.draining.Err() != nil {
		return
	}
	m.line.hold()
	pause(ctx, sessionTimeout*3/2+time.Duration(m.random.Int64N(int64(2*sessionTimeout))))
	m.line.release()
}

// follow: an epoch that rises while the member has what it has.
func (m *session) follow() {
	id, epoch := m.cl.GroupMetadata()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.protocol.next(m.number) && id == m.id && epoch > m.epoch {
		m.epoch = epoch
		m.claim()
	}
}

// claim tells the ledger what the member has; m.mu is held. Epochs of a migrating
// group begin anew when it was empty and its next member is of the other kind, as in
// Apache Kafka; so nothing is judged by them.
func (m *session) claim() {
	if m.protocol == Migrating {
		return
	}
	for p := range m.held {
		m.load.cfg.Ledger.Add(m.owned(p))
	}
}

func (m *session) owned(p Partition) Owned {
	return Owned{m.protocol.group(), m.name, m.epoch, m.load.cfg.Incarnation(), p}
}

func (m *session) deliver(r *kgo.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := Partition{r.Topic, r.Partition}
	g := m.held[p]
	if g == nil {
		return // buffered by the client before it was revoked; not processed
	}
	if id, ok := identify(r.Value); ok {
		m.load.cfg.Ledger.Add(Delivered{m.protocol.group(), g.reader, g.floor, p, r.Offset, id})
	} else {
		m.load.cfg.Ledger.Add(Garbled{p, r.Offset, string(r.Value)})
	}
	g.uncommitted = r.Offset + 1
}

// assigned comes before the client asks for the offsets of what is new.
func (m *session) assigned(_ context.Context, cl *kgo.Client, now map[string][]int32) {
	id, epoch := cl.GroupMetadata()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return
	}
	// A cooperative client that was taken for dead while it joined comes back
	// under another id with what it had, and where it had been in it, though others
	// may have had it since: begin anew, and claim nothing for the time between.
	if m.mixedUp = m.mixedUp || len(m.held) > 0 && id != m.id; m.mixedUp {
		for p := range m.held {
			m.forget(p)
		}
		return
	}
	m.id, m.granted, m.epoch = id, epoch, epoch
	for topic, parts := range now {
		for _, part := range parts {
			p := Partition{topic, part}
			m.grants++
			m.held[p] = &grant{
				reader: fmt.Sprintf("%s %s, life %d, grant %d", m.protocol, m.name, m.life, m.grants),
				floor:  m.load.cfg.Ledger.Floor(m.protocol.group(), p),
			}
		}
	}
	m.claim()
}

// revoked commits what the member has not yet committed of what it is to let go.
func (m *session) revoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.commit(gone)
	m.letGo(gone)
}

func (m *session) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) { m.letGo(gone) }

func (m *session) letGo(gone map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, parts := range gone {
		for _, part := range parts {
			m.forget(Partition{topic, part})
		}
	}
}

func (m *session) forget(p Partition) {
	if m.held[p] != nil {
		delete(m.held, p)
		m.load.cfg.Ledger.Add(LetGo{m.protocol.group(), m.name, p})
	}
}

// drop lets go of all that is left.
func (m *session) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	for p := range m.held {
		m.forget(p)
	}
}
