//go:build unix

package interop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// partitions of each story's topic; one, two and three members share them evenly.
const partitions = 6

// The session timeouts of a member that will crash, and of all others: long
// enough that a loaded machine does not end them.
const (
	shortSession = 6 * time.Second
	longSession  = 40 * time.Second
)

// shortestSession is the setting that lets groups of the consumer protocol have
// shortSession.
const shortestSession = "group.consumer.min.session.timeout.ms=6000"

// story is the life of one group: its members are processes of one library that
// speak one protocol, and records flow all the time.
type story struct {
	t        *testing.T
	in       installed
	library  library
	protocol string
	server   *server
	name     string // of the group and of its topic

	journal  *journal
	producer *producer
	admin    *kadm.Client
	began    time.Time // the phase
}

func newStory(t *testing.T, in installed, s *server, l library, protocol string) *story {
	t.Helper()
	st := &story{t: t, in: in, library: l, protocol: protocol, server: s, name: l.name + "-" + protocol, journal: newJournal()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened:\n%s", st.journal)
		}
	})
	st.admin = kadm.NewClient(client(t, s.address))
	createTopic(t, s.address, st.name, partitions)
	st.setSession(longSession)
	st.producer = produceAlways(t, s.address, st.name, partitions)
	return st
}

// tell tells the story; broker restarts the broker, for all stories on it, so
// many times.
func (s *story) tell(restarts int, broker func()) {
	s.t.Helper()
	stop := s.watchCommits()
	tale := s.life
	if s.protocol == migration {
		tale = s.move
	}
	there := tale(func(members ...*member) {
		for n := range restarts {
			s.phase(fmt.Sprintf("broker restart %d", n+1), broker, members...)
			s.heardNothing(members...)
		}
	})
	s.producer.close()
	acknowledged := s.producer.acknowledged()
	s.readUntil("last record", acknowledged)
	for _, m := range there {
		s.leave(m)
	}
	stop()
	entries := s.journal.entries()
	for _, complaint := range judge(entries, acknowledged) {
		s.t.Error(complaint)
	}
	s.t.Log(summary(entries, acknowledged))
}

// life: members come and go in every way there is. It returns who is left.
func (s *story) life(restarts func(...*member)) []*member {
	s.t.Helper()
	a := &member{name: "a", protocol: s.protocol, session: longSession, instance: "a"}
	b := &member{name: "b", protocol: s.protocol, session: shortSession}
	c := &member{name: "c", protocol: s.protocol, session: longSession, instance: "c"}
	d := &member{name: "d", protocol: s.protocol, session: longSession}

	s.phase("one member", func() { s.join(a) }, a)
	s.setSession(shortSession) // before b joins: what is set counts from the next heartbeat on
	s.phase("scale up", func() { s.join(b); s.join(c) }, a, b, c)
	s.phase("kill -9 one", func() { s.crash(b) }, a, c)
	s.setSession(longSession)
	s.phase("one more", func() { s.join(d) }, a, c, d)
	s.returns("the leader, a static member, comes back", a, c, d)
	s.phase("scale down", func() { s.leave(d) }, a, c)
	if took := s.tookOver("d"); took > longSession/2 {
		s.t.Errorf("the partitions of a member that left were taken over after %v", took)
	}
	s.returns("a static member comes back", c, a)
	restarts(a, c)
	return []*member{a, c}
}

// move: the members of a group change to the consumer protocol, one after the
// other, and change back. With members of both, it is a group of the consumer protocol.
func (s *story) move(restarts func(...*member)) []*member {
	s.t.Helper()
	classic := cooperative
	if s.library.name == "confluent-kafka" {
		classic = eager // its cooperative assignments hold words of their own; such groups cannot move, on Apache Kafka neither
	}
	a := &member{name: "a", protocol: classic, session: longSession}
	b := &member{name: "b", protocol: classic, session: longSession}
	c := &member{name: "c", protocol: classic, session: longSession}
	change := func(m *member, protocol string) func() {
		return func() {
			s.leave(m)
			m.protocol = protocol
			s.join(m)
		}
	}
	s.protocol = classic
	s.phase("one member", func() { s.join(a) }, a)
	s.phase("scale up", func() { s.join(b); s.join(c) }, a, b, c)
	s.protocol = consumer
	s.phase("one member moves", change(b, consumer), a, b, c)
	restarts(a, b, c)
	s.phase("another member moves", change(c, consumer), a, b, c)
	s.phase("the last member moves", change(a, consumer), a, b, c)
	s.phase("one member moves back", change(a, classic), a, b, c)
	s.phase("another member moves back", change(b, classic), a, b, c)
	s.protocol = classic
	s.phase("the last member moves back", change(c, classic), a, b, c)
	return []*member{a, b, c}
}

