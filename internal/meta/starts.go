package meta

import "fmt"

// startsPerChunk is how many log starts are copied when one of them moves.
const startsPerChunk = 64

// logStarts are the log starts of one topic, by partition. A chunk is nil while
// all in it are 0, which is most of the time: a topic whose records were never
// deleted costs nothing. A chunk that is in an image is never changed.
type logStarts []*[startsPerChunk]int64

// LogStart is the first offset of a partition's log as far as the metadata log
// tells; 0 if it never moved or there is no such partition.
func (m *Image) LogStart(id [16]byte, partition int32) int64 {
	starts := m.starts.get(id)
	if c := int(partition) / startsPerChunk; partition >= 0 && c < len(starts) && starts[c] != nil {
		return starts[c][partition%startsPerChunk]
	}
	return 0
}

// LogStarts are those of all partitions of a topic in their order, or nil if
// none ever moved. The slice is the caller's.
func (m *Image) LogStarts(t *Topic) []int64 {
	if m.starts.get(t.ID) == nil {
		return nil
	}
	all := make([]int64, t.Partitions)
	for i := range all {
		all[i] = m.LogStart(t.ID, int32(i))
	}
	return all
}

// moveStarts works on an image that nobody else has seen yet.
func (m *Image) moveStarts(r LogStartRecord) error {
	t := m.byID.get(r.ID)
	if t == nil {
		return fmt.Errorf("%w: log starts of topic %s, which does not exist", ErrConflict, FormatID(r.ID))
	}
	old := m.starts.get(r.ID)
	next := make(logStarts, (int(t.Partitions)+startsPerChunk-1)/startsPerChunk)
	copy(next, old)
	for _, s := range r.Starts {
		if s.Partition >= t.Partitions {
			return fmt.Errorf("%w: log start of partition %d of topic %q, which has %d", ErrConflict, s.Partition, t.Name, t.Partitions)
		}
		c, k := s.Partition/startsPerChunk, s.Partition%startsPerChunk
		if next[c] != nil && next[c][k] >= s.Offset || s.Offset == 0 {
			continue
		}
		switch {
		case next[c] == nil:
			next[c] = new([startsPerChunk]int64)
		case int(c) < len(old) && old[c] == next[c]:
			own := *old[c]
			next[c] = &own
		}
		next[c][k] = s.Offset
	}
	m.starts = m.starts.with(r.ID, next)
	return nil
}
