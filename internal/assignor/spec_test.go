package assignor

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"

	"pgregory.net/rapid"
)

func topicID(i int) TopicID { return TopicID{0: 7, 15: byte(i), 14: byte(i >> 8)} }

// group builds a Spec: sizes are the partitions of topics 0, 1, …; each member is
// given with the topics that it subscribes to.
func group(sizes []int32, members map[string][]int) Spec {
	spec := Spec{Members: map[string]Member{}, Partitions: map[TopicID]int32{}}
	for t, n := range sizes {
		spec.Partitions[topicID(t)] = n
	}
	for id, topics := range members {
		m := Member{Topics: map[TopicID]struct{}{}, Owned: map[TopicID][]int32{}}
		for _, t := range topics {
			m.Topics[topicID(t)] = struct{}{}
		}
		spec.Members[id] = m
	}
	return spec
}

// after is the spec with what an assignment gave as what is owned.
func after(spec Spec, got Assignment) Spec {
	next := Spec{Members: map[string]Member{}, Partitions: maps.Clone(spec.Partitions)}
	for id, m := range spec.Members {
		m.Owned = got[id]
		next.Members[id] = m
	}
	return next
}

// anyGroup draws a group: homogeneous or not, with static members, topics that
// are gone, and an owned state that is partial, stale or broken.
func anyGroup(t *rapid.T, homogeneous bool) Spec {
	topics := rapid.IntRange(0, 6).Draw(t, "topics")
	sizes := rapid.SliceOfN(rapid.Int32Range(0, 12), topics, topics).Draw(t, "sizes")
	members := map[string][]int{}
	all := rapid.SliceOfDistinct(rapid.IntRange(0, topics), rapid.ID[int])
	same := all.Draw(t, "subscription")
	for i := range rapid.IntRange(0, 9).Draw(t, "members") {
		if !homogeneous {
			same = all.Draw(t, "subscription")
		}
		members[fmt.Sprintf("m%d", i)] = same
	}
	spec := group(sizes, members)
	for id, m := range spec.Members {
		if rapid.IntRange(0, 3).Draw(t, "static") == 0 {
			m.Instance = fmt.Sprintf("i%d-%s", rapid.IntRange(0, 9).Draw(t, "instance"), id)
			spec.Members[id] = m
		}
	}
	return owning(t, spec)
}

// owning gives each partition an owner or none; in a broken state also members
// that do not subscribe, partitions that do not exist, and two owners.
func owning(t *rapid.T, spec Spec) Spec {
	ids := slices.Sorted(maps.Keys(spec.Members))
	if len(ids) == 0 {
		return spec
	}
	random := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed of what is owned")))
	broken := rapid.IntRange(0, 4).Draw(t, "broken") == 0
	free := rapid.Float64Range(0, 1).Draw(t, "free")
	skew := rapid.IntRange(1, len(ids)).Draw(t, "owners")
	for topic := range 8 {
		for p := range int32(14) {
			for owners := 1 + random.Intn(2); owners > 0; owners-- {
				m := spec.Members[ids[random.Intn(skew)]]
				_, subscribed := m.Topics[topicID(topic)]
				if random.Float64() < free || !broken && (!subscribed || p >= spec.Partitions[topicID(topic)]) {
					continue
				}
				if !slices.Contains(m.Owned[topicID(topic)], p) {
					m.Owned[topicID(topic)] = append(m.Owned[topicID(topic)], p)
				}
				if !broken {
					break
				}
			}
		}
	}
	return spec
}
