package assignor

import (
	"cmp"
	"slices"
)

// level pours n partitions over members that have some besides (beside), as water
// over an uneven ground: the lowest are filled first, and those that got any are
// even within one. It returns how many each member gets. The ones that do not
// divide evenly stay with members that have them (now counts what each has of the
// n), then they go by the order of members.
func (m *model) level(members, beside, now []int, n int) []int {
	height, extra := waterline(beside, n)
	out := make([]int, len(members))
	for i := range members {
		out[i] = max(0, height-beside[i])
		if extra > 0 && beside[i] <= height && now[i] > out[i] {
			out[i]++
			extra--
		}
	}
	for i := range members {
		if extra > 0 && beside[i]+out[i] == height {
			out[i]++
			extra--
		}
	}
	return out
}

// waterline returns how high n partitions stand over the ground, and how many are
// left, too few to raise all that are under water by one.
func waterline(ground []int, n int) (height, left int) {
	sorted := slices.Sorted(slices.Values(ground))
	height = sorted[0]
	for i := range sorted {
		width := i + 1
		if width < len(sorted) && (sorted[width]-height)*width <= n {
			n -= (sorted[width] - height) * width
			height = sorted[width]
			continue
		}
		return height + n/width, n % width
	}
	return height, n
}

// hardestFirst orders topics by how many partitions each of their members has to
// take, then by how few can take them: what has little choice goes first.
func (m *model) hardestFirst() []int {
	order := make([]int, len(m.topics))
	for t := range order {
		order[t] = t
	}
	size := func(t int) int { return m.first[t+1] - m.first[t] }
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := len(m.subscribers[a]), len(m.subscribers[b])
		return cmp.Or(cmp.Compare(size(b)*x, size(a)*y), cmp.Compare(x, y))
	})
	return order
}

// fillTopics gives what nobody owns to the subscribers with the fewest partitions.
func (m *model) fillTopics() {
	for _, t := range m.hardestFirst() {
		free := 0
		for _, member := range m.of(t) {
			if member == nobody {
				free++
			}
		}
		if free > 0 {
			members := m.subscribers[t]
			quota := m.level(members, m.loads(members), make([]int, len(members)), free)
			m.deal(m.first[t], m.first[t+1], gaps(members, quota))
		}
	}
}

func gaps(members, missing []int) []gap {
	var open []gap
	for i, member := range members {
		if missing[i] > 0 {
			open = append(open, gap{member, missing[i]})
		}
	}
	return open
}

// maxRounds bounds how often all topics are gone through. One round is enough when
// the subscribers of every topic subscribe to the same.
const maxRounds = 16

// levelTopics evens out each topic among its subscribers until nothing moves any
// more, in time that is bounded by maxRounds.
func (m *model) levelTopics() {
	order := m.hardestFirst()
	owned := make([]int, len(m.ids))
	for range maxRounds {
		moved := false
		for _, t := range order {
			if m.even(t) {
				continue
			}
			moved = m.levelTopic(t, owned) || moved
		}
		if !moved {
			return
		}
	}
}

// even says that the subscribers of a topic are within one of each other.
func (m *model) even(topic int) bool {
	low, high := m.load[m.subscribers[topic][0]], 0
	for _, member := range m.subscribers[topic] {
		low, high = min(low, m.load[member]), max(high, m.load[member])
	}
	return high-low <= 1
}

// levelTopic evens out one topic and says whether any partition moved. Owned is
// room to count in, all 0.
func (m *model) levelTopic(topic int, owned []int) bool {
	members := m.subscribers[topic]
	for _, member := range m.of(topic) {
		owned[member]++
	}
	beside, now := make([]int, len(members)), make([]int, len(members))
	for i, member := range members {
		beside[i], now[i] = m.load[member]-owned[member], owned[member]
		owned[member] = 0
	}
	missing := m.level(members, beside, now, m.first[topic+1]-m.first[topic])
	surplus := owned // of members, what they give; all 0 again when it is given
	for i, member := range members {
		surplus[member] = max(0, now[i]-missing[i])
		missing[i] = max(0, missing[i]-now[i])
	}
	moved := false
	for p := m.first[topic+1] - 1; p >= m.first[topic]; p-- {
		if member := m.owner[p]; surplus[member] > 0 {
			surplus[member]--
			m.give(p, nobody)
			moved = true
		}
	}
	m.deal(m.first[topic], m.first[topic+1], gaps(members, missing))
	return moved
}
