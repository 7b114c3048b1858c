package index

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A cache is a bounded map that many may use at once. It is divided into shards. Where one is full, an entry makes
// room that was not asked for lately: each has a mark that a look sets, and a hand goes round that clears marks and
// takes the first entry without one (the CLOCK algorithm). A new entry has no mark, so that what is looked at once
// makes room first.
type cache[K comparable, V any] struct {
	seed    maphash.Seed
	shards  [cacheShards]shard[K, V]
	max     int           // entries in a shard
	evicted func(value V) // called under the lock of a shard; nil: nothing is
}

const cacheShards = 64

type shard[K comparable, V any] struct {
	mu    sync.RWMutex
	at    map[K]int32 // where it is in slots
	slots []slot[K, V]
	hand  int
}

type slot[K comparable, V any] struct {
	key   K
	value V
	used  uint32 // atomic: it was asked for since the hand went by
}

// newCache makes a cache of at most so many entries, rounded up to a multiple of cacheShards.
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
	if atomic.LoadUint32(&one.used) == 0 { // most often it is set, and then no other core's copy is made invalid
		atomic.StoreUint32(&one.used, 1)
	}
	return one.value, true
}

// Put sets the value of a key.
func (c *cache[K, V]) Put(key K, value V) {
	c.Update(key, func(V, bool) (V, bool) { return value, true })
}

// Update hands the value of a key to change, which says what it is to be and whether to keep that. Nothing comes
// between.
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

// Delete removes a key. Its slot is the last one's then.
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

// Clear removes all keys. What is removed so does not count as evicted.
func (c *cache[K, V]) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.at, s.slots, s.hand = nil, nil, 0
		s.mu.Unlock()
	}
}

// Len returns how many there are.
func (c *cache[K, V]) Len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.at)
		s.mu.RUnlock()
	}
	return n
}
