//go:build unix

package interop

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Timeouts of transactions: one that must not be over before the story ends, and
// one that the story waits for.
const (
	longTxn  = time.Minute
	shortTxn = 10 * time.Second
)

// txnStory is the life of a transactional id: it commits, aborts, is fenced, times
// out, and copies a topic, whatever is killed meanwhile.
type txnStory struct {
	t      *testing.T
	in     installed
	flow   flow
	server *server
	// atOnce: what a transaction wrote can be read as soon as its end is answered,
	// as weir promises. Apache Kafka answers first and writes its markers then.
	atOnce bool
	name   string // of the flow, the transactional id and the group

	out, from, to string // topics: what commands write; what is copied, and where

	journal *journal // of the copiers
	copier  *copier  // that is at work
	crashes int      // of copiers that the story did not kill
	admin   *kadm.Client
}

func newTxnStory(t *testing.T, in installed, s *server, f flow) *txnStory {
	t.Helper()
	st := &txnStory{
		t: t, in: in, flow: f, server: s, name: f.name, journal: newJournal(),
		out: f.name + "-out", from: f.name + "-from", to: f.name + "-to",
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened to the copiers:\n%s", st.journal)
		}
	})
	st.admin = kadm.NewClient(client(t, s.address))
	createTopic(t, s.address, st.out, 2)
	createTopic(t, s.address, st.from, partitions)
	createTopic(t, s.address, st.to, partitions)
	if f.version == 2 { // its copier speaks the consumer protocol
		setSession(t, s.address, st.name, shortSession)
	}
	return st
}

// tell tells the story, in which restart restarts the broker, and returns what
// read_committed consumers must find afterwards.
func (s *txnStory) tell(restart func()) content {
	s.t.Helper()
	first := s.ends()
	second := s.fence(first)
	s.timeOut(second)
	copied := s.copies(func() { s.survives(restart) })
	return content{
		s.out: {0: {"one", "three", "before"}, 1: {"two", "after"}},
		s.to:  copied,
	}
}

// ends commits and aborts.
func (s *txnStory) ends() *transactor {
	s.t.Helper()
	p := s.transactor("first", s.name, longTxn)
	began := s.epoch()
	p.does("begin", s.send(0, "one"), s.send(1, "two"))
	s.isOpen(s.out)
	p.does("commit")
	s.isStable("a commit", s.out)
	// Version 2 gives each transaction an epoch of its own, version 1 none.
	if ended := s.epoch(); (ended > began) != (s.flow.version == 2) {
		s.t.Errorf("the epoch of the producer was %d, and is %d after a commit: not version %d of transactions", began, ended, s.flow.version)
	}
	p.does("begin", s.send(0, "never"), s.send(1, "never"), "abort")
	s.isStable("an abort", s.out)
	p.does("begin", s.send(0, "three"), "commit")
	s.isStable("another commit", s.out)
	return p
}

// fence starts a second producer with the same transactional id: the open
// transaction of the first is aborted, and the first learns that it is dead.
func (s *txnStory) fence(first *transactor) (second *transactor) {
	s.t.Helper()
	first.does("begin", s.send(0, "fenced"))
	s.isOpen(s.out)
	second = s.transactor("second", s.name, shortTxn)
	s.isStable("the start of the next producer", s.out)
	if a := first.ask("commit"); a.Event != "refused" || !a.Fatal {
		s.t.Errorf("the producer that was fenced commits and is told %+v", a)
	}
	first.kill()
	return second
}

// timeOut lets a transaction pass its time: the broker aborts it, and its commit
// comes too late.
func (s *txnStory) timeOut(p *transactor) {
	s.t.Helper()
	p.does("begin", s.send(1, "late"))
	began := time.Now()
	s.isOpen(s.out)
	s.untilStable("the time of a transaction", s.out)
	if took := time.Since(began); took < shortTxn-2*time.Second {
		s.t.Errorf("a transaction with a timeout of %v is aborted after %v", shortTxn, took)
	}
	// In version 1 the broker has fenced the producer; in version 2 it has merely gone
	// on to the epoch of the next transaction, and the producer may do the same.
	if a := p.ask("commit"); a.Event != "refused" || a.Fatal != (s.flow.version == 1) {
		s.t.Errorf("a commit that comes too late is told %+v", a)
	}
	p.kill()
}

// survives leaves a transaction open while the broker is restarted, and commits it
// then.
func (s *txnStory) survives(restart func()) {
	s.t.Helper()
	p := s.transactor("third", s.name+"-third", longTxn)
	p.does("begin", s.send(0, "before"))
	restart()
	s.isOpen(s.out)
	p.does(s.send(1, "after"), "commit")
	s.isStable("a commit after a restart", s.out)
	p.kill()
}

// epoch is the producer epoch that the coordinator has of the transactional id.
func (s *txnStory) epoch() int16 {
	s.t.Helper()
	described, err := s.admin.DescribeTransactions(s.t.Context(), s.name)
	if err = firstError(err, described[s.name].Err); err != nil {
		s.t.Fatalf("describe transactional id %s: %v", s.name, err)
	}
	return described[s.name].ProducerEpoch
}

// open is how many records and markers of a topic read_committed consumers must
// wait for.
func (s *txnStory) open(topic string) (n int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	stable, err := s.admin.ListCommittedOffsets(ctx, topic)
	err = firstError(err, stable.Error())
	ends, endErr := s.admin.ListEndOffsets(ctx, topic)
	if err = firstError(err, endErr, ends.Error()); err != nil {
		s.t.Fatalf("offsets of %s: %v", topic, err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		at, _ := stable.Lookup(topic, end.Partition)
		n += end.Offset - at.Offset
	})
	return n
}

func (s *txnStory) isOpen(topic string) {
	s.t.Helper()
	if s.open(topic) == 0 {
		s.t.Errorf("read_committed consumers of %s wait for nothing while a transaction is open", topic)
	}
}

// isStable: nobody has to wait after what was done.
func (s *txnStory) isStable(after, topic string) {
	s.t.Helper()
	if !s.atOnce {
		s.untilStable(after, topic)
	} else if n := s.open(topic); n > 0 {
		s.t.Errorf("after %s, read_committed consumers of %s wait for %d records", after, topic, n)
	}
}

func (s *txnStory) untilStable(after, topic string) {
	s.t.Helper()
	deadline := time.After(patience)
	for s.open(topic) > 0 {
		select {
		case <-deadline:
			s.t.Fatalf("%s after %s, read_committed consumers of %s still wait", patience, after, topic)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// content is what topics must hold, by partition, in order.
type content map[string]map[int32][]string
