package index

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// A cache has the value that was put last, or none, and never more than it may.
func TestCacheAgainstAMap(t *testing.T) {
	evicted := 0
	c, want := newCache[uint64](2*cacheShards, func(uint64) { evicted++ }), map[uint64]uint64{}
	random := rand.New(rand.NewPCG(1, 2))
	puts, hits := 0, 0
	for i := range uint64(50_000) {
		key := random.Uint64N(300)
		switch random.IntN(10) {
		case 0:
			c.Delete(key)
			delete(want, key)
		case 1, 2:
			if _, ok := want[key]; !ok {
				puts++
			}
			c.Put(key, i)
			want[key] = i
		case 3:
			c.Update(key, func(value uint64, ok bool) (uint64, bool) {
				if ok && value != want[key] {
					t.Fatalf("%d has %d, want %d", key, value, want[key])
				}
				return i, false
			})
		default:
			value, ok := c.Get(key)
			if ok && value != want[key] {
				t.Fatalf("%d has %d, want %d", key, value, want[key])
			}
			if ok {
				hits++
			}
		}
	}
	if n := c.Len(); n > 2*cacheShards || n == 0 {
		t.Errorf("it has %d", n)
	}
	if evicted == 0 || hits == 0 {
		t.Errorf("%d were put, %d evicted, %d found", puts, evicted, hits)
	}
	c.Clear()
	if c.Len() != 0 {
		t.Error("it is not empty")
	}
	if _, ok := c.Get(1); ok {
		t.Error("it has what was cleared")
	}
}

// What is asked for stays, rather than what is not.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := newCache[int, int](8*cacheShards, nil)
	used := make([]int, cacheShards)
	for i := range used {
		used[i] = i
		c.Put(i, i)
	}
	kept := 0
	for i := range 20 * 8 * cacheShards {
		c.Put(1000+i, i)
		c.Get(used[i%len(used)])
	}
	for _, key := range used {
		if _, ok := c.Get(key); ok {
			kept++
		}
	}
	if kept < len(used)*3/4 {
		t.Errorf("%d of %d are left", kept, len(used))
	}
}

func TestCacheIsForManyAtOnce(t *testing.T) {
	c := newCache[int, int](100, nil)
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for i := range 3000 {
				key := (i*7 + part) % 500
				c.Update(key, func(int, bool) (int, bool) { return key, true })
				if value, ok := c.Get(key); ok && value != key {
					t.Errorf("%d has %d", key, value)
				}
				c.Delete((key + 250) % 500)
			}
		})
	}
	all.Wait()
}

// A table has the slots that were added and not removed, also if most of them share their hashes, or begin where others
// have gone to.
func TestTableAgainstAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, hashes := range []uint32{1, 5, 40, 1 << 31} {
		var found table
		want := map[int]uint32{} // by slot
		for i := range 4000 {
			if slot := 1 + random.IntN(60); want[slot] == 0 {
				want[slot] = 1 + random.Uint32N(hashes)
				found = found.with(want[slot], slot, len(want))
			} else {
				found.remove(found.of(want[slot], slot))
				delete(want, slot)
			}
			taken := 0
			for _, one := range found {
				if one.slot != 0 {
					taken++
				}
			}
			if taken != len(want) {
				t.Fatalf("after %d steps it has %d entries, want %d", i+1, taken, len(want))
			}
			for slot, hash := range want {
				if at := found.of(hash, slot); at < 0 {
					t.Fatalf("after %d steps slot %d with the hash %d is not found", i+1, slot, hash)
				}
			}
			if at := found.of(hashes+1, 1); at >= 0 {
				t.Fatalf("after %d steps a slot is found that was not added", i+1)
			}
		}
	}
}
