package broker_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// reading is what a client has read: the next offset and the end that it was told, of
// each partition it fetches, and which aborted transactions.
type reading struct {
	next, end int64
	bytes     int
	aborted   map[abortedTxn]bool
}

// abortedTxn is an aborted transaction in an answer.
type abortedTxn struct{ producer, first int64 }

// TestSessionAgainstFullFetch does random things to topics and to what is
// fetched, plainly and in transactions, with one client that keeps a session and one that
// sends full requests; both read everything, or committed records only. Both must read the
// same records and be told the same marks and aborted transactions. The environment
// variable WEIR_SEED repeats one run.
func TestSessionAgainstFullFetch(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6}
	if s, err := strconv.ParseUint(os.Getenv("WEIR_SEED"), 10, 64); err == nil {
		seeds = []uint64{s}
	}
	for _, seed := range seeds {
		for _, version := range []int16{11, 15} {
			isolation := int8(seed % 2)
			t.Run(fmt.Sprintf("seed %d v%d isolation %d", seed, version, isolation), func(t *testing.T) {
				m := newSessionModel(t, seed, version)
				m.isolation = isolation
				for range 250 {
					m.step()
				}
				m.drain()
				if isolation == 1 && m.aborted == 0 {
					t.Error("nobody was told of an aborted transaction")
				}
				if t.Failed() {
					t.Logf("again: WEIR_SEED=%d go test ./broker -run TestSessionAgainstFullFetch", seed)
				}
			})
		}
	}
}

type sessionModel struct {
	t        *testing.T
	b        *brokertest.Broker
	rng      *rand.Rand
	producer *rawConn
	session  *sessionClient
	full     *sessionClient
	topics   map[string]bool // that exist
	wanted   map[at]bool     // partitions that are fetched; offset 0
	changed  map[at]bool     // that the next request must name
	dropped  map[at]bool     // that it must forget
	read     map[at]*reading // by the session

	isolation int8
	txns      []*rawTxn
	aborted   int // transactions that the full fetch was told of
}

func newSessionModel(t *testing.T, seed uint64, version int16) *sessionModel {
	b := brokertest.Start(t)
	m := &sessionModel{
		t: t, b: b, rng: rand.New(rand.NewPCG(seed, 7)), producer: dial(t, b),
		session: newSessionClient(t, b, version), full: newSessionClient(t, b, version),
		topics: map[string]bool{}, wanted: map[at]bool{}, changed: map[at]bool{}, dropped: map[at]bool{}, read: map[at]*reading{},
	}
	m.full.epoch = -1
	for _, name := range []string{"a", "b", "c"} {
		m.create(name)
	}
	for _, id := range []string{"x", "y", "z"} {
		m.txns = append(m.txns, beginner(t, b, id))
	}
	return m
}

func (m *sessionModel) create(name string) {
	m.topics[name] = true
	id := createTopic(m.t, m.b, name, 4)
	m.session.ids[name], m.full.ids[name] = id, id
}

func (m *sessionModel) any() at {
	return at{[]string{"a", "b", "c"}[m.rng.IntN(3)], int32(m.rng.IntN(5)), 0} // partition 4 is none
}

func (m *sessionModel) step() {
	p := m.any()
	switch n := m.rng.IntN(100); {
	case n < 12:
		m.produceInTxn(p)
	case n < 20:
		m.txns[m.rng.IntN(len(m.txns))].end(endV2, m.rng.IntN(2) == 0) // refused if none is open
	case n < 35:
		if m.topics[p.topic] {
			ask[*kmsg.ProduceResponse](m.producer, produceRequest(9, -1, p.topic, p.partition, records(1+m.rng.IntN(3))))
		}
	case n < 45:
		m.want(p)
	case n < 50:
		m.unwant(p)
	case n < 52:
		m.forgetTopic(p.topic)
		if m.topics[p.topic] {
			deleteTopic(m.t, m.b, p.topic)
			delete(m.topics, p.topic)
		}
		m.create(p.topic)
	case n < 54:
		m.session.rawConn = dial(m.t, m.b) // another connection goes on
	case n < 56:
		m.restart()
	default:
		m.poll()
	}
}

func (m *sessionModel) produceInTxn(p at) {
	m.t.Helper()
	if !m.topics[p.topic] || p.partition == 4 {
		return
	}
	x := m.txns[m.rng.IntN(len(m.txns))]
	key := fmt.Sprint(p)
	req := produceRequest(produceV2, -1, p.topic, p.partition, x.batch(key))
	req.TransactionID = &x.id
	wantCode(m.t, "produce in a transaction", produced(ask[*kmsg.ProduceResponse](x.rawConn, req)).ErrorCode, nil)
	x.next[key]++
}

// request asks as the clients of this run do.
func (m *sessionModel) request(c *sessionClient, parts, forgotten []at) *kmsg.FetchRequest {
	req := c.request(parts, forgotten)
	req.IsolationLevel = m.isolation
	return req
}

// end is how far the clients of this run may read.
func (m *sessionModel) end(p *kmsg.FetchResponseTopicPartition) int64 {
	if m.isolation == 1 {
		return p.LastStableOffset
	}
	return p.HighWatermark
}

func (m *sessionModel) want(p at) {
	if !m.wanted[p] {
		m.wanted[p], m.changed[p] = true, true
		m.read[p] = &reading{end: -1, aborted: map[abortedTxn]bool{}}
	}
}

