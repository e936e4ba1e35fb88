package assignor

import (
	"fmt"
	"testing"
)

// thousand is a group of 1,000 members and 10,000 partitions in 100 topics. In a
// mixed one each member subscribes to a tenth of the topics, different ones.
func thousand(mixed bool) Spec {
	sizes := make([]int32, 100)
	all := make([]int, 100)
	for t := range sizes {
		sizes[t], all[t] = 100, t
	}
	members := map[string][]int{}
	for i := range 1000 {
		topics := all
		if mixed {
			topics = nil
			for k := range 10 {
				topics = append(topics, (i*7+k*k*(1+i%5))%100)
			}
		}
		members[fmt.Sprintf("member-%04d", i)] = topics
	}
	return group(sizes, members)
}

// BenchmarkAssign measures the first assignment of the group, one in which nothing
// changes, and those when a member of it leaves and when a tenth does.
func BenchmarkAssign(b *testing.B) {
	for _, name := range Names() {
		assign, _ := Find(name)
		for _, mixed := range []bool{false, true} {
			kind := map[bool]string{false: "same", true: "mixed"}[mixed]
			first := thousand(mixed)
			again := after(first, assign(first))
			left := after(first, assign(first))
			delete(left.Members, "member-0500")
			tenth := after(first, assign(first))
			for i := range 100 {
				delete(tenth.Members, fmt.Sprintf("member-%04d", i*3))
			}
			for _, c := range []struct {
				what string
				spec Spec
			}{{"first", first}, {"again", again}, {"left", left}, {"tenth", tenth}} {
				b.Run(name+"/"+kind+"/"+c.what, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						assign(c.spec)
					}
				})
			}
		}
	}
}

// TestAssigningIsBounded: the worst groups take a tenth of the steps after which the
// search for chains gives up; a step is some nanoseconds, see the package comment.
func TestAssigningIsBounded(t *testing.T) {
	for name, spec := range map[string]Spec{"mixed": thousand(true), "same": thousand(false), "ladder": ladder(1000, 10)} {
		m := newModel(spec)
		m.retain()
		if members, ok := m.homogeneous(); ok {
			m.spread(members)
		} else {
			m.fillTopics()
			m.levelTopics()
			used := m.chains()
			t.Logf("%s: %d steps", name, used)
			if used > maxSteps/10 {
				t.Errorf("%s: the search takes %d steps of %d", name, used, maxSteps)
			}
		}
		if err := invalid(spec, m.assignment()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ladder is a group in which member i subscribes to topics i and i+1, and the
// first owns all that it can: what it has too much must go down the whole ladder.
func ladder(members int, partitions int32) Spec {
	sizes := make([]int32, members+1)
	subscriptions := map[string][]int{}
	for i := range members {
		sizes[i] = partitions
		subscriptions[fmt.Sprintf("member-%04d", i)] = []int{i, i + 1}
	}
	sizes[0], sizes[members] = partitions*int32(members)/2, partitions
	spec := group(sizes, subscriptions)
	for i := range members {
		for p := range sizes[i] {
			owned := spec.Members[fmt.Sprintf("member-%04d", i)].Owned
			owned[topicID(i)] = append(owned[topicID(i)], p)
		}
	}
	return spec
}