// phase does something and waits until the group has settled on members, each
// with an even share, and every partition flows. But for the eager protocol, no
// member may have been asked for a partition that it has afterwards.
func (s *story) phase(name string, do func(), members ...*member) {
	s.t.Helper()
	s.began = time.Now()
	do()
	done := time.Now()
	s.settled(members)
	s.t.Logf("%s: settled and flowing after %v", name, time.Since(done).Round(time.Millisecond))
	for _, m := range members {
		if m.protocol == eager {
			continue
		}
		for _, complaint := range disturbed(s.journal.since(s.began, m.name, "revoked", "lost", "left"), s.journal.holds(m.name)) {
			s.t.Errorf("%s: %s", name, complaint)
		}
	}
}

// heardNothing: no rebalance came to these members in this phase.
func (s *story) heardNothing(members ...*member) {
	s.t.Helper()
	for _, m := range members {
		if heard := s.journal.since(s.began, m.name, "assigned", "revoked", "lost"); len(heard) > 0 {
			s.t.Errorf("%s heard of a rebalance: %v\n%s", m.name, heard, s.why())
		}
	}
}

// why is what weir says of the group's rebalances.
func (s *story) why() string {
	s.t.Helper()
	if s.server.admin == "" {
		return ""
	}
	return run(s.t, "weir group timeline", nil, "", s.in.weir, "group", "timeline", s.name, "--admin", s.server.admin)
}

// returns is a phase in which a static member comes back, unheard by the others.
func (s *story) returns(name string, m *member, others ...*member) {
	s.t.Helper()
	if s.library.keepsPlace && s.protocol == consumer {
		return
	}
	s.phase(name, func() { s.comeBack(m) }, append(others, m)...)
	s.heardNothing(others...)
}

// comeBack starts the next process of a static member. In the classic protocol
// it takes the place of one that crashed; in the consumer protocol the one before
// must have said that it leaves for a while, otherwise the place is not free.
func (s *story) comeBack(c *member) {
	s.t.Helper()
	had := s.journal.holds(c.name)
	if s.protocol == consumer {
		s.leave(c)
	} else {
		s.crash(c)
	}
	s.join(c)
	s.journal.until(s.t, "return of "+c.name, func() bool { return len(s.journal.holds(c.name)) >= len(had) })
	if has := s.journal.holds(c.name); !slices.Equal(has, had) {
		s.t.Errorf("%s comes back to %v, it had %v", c.name, has, had)
	}
}

// settled waits until members have even shares, the broker says so too, and a
// record that is sent after that was read from every partition.
func (s *story) settled(members []*member) {
	s.t.Helper()
	shares := func() bool {
		for _, m := range members {
			if len(s.journal.holds(m.name)) != partitions/len(members) {
				return false
			}
		}
		return true
	}
	s.journal.until(s.t, fmt.Sprintf("even shares of %d members", len(members)), shares)
	s.described(members)
	next := s.producer.acknowledged()
	for p := range int32(partitions) {
		next[p]++
	}
	s.readUntil("record from every partition", next)
}

// readUntil waits until so many records of each partition were read.
func (s *story) readUntil(what string, want map[int32]int64) {
	s.t.Helper()
	s.journal.until(s.t, what, func() bool {
		s.journal.mu.Lock()
		defer s.journal.mu.Unlock()
		for p, n := range want {
			if s.journal.mu.read[p] < n {
				return false
			}
		}
		return true
	})
}

