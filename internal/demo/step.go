package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// groups lists the applications in the order they are shown.
func groups() []string { return []string{stockGroup, fraudGroup, recommendGroup} }

// say tells the onlookers that something happened.
func (r *run) say(format string, args ...any) {
	at, text := time.Since(r.begun), fmt.Sprintf(format, args...)
	r.events = append(r.events, fmt.Sprintf("%s  %s", seconds(at), text))
	r.screen.say(at, text)
}

// look gathers what there is to see.
func (r *run) look(now time.Time) view {
	v := view{elapsed: now.Sub(r.begun), in: int(r.acked.Load()), lines: len(r.lines)}
	progress := v.in + int(r.phase)
	for _, name := range groups() {
		g := groupView{name: name}
		for _, m := range r.members {
			if m.group != name {
				continue
			}
			mv := memberView{name: m.name, partitions: m.partitions(), stopped: m.stopped()}
			g.members = append(g.members, mv)
			g.processed += m.handled()
			progress += len(mv.partitions)
		}
		g.lag = max(0, v.in-g.processed)
		progress += g.processed
		v.groups = append(v.groups, g)
	}
	read := r.reader.snapshot()
	v.letters, v.alerts = len(read.letters), read.latest
	if progress != r.progress {
		r.progress, r.progressed = progress, now
	}
	return v
}

// step does what is due now. It returns true when the day's work is done.
func (r *run) step(now time.Time, v view) (done bool) {
	switch r.phase {
	case joining:
		if v.assigned() {
			r.open(now, v)
		}
		return false
	case morning:
		if v.in >= len(r.lines)/2 {
			r.stopMember(now)
		}
	case handing:
		r.awaitHandOver(now, v)
	}
	r.feed(now)
	if r.phase != closing || v.in < len(r.lines) {
		return false
	}
	for _, g := range v.groups {
		if g.processed < len(r.lines) {
			return false
		}
	}
	r.say("the day is over: all %s lines are in, and every application has worked through them", number(len(r.lines)))
	return true
}

// open begins the day.
func (r *run) open(now time.Time, v view) {
	r.say("three applications are ready, each a consumer group of its own: every group gets every line")
	var parts []string
	for _, m := range v.groups[0].members {
		parts = append(parts, fmt.Sprintf("%s reads %s", m.name, list(m.partitions)))
	}
	r.say("group %s has two members that share the partitions: %s", stockGroup, strings.Join(parts, ", "))
	r.opening, r.phase = now, morning
}

// feed produces the lines that are due.
func (r *run) feed(now time.Time) {
	due := len(r.lines)
	if passed := now.Sub(r.opening); passed < r.cfg.Pace {
		due = int(int64(due) * int64(passed) / int64(r.cfg.Pace))
	}
	for ; r.fed < due; r.fed++ {
		line := r.lines[r.fed]
		value, err := orders.Value.Encode(line)
		if err != nil {
			r.fail(fmt.Errorf("encode line %d of the day: %w", r.fed+1, err))
			return
		}
		n := r.fed + 1
		// Not the run's context: what was begun is acknowledged or given up by the client's own limits.
		r.client.Produce(context.Background(), &kgo.Record{Topic: orders.Name, Key: []byte(line.Invoice), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				r.fail(fmt.Errorf("the broker did not take line %d of the day: %w", n, err))
				return
			}
			r.acked.Add(1)
		})
	}
}

// stopMember stops the second member of stock in the middle of its work.
func (r *run) stopMember(now time.Time) {
	m := r.members[1]
	r.moving = m.partitions()
	r.say("stopping %s, half the day through: what becomes of its partitions %s?", m.name, list(r.moving))
	m.stop()
	r.stopAt, r.phase = now, handing
}

// awaitHandOver tells when the other member has the partitions.
func (r *run) awaitHandOver(now time.Time, v view) {
	heir := v.groups[0].members[0]
	for _, p := range r.moving {
		if !slices.Contains(heir.partitions, p) {
			return
		}
	}
	r.say("partitions %s moved to %s within %d ms; it goes on where %s left off", list(r.moving), heir.name,
		now.Sub(r.stopAt).Milliseconds(), r.members[1].name)
	r.phase = closing
}
