package assignor

import (
	"cmp"
	"slices"
)

// maxSteps bounds the search for chains: so many partitions and subscribers are
// looked at, some tens of milliseconds. What is not found then is found at the
// next assignment; until then a group may be a little less even than it could be.
const maxSteps = 1 << 22

// chains finishes the balance where subscriptions overlap: when a loaded member
// shares no topic with an idle one, a third can take from the one and give to the
// other. A chain moves one partition from each of its members to the next, so that
// the first has one less and the last one more. When there is none whose first
// member has two more than its last, no assignment is more even. It tells how many
// steps it looked.
func (m *model) chains() int {
	n := len(m.ids)
	s := search{
		model: m, steps: maxSteps, topicsOf: make([][]int, n), settled: make([]bool, n),
		seen: make([]bool, n), asked: make([]bool, len(m.topics)), gives: make([]int, n), to: make([]int, n),
	}
	for t, members := range m.subscribers {
		for _, member := range members {
			s.topicsOf[member] = append(s.topicsOf[member], t)
		}
	}
	for s.round() {
	}
	return maxSteps - s.steps
}

// A search looks for chains, backwards from the member that is to get one more.
type search struct {
	*model
	steps    int
	topicsOf [][]int // member → the topics that it subscribes to
	settled  []bool  // members that no chain can lower or raise in this round
	seen     []bool  // members that were reached
	asked    []bool  // topics whose partitions were looked at
	gives    []int   // member that was reached → the partition that it would give
	to       []int   // and the member that would get it
	queue    []int
}

// round goes through the members, the idle first, and says whether it moved any.
//
// When nothing leads to a member, then nothing leads to any of those that it was
// reached from either, since they have at least as many and what leads to them
// leads on to it. They are settled, so a round without success looks at everything
// only once.
func (s *search) round() bool {
	clear(s.settled)
	highest := slices.Max(s.load)
	order := make([]int, len(s.ids))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.load[a], s.load[b]) })
	moved := false
	for _, member := range order {
		for !s.settled[member] && s.load[member]+1 < highest && s.steps > 0 {
			loaded, ok := s.find(member)
			if !ok {
				break
			}
			s.move(loaded, member)
			moved = true
		}
	}
	return moved
}

// find looks for a member that has at least two more than last and from which a
// chain leads to it.
func (s *search) find(last int) (int, bool) {
	clear(s.seen)
	clear(s.asked)
	s.steps -= (len(s.seen) + len(s.asked)) / 8
	s.queue = append(s.queue[:0], last)
	s.seen[last] = true
	for i := 0; i < len(s.queue) && s.steps > 0; i++ {
		if loaded, ok := s.ask(s.queue[i], s.load[last]+2); ok {
			return loaded, true
		}
	}
	if s.steps > 0 {
		for _, member := range s.queue {
			s.settled[member] = true
		}
	}
	return 0, false
}

// ask looks at all partitions that a member could get, and says which of their
// owners has enough to begin a chain.
func (s *search) ask(member, enough int) (int, bool) {
	for _, t := range s.topicsOf[member] {
		s.steps--
		if s.asked[t] {
			continue
		}
		s.asked[t] = true
		s.steps -= s.first[t+1] - s.first[t]
		for p, owner := range s.of(t) {
			if s.seen[owner] || s.settled[owner] {
				continue
			}
			s.seen[owner] = true
			s.gives[owner], s.to[owner] = s.first[t]+p, member
			if s.load[owner] >= enough {
				return owner, true
			}
			s.queue = append(s.queue, owner)
		}
	}
	return 0, false
}

// move moves one partition along each link of the chain that was found.
func (s *search) move(first, last int) {
	for member := first; member != last; member = s.to[member] {
		s.give(s.gives[member], s.to[member])
	}
}
