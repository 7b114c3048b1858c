package index

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// bodies are contents of small files in memory, by inode. The least recently used ones make room. Each is of one
// version, of which it has the fingerprint and the tag.
type bodies struct {
	mu      sync.Mutex
	lru     *simplelru.LRU[inodeKey, body]
	size    int64  // of the entries, in bytes
	max     int64  // of size
	refused uint64 // how many bodies found no room
}

type body struct {
	of   vfs.Fingerprint
	tag  tree.ETag
	data []byte
}

const (
	// bodyOverhead is about how many bytes an entry takes beside its data.
	bodyOverhead = 400
	// admitted: of the bodies that would take the place of others, one of this number does. If more files are read in
	// turn than there is room for, most stay. Otherwise each would be removed just before it is read again.
	admitted = 8
)

// newBodies makes room for bodies of this size in all, in bytes.
func newBodies(size int64) *bodies {
	b := &bodies{max: size}
	most := max(1, int(size/bodyOverhead)) // the size decides before that
	b.lru, _ = simplelru.NewLRU(most, func(_ inodeKey, old body) { b.size -= old.takes() })
	return b
}

func (b body) takes() int64 { return int64(len(b.data)) + bodyOverhead }

// get returns the body of exactly this version.
func (b *bodies) get(f vfs.Fingerprint) (body, bool) {
	if f.Inode == 0 {
		return body{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.lru.Get(inodeKey{f.Device, f.Inode})
	return one, ok && one.of == f
}

// put keeps a body in place of the one of an earlier version.
func (b *bodies) put(one body) {
	key := inodeKey{one.of.Device, one.of.Inode}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.Remove(key)
	if one.takes() > b.max {
		return
	}
	if b.size+one.takes() > b.max {
		if b.refused++; b.refused%admitted != 0 {
			return
		}
		for b.size+one.takes() > b.max {
			b.lru.RemoveOldest()
		}
	}
	b.size += one.takes()
	b.lru.Add(key, one)
}

// drop removes the body of an inode.
func (b *bodies) drop(key inodeKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.Remove(key)
}

// clear removes all bodies.
func (b *bodies) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.Purge()
}

// Body returns the content of exactly this version, and its tag, if [Index.KeepBody] has kept them. The content must
// not be changed.
func (x *Index) Body(f vfs.Fingerprint) (data []byte, tag tree.ETag, ok bool) {
	one, ok := x.bodies.get(f)
	return one.data, one.tag, ok
}

// WantsBody reports whether the content of a version is worth keeping: the version has a record, and WantsBody was
// called for it before. So a file that is read once takes no room.
func (x *Index) WantsBody(f vfs.Fingerprint) bool {
	if !x.KeepsBodies() || f.Inode == 0 {
		return false
	}
	key := inodeKey{f.Device, f.Inode}
	if r, ok := x.hot.Get(key); !ok || r.of != f || r.read {
		return ok && r.of == f
	}
	x.hot.Update(key, func(r hot, ok bool) (hot, bool) {
		r.read = true
		return r, ok && r.of == f
	})
	return false
}

// KeepsBodies reports whether there is room for contents in memory.
func (x *Index) KeepsBodies() bool { return x.bodies.max > 0 }

// KeepBody keeps the content of a version in memory. The caller has read or written the content, which has that tag,
// under an unbroken lease, and has found the fingerprint under the same lease. So every change of the content changes
// the fingerprint, provided that the file system stamps each change, also one through a memory map.
func (x *Index) KeepBody(f vfs.Fingerprint, tag tree.ETag, data []byte) {
	if f.Inode != 0 {
		x.bodies.put(body{f, tag, data})
	}
}
