package assignor

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// nobody owns a partition that is not assigned yet.
const nobody = -1

// A model is a Spec with numbers in place of names, so that assigning is work on
// arrays: members, topics and partitions are counted from 0, each in an order that
// depends on the Spec alone. The partitions of all topics are in one array.
type model struct {
	spec        Spec
	ids         []string  // member → id
	topics      []TopicID // topic → id
	first       []int     // topic → its first partition; one more entry ends the last topic
	subscribers [][]int   // topic → its members, ascending
	owner       []int     // partition → member, or nobody
	load        []int     // member → how many partitions it owns
}

func newModel(spec Spec) *model {
	m := &model{spec: spec, ids: ordered(spec.Members)}
	m.number()
	m.owner = slices.Repeat([]int{nobody}, m.first[len(m.topics)])
	m.load = make([]int, len(m.ids))
	return m
}

// ordered puts static members first, by instance, so that a member that comes back
// with another id stands where it stood; dynamic ones follow by id.
func ordered(members map[string]Member) []string {
	return slices.SortedFunc(maps.Keys(members), func(a, b string) int {
		x, y := members[a].Instance, members[b].Instance
		if (x == "") != (y == "") {
			return -cmp.Compare(x, y)
		}
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
	})
}

// number counts the topics that exist and have subscribers, and their partitions.
func (m *model) number() {
	byID := map[TopicID][]int{}
	for i, id := range m.ids {
		for topic := range m.spec.Members[id].Topics {
			if m.spec.Partitions[topic] > 0 {
				byID[topic] = append(byID[topic], i)
			}
		}
	}
	m.topics = slices.SortedFunc(maps.Keys(byID), func(a, b TopicID) int { return bytes.Compare(a[:], b[:]) })
	m.first = make([]int, 1, len(m.topics)+1)
	for i, topic := range m.topics {
		m.first = append(m.first, m.first[i]+int(m.spec.Partitions[topic]))
		m.subscribers = append(m.subscribers, byID[topic])
	}
}

// of returns the owners of a topic's partitions, to read and to change.
func (m *model) of(topic int) []int { return m.owner[m.first[topic]:m.first[topic+1]] }

func (m *model) give(partition, member int) {
	if was := m.owner[partition]; was != nobody {
		m.load[was]--
	}
	m.owner[partition] = member
	if member != nobody {
		m.load[member]++
	}
}

// retain lets every member have what it owns already and still subscribes to.
func (m *model) retain() {
	number := make(map[TopicID]int, len(m.topics))
	for t, topic := range m.topics {
		number[topic] = t
	}
	for i, id := range m.ids {
		member := m.spec.Members[id]
		for topic, partitions := range member.Owned {
			t, exists := number[topic]
			if _, subscribed := member.Topics[topic]; !subscribed || !exists {
				continue
			}
			owners := m.of(t)
			for _, p := range partitions {
				if p >= 0 && int(p) < len(owners) && owners[p] == nobody {
					m.give(m.first[t]+int(p), i)
				}
			}
		}
	}
}

// A share is one partition of one member.
type share struct {
	topic     int
	partition int32
}

// shares returns what each member owns, by topic and partition.
func (m *model) shares() [][]share {
	all := make([]share, len(m.owner))
	out := make([][]share, len(m.ids))
	used := 0
	for i, load := range m.load {
		out[i] = all[used:used:(used + load)]
		used += load
	}
	for t := range m.topics {
		for p, member := range m.of(t) {
			if member != nobody {
				out[member] = append(out[member], share{t, int32(p)})
			}
		}
	}
	return out
}

// assignment names what the numbers mean. The lists are cut from one array: the
// target of a group is replaced as a whole, so none of them keeps it alive long.
func (m *model) assignment() Assignment {
	numbers := make([]int32, 0, len(m.owner))
	out := make(Assignment, len(m.ids))
	for i, shares := range m.shares() {
		lists := make(map[TopicID][]int32, min(len(shares), len(m.topics)))
		for run := range runs(shares) {
			from := len(numbers)
			for _, s := range run {
				numbers = append(numbers, s.partition)
			}
			lists[m.topics[run[0].topic]] = numbers[from:len(numbers):len(numbers)]
		}
		out[m.ids[i]] = lists
	}
	return out
}

// runs cuts what a member owns by topic.
func runs(shares []share) func(yield func([]share) bool) {
	return func(yield func([]share) bool) {
		for len(shares) > 0 {
			n := slices.IndexFunc(shares, func(s share) bool { return s.topic != shares[0].topic })
			if n < 0 {
				n = len(shares)
			}
			if !yield(shares[:n]) {
				return
			}
			shares = shares[n:]
		}
	}
}
