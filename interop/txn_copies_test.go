//go:build unix

package interop

import (
	"context"
	"io"
	"maps"
	"strconv"
	"syscall"
	"time"
)

// copier is a program that copies a topic.
type copier struct {
	*process
	name, id string
	began    time.Time
}

// copies has copiers copy a topic that grows all the time. The first is killed in a
// transaction, which the next aborts when it begins. That one is stopped in another,
// until one with another transactional id has taken its place, and goes on. Later
// the broker is restarted. It returns what must be there.
func (s *txnStory) copies(restart func()) map[int32][]string {
	s.t.Helper()
	producer := produceAlways(s.t, s.server.address, s.from, partitions)
	s.hangs("killed").kill()
	s.isOpen(s.to)
	s.overtake(s.hangs("stopped"))
	s.copied("records after the deaths of copiers", oneMore(producer.acknowledged()))
	restart()
	s.copied("records after the restart of the broker", oneMore(producer.acknowledged()))
	producer.close()
	sent := producer.acknowledged()
	s.copied("the last record", sent)
	s.copier.terminate()
	if len(s.journal.since(s.copier.began, s.copier.name, "left")) == 0 {
		s.t.Errorf("the copier did not end in order; it printed:\n%s", s.copier.output())
	}
	s.untilStable("all", s.to)
	want := map[int32][]string{}
	for p, n := range sent {
		for i := range n {
			want[p] = append(want[p], strconv.FormatInt(i, 10))
		}
	}
	s.t.Logf("%d transactions committed, %d aborted; %d copiers died of themselves", s.count("committed"), s.count("aborted"), s.crashes)
	return want
}

func (s *txnStory) count(event string) (n int) {
	for _, e := range s.journal.entries() {
		if e.Event == event {
			n++
		}
	}
	return n
}

func (s *txnStory) startCopier(name, id string, args ...string) *copier {
	s.t.Helper()
	c := &copier{name: name, id: id, began: time.Now()}
	c.process = s.program(name, id, func(line string) bool { return s.journal.line(name, line) },
		append([]string{"-group", s.name, "-from", s.from, "-to", s.to}, args...)...)
	return c
}

// hangs starts a copier and waits until it hangs in a transaction.
func (s *txnStory) hangs(name string) *copier {
	s.t.Helper()
	for {
		c := s.startCopier(name, s.name, "-hang", "4")
		if s.copierSays(c, "hangs") {
			return c
		}
		s.gaveUp(c)
	}
}

// copierSays waits for one of some events. It returns false if the copier ends first.
func (s *txnStory) copierSays(c *copier, events ...string) bool {
	s.t.Helper()
	said := func() bool { return len(s.journal.since(c.began, c.name, events...)) > 0 }
	s.journal.until(s.t, "copier that "+events[0], func() bool { return said() || isOver(c.done) })
	return said()
}

// overtake stops a copier that hangs, until the next has its partitions, and lets it go
// on to commit. If it wrote its offsets before, that counts, and the next waits for it
// before it reads; otherwise its offsets are those of a generation that is over, and
// refused.
func (s *txnStory) overtake(c *copier) {
	s.t.Helper()
	old := s.member()
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGSTOP)
	s.copier = s.startCopier("next", s.name+"-next")
	deadline := time.After(patience)
	for now := s.member(); now == old || now == ""; now = s.member() {
		select {
		case <-deadline:
			s.t.Fatalf("nobody takes the place of the copier that was stopped")
		case <-time.After(50 * time.Millisecond):
		}
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGCONT)
	c.began = time.Now()
	if _, err := io.WriteString(c.in, "go on\n"); err != nil {
		s.t.Fatalf("%s: %v", c.process.name, err)
	}
	if !s.copierSays(c, "committed", "aborted", "failed") {
		s.t.Fatalf("the copier that was overtaken ended; it printed:\n%s", c.output())
	}
	if committed := len(s.journal.since(c.began, c.name, "committed")) > 0; committed != s.flow.offsetsFirst {
		s.t.Errorf("a copier that was overtaken: committed %v; it said %v", committed, s.journal.since(c.began, c.name, "aborted", "failed", "refused"))
	}
	c.kill()
}

// member is the id of the one member of a stable group, or empty.
func (s *txnStory) member() (id string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var ids []string
	var state string
	if s.flow.version == 2 {
		all, err := s.admin.DescribeConsumerGroups(ctx, s.name)
		g := all[s.name]
		if err = firstError(err, g.Err); err != nil {
			s.t.Fatalf("describe group %s: %v", s.name, err)
		}
		state = g.State
		for _, m := range g.Members {
			ids = append(ids, m.MemberID)
		}
	} else {
		all, err := s.admin.DescribeGroups(ctx, s.name)
		g := all[s.name]
		if err = firstError(err, g.Err); err != nil {
			s.t.Fatalf("describe group %s: %v", s.name, err)
		}
		state = g.State
		for _, m := range g.Members {
			ids = append(ids, m.MemberID)
		}
	}
	if state != "Stable" || len(ids) != 1 {
		return ""
	}
	return ids[0]
}

// mostCrashes is how often a copier may give up: once for the restart of the broker,
// and some more where a machine is slow.
const mostCrashes = 4

// copied waits until transactions have committed such offsets, and starts the copier
// again when it gave up.
func (s *txnStory) copied(what string, want map[int32]int64) {
	s.t.Helper()
	done := func() bool {
		got := s.journal.commits()
		for p, n := range want {
			if got[p] < n {
				return false
			}
		}
		return true
	}
	for !done() {
		s.journal.until(s.t, what, func() bool { return done() || isOver(s.copier.done) })
		if done() {
			return
		}
		s.gaveUp(s.copier)
		s.copier = s.startCopier(s.copier.name, s.copier.id)
	}
}

// gaveUp counts a copier that ended.
func (s *txnStory) gaveUp(c *copier) {
	s.t.Helper()
	if s.crashes++; s.crashes > mostCrashes {
		s.t.Fatalf("too many copiers give up; the last printed:\n%s", c.output())
	}
	s.t.Logf("a copier gave up; it printed:\n%s", c.output())
	c.kill()
}

func oneMore(of map[int32]int64) map[int32]int64 {
	next := maps.Clone(of)
	for p := range int32(partitions) {
		next[p]++
	}
	return next
}

func isOver(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