// described waits until the broker calls the group stable and describes the
// members with the partitions that they say they have.
func (s *story) described(members []*member) {
	s.t.Helper()
	want := map[string][]int32{}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		for _, m := range members {
			want[m.name] = s.journal.holds(m.name)
		}
		state, got, err := s.describe(ctx)
		if err == nil && state == "Stable" && maps.EqualFunc(got, want, slices.Equal) {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("the broker describes the group as %s with %v (error %v), its members say %v", state, got, err, want)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// describe asks for the state of the group and the partitions by client id.
func (s *story) describe(ctx context.Context) (state string, has map[string][]int32, err error) {
	has = map[string][]int32{}
	if s.protocol == consumer {
		all, err := s.admin.DescribeConsumerGroups(ctx, s.name)
		g := all[s.name]
		for _, m := range g.Members {
			has[m.ClientID] = append(has[m.ClientID], slices.Sorted(maps.Keys(m.Assignment[s.name]))...)
		}
		return g.State, has, firstError(err, g.Err)
	}
	all, err := s.admin.DescribeGroups(ctx, s.name)
	g := all[s.name]
	for _, m := range g.Members {
		has[m.ClientID] = append(has[m.ClientID], partitionsOf(m, s.name)...)
	}
	return g.State, has, firstError(err, g.Err)
}

func partitionsOf(m kadm.DescribedGroupMember, topic string) []int32 {
	var all []int32
	if a, ok := m.Assigned.AsConsumer(); ok {
		for _, t := range a.Topics {
			if t.Topic == topic {
				all = append(all, t.Partitions...)
			}
		}
	}
	slices.Sort(all)
	return all
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// setSession sets the session timeout of a group of the consumer protocol, which
// members do not choose. Members of the classic protocol bring their own.
func (s *story) setSession(d time.Duration) {
	s.t.Helper()
	if s.protocol == consumer {
		setSession(s.t, s.server.address, s.name, d)
	}
}

func setSession(t *testing.T, address, group string, d time.Duration) {
	t.Helper()
	value := strconv.FormatInt(d.Milliseconds(), 10)
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "consumer.session.timeout.ms", &value
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	resource.Configs = append(resource.Configs, config)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(t.Context(), client(t, address))
	if err == nil {
		err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("set the session timeout of %s: %v", group, err)
	}
}

// tookOver is the time from the moment that a member left until the others had
// the last of its partitions.
func (s *story) tookOver(left string) time.Duration {
	var gone, taken int64
	for _, e := range s.journal.entries() {
		switch {
		case e.member == left && e.Event == "left":
			gone = e.At
		case e.member != left && e.Event == "assigned":
			taken = e.At
		}
	}
	return time.Duration(taken - gone)
}

// watchCommits asks the broker for the group's offsets all the time: no offset
// moves back, and none is below one that a member was told is committed.
func (s *story) watchCommits() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		last := map[int32]int64{}
		for ctx.Err() == nil {
			floor := s.journal.commits()
			for p, offset := range last {
				floor[p] = max(floor[p], offset)
			}
			last = s.lookAtCommits(ctx, floor)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	s.t.Cleanup(stop)
	return stop
}

// lookAtCommits returns what is committed, or floor when the broker is away.
func (s *story) lookAtCommits(ctx context.Context, floor map[int32]int64) map[int32]int64 {
	ctx, cancel := context.WithTimeout(ctx, patience/4)
	defer cancel()
	offsets, err := s.admin.FetchOffsets(ctx, s.name)
	if err != nil {
		return floor
	}
	got := map[int32]int64{}
	for p, least := range floor {
		o, ok := offsets.Lookup(s.name, p)
		if !ok || o.Err != nil || o.At < least {
			s.t.Errorf("partition %d: the broker has committed offset %d (found %v, error %v), but %d was committed before", p, o.At, ok, o.Err, least)
		}
		got[p] = max(o.At, least)
	}
	return got
}

// summary is how much was read, and how much twice.
func summary(entries []entry, acknowledged map[int32]int64) string {
	records, commits, refused := 0, 0, map[string]int{}
	for _, e := range entries {
		switch e.Event {
		case "record":
			records++
		case "committed":
			commits++
		case "refused":
			refused[e.Error]++
		}
	}
	sent := int64(0)
	for _, n := range acknowledged {
		sent += n
	}
	return fmt.Sprintf("%d records sent, %d read; %d commits, refused: %v", sent, records, commits, refused)
}
