package group

import (
	"encoding/binary"

	"github.com/weirstream/weir/internal/assignor"
)

// wanted is what a member of the classic protocol says of itself.
type wanted struct {
	topics []string
	owned  ownedParts
	rack   *string
}

// readSubscription reads the metadata of a protocol of consumers. What it owns of
// topics that do not exist is left out.
func readSubscription(b []byte, cl Cluster) (wanted, bool) {
	r := readTopics(b)
	var s wanted
	for name, ok := r.topic(); ok; name, ok = r.topic() {
		s.topics = append(s.topics, string(name))
	}
	s.topics = sortedSet(s.topics)
	if r.err != nil {
		return s, false
	}
	r.take(int(max(0, r.int32()))) // user data
	s.owned = ownedParts{topics: map[assignor.TopicID]map[int32]bool{}, said: true}
	if r.version >= 1 {
		r.left = max(0, r.int32())
		for name, ok := r.topic(); ok; name, ok = r.topic() {
			id, count, exists := cl.Topic(string(name))
			for b := r.partitions(); len(b) >= 4; b = b[4:] {
				if p := int32(binary.BigEndian.Uint32(b)); exists && p >= 0 && p < count {
					s.owned.add(id, p)
				}
			}
		}
	}
	if r.version >= 2 {
		r.int32() // generation
	}
	if r.version >= 3 {
		if n := r.int16(); n > 0 {
			rack := string(r.take(int(n)))
			s.rack = &rack
		}
	}
	return s, r.err == nil
}
