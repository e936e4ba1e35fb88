package meta

import (
	"hash/maphash"
	"iter"
	"maps"
	"reflect"
)

// shardCount is how many maps a shards has. With 10,000 topics a change then
// copies about forty entries and one array instead of ten thousand entries.
const shardCount = 256

// hashSeed places keys in shards. Nothing that anybody sees depends on it: it
// only keeps chosen topic names from crowding one shard.
var hashSeed = maphash.MakeSeed()

// shards is an immutable map: with and without return a changed copy that
// shares all shards but one.
type shards[K comparable, V any] struct {
	maps [shardCount]map[K]V
	n    int
}

func newShards[K comparable, V any]() *shards[K, V] { return &shards[K, V]{} }

func shardOf[K comparable](key K) int {
	return int(maphash.Comparable(hashSeed, key) % shardCount)
}

// get returns the zero value for a key that is not there.
func (s *shards[K, V]) get(key K) V { return s.maps[shardOf(key)][key] }

func (s *shards[K, V]) len() int { return s.n }

func (s *shards[K, V]) with(key K, value V) *shards[K, V] {
	next, shard := s.fork(key)
	shard[key] = value
	next.count(s, key, shard)
	return next
}

func (s *shards[K, V]) without(key K) *shards[K, V] {
	next, shard := s.fork(key)
	delete(shard, key)
	next.count(s, key, shard)
	return next
}

// fork copies the shard of key, and all else by reference.
func (s *shards[K, V]) fork(key K) (*shards[K, V], map[K]V) {
	next, k := *s, shardOf(key)
	shard := maps.Clone(s.maps[k])
	if shard == nil {
		shard = map[K]V{}
	}
	next.maps[k] = shard
	return &next, shard
}

func (s *shards[K, V]) count(old *shards[K, V], key K, shard map[K]V) {
	s.n = old.n + len(shard) - len(old.maps[shardOf(key)])
}

// changed iterates the keys under which s has something else than old, which may be nil,
// in no particular order. It costs as much as what lies between the two: a change has
// left all shards but one as they are.
func (s *shards[K, V]) changed(old *shards[K, V], same func(a, b V) bool) iter.Seq[K] {
	return func(yield func(K) bool) {
		for i, m := range s.maps {
			var was map[K]V
			if old != nil {
				was = old.maps[i]
			}
			if reflect.ValueOf(m).Pointer() == reflect.ValueOf(was).Pointer() {
				continue
			}
			for k, v := range m {
				if w, ok := was[k]; (!ok || !same(v, w)) && !yield(k) {
					return
				}
			}
			for k := range was {
				if _, ok := m[k]; !ok && !yield(k) {
					return
				}
			}
		}
	}
}

// all iterates in no particular order.
func (s *shards[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, m := range s.maps {
			for k, v := range m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}
