package storage

import (
	"crypto/sha256"
	"encoding/binary"
)

// keyOffset is a slot of a keyMap; a zero next is a free one.
type keyOffset struct {
	hash [16]byte
	next int64 // the newest offset of the key, plus one
}

// keyOffsetBytes is the size of a slot.
const keyOffsetBytes = 24

// minSlots is the size of the smallest keyMap.
const minSlots = 64

// keyMap holds the newest offset of each key: open addressing, 24 bytes for a
// key of any length, never more than it was made with. A key is known by half of
// its SHA-256: two keys with the same half would make one of them vanish, and
// who chooses the keys must not be able to find such a pair, as with the MD5
// that Apache Kafka takes.
type keyMap struct {
	slots []keyOffset
	used  int
	most  int // keys: nine tenths of the slots
}

// newKeyMap makes a map of at most bytes; hint is how many keys may come.
func newKeyMap(bytes, hint int64) *keyMap {
	n := max(min(bytes/keyOffsetBytes, hint+hint/4), minSlots)
	return &keyMap{slots: make([]keyOffset, n), most: int(n) * 9 / 10}
}

// find returns the slot of a key, or the free one where it belongs, and its hash.
func (m *keyMap) find(key []byte) (*keyOffset, [16]byte) {
	sum := sha256.Sum256(key)
	h := [16]byte(sum[:16])
	at := binary.LittleEndian.Uint64(h[:]) % uint64(len(m.slots))
	for m.slots[at].next != 0 && m.slots[at].hash != h {
		if at++; at == uint64(len(m.slots)) {
			at = 0
		}
	}
	return &m.slots[at], h
}

// put notes that key has a record at offset. It returns false, and notes
// nothing, if the key is new and the map is full.
func (m *keyMap) put(key []byte, offset int64) bool {
	s, h := m.find(key)
	if s.next == 0 {
		if m.used == m.most {
			return false
		}
		m.used++
		s.hash = h
	}
	s.next = max(s.next, offset+1)
	return true
}

// newest returns the newest offset of key, -1 if it has none.
func (m *keyMap) newest(key []byte) int64 {
	s, _ := m.find(key)
	return s.next - 1
}
