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
	table table
	slots []slot[K, V]
	hand  int
}

type slot[K comparable, V any] struct {
	key   K
	used  uint32 // atomic. Not 0: the entry was read since the hand passed it
	value V
}

// newCache makes a cache of at most max entries, rounded up to a multiple of cacheShards.
func newCache[K comparable, V any](max int, evicted func(V)) *cache[K, V] {
	return &cache[K, V]{seed: maphash.MakeSeed(), max: (max + cacheShards - 1) / cacheShards, evicted: evicted}
}

// shard returns the shard of a key, and the hash of the key in it.
func (c *cache[K, V]) shard(key K) (*shard[K, V], uint32) {
	h := maphash.Comparable(c.seed, key)
	return &c.shards[h%cacheShards], uint32(h >> 32)
}

// find returns the slot of a key, and its place in the table. The slot is nil if there is none.
func (s *shard[K, V]) find(key K, hash uint32) (*slot[K, V], int) {
	for at := s.table.first(hash); at >= 0; at = s.table.next(at, hash) {
		if one := &s.slots[s.table[at].slot-1]; one.key == key {
			return one, at
		}
	}
	return nil, -1
}

// Get returns the value of a key.
func (c *cache[K, V]) Get(key K) (value V, ok bool) {
	s, hash := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	one, _ := s.find(key, hash)
	if one == nil {
		return value, false
	}
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
	s, hash := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, _ := s.find(key, hash); one != nil {
		if value, keep := change(one.value, true); keep {
			one.value, one.used = value, 1
		}
		return
	}
	var none V
	if value, keep := change(none, false); keep {
		s.add(key, hash, value, c)
	}
}

func (s *shard[K, V]) add(key K, hash uint32, value V, c *cache[K, V]) {
	if len(s.slots) < c.max {
		s.slots = append(s.slots, slot[K, V]{key: key, value: value})
		s.table = s.table.with(hash, len(s.slots), len(s.slots))
		return
	}
	for s.slots[s.hand].used != 0 {
		s.slots[s.hand].used = 0
		s.hand = (s.hand + 1) % c.max
	}
	old := &s.slots[s.hand]
	_, was := c.shard(old.key)
	s.table.remove(s.table.of(was, s.hand+1))
	if c.evicted != nil {
		c.evicted(old.value)
	}
	*old = slot[K, V]{key: key, value: value}
	s.table = s.table.with(hash, s.hand+1, len(s.slots))
	s.hand = (s.hand + 1) % c.max
}

// Delete removes a key. The last slot moves to its place.
func (c *cache[K, V]) Delete(key K) {
	s, hash := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	one, at := s.find(key, hash)
	if one == nil {
		return
	}
	free := s.table[at].slot
	s.table.remove(at)
	last := len(s.slots) - 1
	if int(free)-1 != last {
		*one = s.slots[last]
		_, moved := c.shard(one.key)
		s.table[s.table.of(moved, last+1)].slot = free
	}
	s.slots[last] = slot[K, V]{}
	s.slots = s.slots[:last]
}

// Clear removes all keys. It does not call evicted for their values.
func (c *cache[K, V]) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.table, s.slots, s.hand = nil, nil, 0
		s.mu.Unlock()
	}
}

// Len returns the number of entries.
func (c *cache[K, V]) Len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.slots)
		s.mu.RUnlock()
	}
	return n
}

// A table finds slots by the hashes of their keys. Its length is a power of two, and at least twice the number of its
// entries. An entry is at the first free place from the one that its hash names. So a search mostly reads one line of
// the memory, and then the slot. A map reads three or four, which are in no cache of a processor if much is listed.
type table []place

// A place has the hash of a key, and the number of its slot, from 1. 0: the place is free.
type place struct{ hash, slot uint32 }

const leastTable = 8

// from returns the first place from at, at included, that is free or has a hash. It is -1 if that place is free.
func (t table) from(at int, hash uint32) int {
	for mask := len(t) - 1; ; at++ {
		switch p := t[at&mask]; {
		case p.slot == 0:
			return -1
		case p.hash == hash:
			return at & mask
		}
	}
}

// first returns the first place with a hash, and next the one after a place. -1: there is none.
func (t table) first(hash uint32) int {
	if len(t) == 0 {
		return -1
	}
	return t.from(int(hash), hash)
}

func (t table) next(at int, hash uint32) int { return t.from(at+1, hash) }

// of returns the place of a slot whose key has a hash.
func (t table) of(hash uint32, slot int) int {
	at := t.first(hash)
	for at >= 0 && t[at].slot != uint32(slot) {
		at = t.next(at, hash)
	}
	return at
}

// put adds a slot.
func (t table) put(one place) {
	mask := len(t) - 1
	at := int(one.hash) & mask
	for t[at].slot != 0 {
		at = (at + 1) & mask
	}
	t[at] = one
}

// with returns the table with one more slot, of entries in all. It is a larger one if there would be too little room.
func (t table) with(hash uint32, slot, entries int) table {
	if 2*entries > len(t) {
		larger := make(table, max(leastTable, 2*len(t)))
		for _, one := range t {
			if one.slot != 0 {
				larger.put(one)
			}
		}
		t = larger
	}
	t.put(place{hash, uint32(slot)})
	return t
}

// remove removes the entry at a place. Entries behind it that would not be found any more move forward.
func (t table) remove(at int) {
	mask := len(t) - 1
	for next := (at + 1) & mask; t[next].slot != 0; next = (next + 1) & mask {
		home := int(t[next].hash) & mask
		if (next-home)&mask >= (next-at)&mask { // its home is not behind the free place
			t[at], at = t[next], next
		}
	}
	t[at] = place{}
}
