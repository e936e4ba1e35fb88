package assignor

// ranges gives each topic's partitions out in runs, in the order of its members,
// the first ones getting one more when they do not divide evenly. Members with the
// same subscriptions so get the same partitions of all topics that have equally
// many, which joins need.
//
// It is as sticky as Kafka's: not by looking at what is owned, which would break
// the runs, but since static members keep their place in the order.
func ranges(spec Spec) Assignment {
	m := newModel(spec)
	for t, members := range m.subscribers {
		n := m.first[t+1] - m.first[t]
		next := m.first[t]
		for i, member := range members {
			size := n / len(members)
			if i < n%len(members) {
				size++
			}
			for range size {
				m.give(next, member)
				next++
			}
		}
	}
	return m.assignment()
}
