package assignor

// uniform spreads the partitions of all topics evenly over the members. A member
// keeps what it owns as far as balance allows: balance before stickiness.
func uniform(spec Spec) Assignment {
	m := newModel(spec)
	m.retain()
	if members, ok := m.homogeneous(); ok {
		m.spread(members)
	} else {
		m.fillTopics()
		m.levelTopics()
		m.chains()
	}
	return m.assignment()
}

// homogeneous returns the members of a group in which all that subscribe to
// anything subscribe to the same.
func (m *model) homogeneous() ([]int, bool) {
	if len(m.topics) == 0 {
		return nil, true
	}
	members := m.subscribers[0]
	subscribes := make([]bool, len(m.ids))
	for _, member := range members {
		subscribes[member] = true
	}
	for _, subscribers := range m.subscribers {
		if len(subscribers) != len(members) {
			return nil, false
		}
		for _, member := range subscribers {
			if !subscribes[member] {
				return nil, false
			}
		}
	}
	return members, true
}

// spread balances a homogeneous group within one partition, moving as few as can
// be: the members that have one more in the end are those that have it already.
func (m *model) spread(members []int) {
	if len(members) == 0 {
		return
	}
	quota := m.level(members, make([]int, len(members)), m.loads(members), len(m.owner))
	shares := m.shares()
	var open []gap
	for i, member := range members {
		m.release(member, shares[member], quota[i])
		if missing := quota[i] - m.load[member]; missing > 0 {
			open = append(open, gap{member, missing})
		}
	}
	m.deal(0, len(m.owner), open)
}

func (m *model) loads(members []int) []int {
	loads := make([]int, len(members))
	for i, member := range members {
		loads[i] = m.load[member]
	}
	return loads
}

// release takes from a member what it owns beyond its quota, evenly over the
// topics: the last topic read would otherwise lose all.
func (m *model) release(member int, shares []share, quota int) {
	if len(shares) <= quota {
		return
	}
	var topics [][]share
	for run := range runs(shares) {
		topics = append(topics, run)
	}
	for round := 0; len(topics) > 0; round++ {
		left := topics[:0]
		for _, run := range topics {
			if quota > 0 {
				quota--
			} else {
				m.give(m.first[run[round].topic]+int(run[round].partition), nobody)
			}
			if round+1 < len(run) {
				left = append(left, run)
			}
		}
		topics = left
	}
}

// A gap is what a member lacks.
type gap struct {
	member, missing int
}

// deal gives the partitions between from and to that nobody owns to the members
// in turn, as long as they lack any, so that each gets some of every topic.
func (m *model) deal(from, to int, open []gap) {
	next := 0
	for p := from; p < to && len(open) > 0; p++ {
		if m.owner[p] != nobody {
			continue
		}
		m.give(p, open[next].member)
		if open[next].missing--; open[next].missing == 0 {
			open = append(open[:next], open[next+1:]...)
		} else {
			next++
		}
		if next >= len(open) {
			next = 0
		}
	}
}
