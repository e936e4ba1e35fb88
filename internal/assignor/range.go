package assignor

import (
	"maps"
	"slices"
)

// ranges gives each topic's partitions out in runs, by the order of member ids.
func ranges(spec Spec) Assignment {
	out := make(Assignment, len(spec.Members))
	ids := slices.Sorted(maps.Keys(spec.Members))
	for _, id := range ids {
		out[id] = map[TopicID][]int32{}
	}
	for _, topic := range sortedTopics(spec) {
		var subscribed []string
		for _, id := range ids {
			if _, ok := spec.Members[id].Topics[topic]; ok {
				subscribed = append(subscribed, id)
			}
		}
		next, n, members := int32(0), spec.Partitions[topic], int32(len(subscribed))
		for i, id := range subscribed {
			size := n / members
			if int32(i) < n%members {
				size++
			}
			for range size {
				out[id][topic] = append(out[id][topic], next)
				next++
			}
		}
	}
	return out
}