func (m *sessionModel) unwant(p at) {
	if m.wanted[p] {
		delete(m.wanted, p)
		delete(m.changed, p)
		m.dropped[p] = true
	}
}

// forgetTopic: a client that learns of another id forgets the partitions of the
// old one; here it begins anew.
func (m *sessionModel) forgetTopic(name string) {
	for p := range m.wanted {
		if p.topic == name {
			delete(m.wanted, p)
		}
	}
	m.restart()
}

// restart begins another session, which names all.
func (m *sessionModel) restart() {
	m.session.epoch = 0
	clear(m.dropped)
	for p := range m.wanted {
		m.changed[p] = true
	}
	for p := range m.changed {
		if !m.wanted[p] {
			delete(m.changed, p)
		}
	}
}

// poll asks in the session and takes what comes.
func (m *sessionModel) poll() {
	m.t.Helper()
	var parts, forgotten []at
	for p := range m.changed {
		parts = append(parts, at{p.topic, p.partition, m.read[p].next})
		delete(m.dropped, p)
	}
	for p := range m.dropped {
		forgotten = append(forgotten, p)
	}
	slices.SortFunc(parts, atOrder)
	slices.SortFunc(forgotten, atOrder)
	clear(m.changed)
	clear(m.dropped)
	m.session.maxBytes = int32(m.rng.IntN(400))
	resp := ask[*kmsg.FetchResponse](m.session.rawConn, m.request(m.session, parts, forgotten))
	if resp.ErrorCode != 0 {
		m.t.Fatalf("session %d, epoch %d: code %d", m.session.id, m.session.epoch, resp.ErrorCode)
	}
	m.session.id = resp.SessionID
	m.session.epoch++
	if m.session.id == 0 {
		m.session.epoch = 0
	}
	m.take(m.session, resp, func(p at, got *kmsg.FetchResponseTopicPartition) {
		r := m.read[p]
		if !m.wanted[p] {
			m.t.Fatalf("%v is told, but was forgotten", p)
		}
		r.end = m.end(got)
		for _, a := range got.AbortedTransactions {
			r.aborted[abortedTxn{a.ProducerID, a.FirstOffset}] = true
		}
		for rest := got.RecordBatches; len(rest) > 0; {
			one, more, err := batch.Split(rest)
			if err != nil {
				m.t.Fatal(err)
			}
			if one.BaseOffset() != r.next {
				m.t.Fatalf("%v: batch at %d, want %d", p, one.BaseOffset(), r.next)
			}
			r.next, r.bytes, rest = one.NextOffset(), r.bytes+len(one), more
			m.changed[p] = true
		}
	})
	if m.session.epoch == 0 {
		m.restart()
	}
}

// atOrder makes a run depend on its seed alone.
func atOrder(a, b at) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

// take gives the partitions of an answer without an error.
func (m *sessionModel) take(c *sessionClient, resp *kmsg.FetchResponse, f func(at, *kmsg.FetchResponseTopicPartition)) {
	m.t.Helper()
	for i := range resp.Topics {
		name := resp.Topics[i].Topic
		for n, id := range c.ids {
			if c.version >= 13 && id == resp.Topics[i].TopicID {
				name = n
			}
		}
		for k := range resp.Topics[i].Partitions {
			got := &resp.Topics[i].Partitions[k]
			p := at{name, got.Partition, 0}
			switch {
			case got.ErrorCode == 0:
				f(p, got)
			case p.partition == 4 && got.ErrorCode == kerr.UnknownTopicOrPartition.Code:
			default:
				m.t.Fatalf("%v: code %d", p, got.ErrorCode)
			}
		}
	}
}

// drain polls until the session has nothing more to say, and compares with a
// client that asks for all from the beginning.
func (m *sessionModel) drain() {
	m.unwant(at{"a", 4, 0})
	m.unwant(at{"b", 4, 0})
	m.unwant(at{"c", 4, 0})
	for range 10_000 {
		m.poll()
		quiet := len(m.changed) == 0
		for p := range m.wanted {
			quiet = quiet && m.read[p].next == m.read[p].end
		}
		if quiet {
			break
		}
	}
	var parts []at
	for p := range m.wanted {
		parts = append(parts, p)
	}
	seen := 0
	m.take(m.full, ask[*kmsg.FetchResponse](m.full.rawConn, m.request(m.full, parts, nil)), func(p at, got *kmsg.FetchResponseTopicPartition) {
		seen++
		end := m.end(got)
		r := m.read[p]
		if r.end != end || r.next != end || r.bytes != len(got.RecordBatches) {
			m.t.Errorf("%v: the session read %d bytes to %d of %d, a full fetch %d bytes of %d", p, r.bytes, r.next, r.end, len(got.RecordBatches), end)
		}
		for _, a := range got.AbortedTransactions {
			m.aborted++
			if !r.aborted[abortedTxn{a.ProducerID, a.FirstOffset}] {
				m.t.Errorf("%v: the session is not told of an aborted transaction at %d", p, a.FirstOffset)
			}
		}
		if len(r.aborted) != len(got.AbortedTransactions) {
			m.t.Errorf("%v: the session is told of %d aborted transactions, a full fetch of %d", p, len(r.aborted), len(got.AbortedTransactions))
		}
	})
	if seen != len(m.wanted) {
		m.t.Errorf("%d partitions of %d were compared", seen, len(m.wanted))
	}
}
