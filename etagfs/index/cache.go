package index

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A cache is a bounded map for use by many goroutines at once. It is divided into shards. If a shard is full, a new
// entry takes the place of an entry that was not read lately (the CLOCK algorithm). Each entry has a mark that a read
// sets. A hand goes around, clears marks, and stops at the first entry without a mark. A new entry has no mark, so
// entries that are read only once are removed first.
type cache[K comparable, V any] struct {
	seed    maphash.Seed
	shards  [cacheShards]shard[K, V]
	max     int           // entries in a shard
	evicted func(value V) // called for an entry that makes room, under the lock of its shard. It may be nil
}

const cacheShards = 64

type shard[K comparable, V any] struct {
	mu    sync.RWMutex
	at    map[K]int32 // the index of the entry in slots
	slots []slot[K, V]
	hand  int
}

type slot[K comparable, V any] struct {
	key   K
	value V
	used  uint32 // atomic. Not 0: the entry was read since the hand passed it
}

// newCache makes a cache of at most max entries, rounded up to a multiple of cacheShards.
func newCache[K comparable, V any](max int, evicted func(V)) *cache[K, V] {
	return &cache[K, V]{seed: maphash.MakeSeed(), max: (max + cacheShards - 1) / cacheShards, evicted: evicted}
}

func (c *cache[K, V]) shard(key K) *shard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, key)%cacheShards]
}

// Get returns the value of a key.
func (c *cache[K, V]) Get(key K) (value V, ok bool) {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.at[key]
	if !ok {
		return value, false
	}
	one := &s.slots[i]
	if atomic.LoadUint32(&one.used) == 0 { // most often it is set already. Then no other core's copy is made invalid
		atomic.StoreUint32(&one.used, 1)
	}
	return one.value, true
}

// Put sets the value of a key.
func (c *cache[K, V]) Put(key K, value V) {
	c.Update(key, func(V, bool) (V, bool) { return value, true })
}

// Update calls change with the value of a key. change returns the new value, and whether to keep it. No other call
// changes the value meanwhile.
func (c *cache[K, V]) Update(key K, change func(value V, ok bool) (V, bool)) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.at[key]; ok {
		if value, keep := change(s.slots[i].value, true); keep {
			s.slots[i].value, s.slots[i].used = value, 1
		}
		return
	}
	var none V
	if value, keep := change(none, false); keep {
		s.add(key, value, c)
	}
}

func (s *shard[K, V]) add(key K, value V, c *cache[K, V]) {
	if s.at == nil {
		s.at = map[K]int32{}
	}
	if len(s.slots) < c.max {
		s.at[key] = int32(len(s.slots))
		s.slots = append(s.slots, slot[K, V]{key, value, 0})
		return
	}
	for s.slots[s.hand].used != 0 {
		s.slots[s.hand].used = 0
		s.hand = (s.hand + 1) % c.max
	}
	old := &s.slots[s.hand]
	delete(s.at, old.key)
	if c.evicted != nil {
		c.evicted(old.value)
	}
	*old = slot[K, V]{key, value, 0}
	s.at[key] = int32(s.hand)
	s.hand = (s.hand + 1) % c.max
}

// Delete removes a key. The last slot moves to its place.
func (c *cache[K, V]) Delete(key K) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.at[key]
	if !ok {
		return
	}
	delete(s.at, key)
	last := len(s.slots) - 1
	if int(i) != last {
		s.slots[i] = s.slots[last]
		s.at[s.slots[i].key] = i
	}
	s.slots[last] = slot[K, V]{}
	s.slots = s.slots[:last]
}

// Clear removes all keys. It does not call evicted for their values.
func (c *cache[K, V]) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.at, s.slots, s.hand = nil, nil, 0
		s.mu.Unlock()
	}
}

// Len returns the number of entries.
func (c *cache[K, V]) Len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.at)
		s.mu.RUnlock()
	}
	return n
}
