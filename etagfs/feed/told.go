package feed

import (
	"sync"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The memory of the changes in the journal, by name: an event of the watcher for a change of the store itself is no
// news, and neither is a second event for a change that was seen. A change that is forgotten may be told twice. No
// change may be taken for told of which followers have not learnt.

// A toldNames remembers changes that are in the journal, as looks have found them. Changes are added under the lock of
// the journal.
type toldNames struct {
	names *lru.Cache[string, toldChange]
	last  atomic.Uint64          // see toldChange.order
	id    atomic.Pointer[string] // of the journal

	mu sync.Mutex
	// early has the names at which commits have left something, until the watcher tells of them too. Before, it may not
	// watch their collection yet, if that is new, and a removal there is no event. So they are looked at when the watcher
	// tells of a collection above: it does so once more when it watches all of a new one.
	early map[string]struct{}
}

// isEarly notes that a commit has left something at a name. It reports whether there are too many of these names, which
// are forgotten then.
func (t *toldNames) isEarly(name string) (tooMany bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tooMany = len(t.early) == maxToldChanges; tooMany {
		clear(t.early)
	}
	t.early[name] = struct{}{}
	return tooMany
}

// meet notes that the watcher has told of a name, or that nothing is there.
func (t *toldNames) meet(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.early, name)
}

// earlyBelow returns the names below a collection of which the watcher has not told yet.
func (t *toldNames) earlyBelow(dir string) (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.early {
		if tree.Below(name, dir) {
			names = append(names, name)
		}
	}
	return names
}

// maxToldChanges is how many changes are remembered.
const maxToldChanges = 1 << 14

// A foundThing is the resource that a look has found at a name. The zero value: there was none.
type foundThing struct {
	inode         uint64
	born, changed int64
}

func foundBy(now vfs.Info) foundThing { return foundThing{now.Inode, now.Born, now.Changed} }

// is reports whether two looks have found the same resource, whatever has changed in it between.
func (f foundThing) is(other foundThing) bool { return f.inode == other.inode && f.born == other.born }

// knows reports whether followers know that a resource is at a name, which a look has found: it was there when all
// changes were known, or its last change was told. One that has come to its name later has a later time of change.
func (f *Feed) knows(name string, now vfs.Info, fine bool) bool {
	if !now.Exists() || !fine {
		return false
	}
	return now.Device == f.device && now.Changed < f.journal.Seen() || f.told.isFresh(name, foundBy(now))
}

// A toldChange is the resource that was at a name after a change.
type toldChange struct {
	foundThing
	deep bool // everything below it has come with it
	// fresh: the change has found the resource that was told before, or followers were told to list again. So they do
	// not miss that another resource was removed between.
	fresh bool
	// order is larger than that of all changes before. A later change of another resource at a name above says that
	// followers may have something else here.
	order uint64
	// expected is true until the watcher has told of a removal by the store itself, at this name. Nil: it has not
	// removed anything there.
	expected *atomic.Bool
}

// unknownThing stands for the resource at a name that is to be listed again. No look finds it.
var unknownThing = foundThing{inode: ^uint64(0)}

func newTold() *toldNames {
	t := &toldNames{early: map[string]struct{}{}}
	t.names, _ = lru.New[string, toldChange](maxToldChanges) // it fails only for a size below one
	return t
}

// keepOnly forgets the changes of other journals than this one. Followers have listed since, and may have seen a change that
// is told of nowhere.
func (t *toldNames) keepOnly(id string) {
	if before := t.id.Swap(&id); before != nil && *before != id {
		t.names.Purge()
	}
}

// lastOn returns the last change that was told of a name, and that of each name above it.
func (t *toldNames) lastOn(name string) (all []toldChange) {
	for {
		c, _ := t.names.Peek(name)
		if all = append(all, c); name == "" {
			return all
		}
		name, _ = tree.Split(name)
	}
}

// add remembers a change of the store itself, which has found something there before. knew says that followers know of
// that, see [Feed.knows].
func (t *toldNames) add(name string, found, over foundThing, deep, knew bool) {
	before, known := t.names.Peek(name)
	c := toldChange{foundThing: found, deep: deep, expected: before.expected,
		fresh: knew || known && before.is(over) && (over.inode == 0 || before.fresh)}
	if found == (foundThing{}) || over.inode != 0 && !over.is(found) {
		c.expected = new(atomic.Bool)
		c.expected.Store(true)
	}
	t.put(name, c)
}

// isFresh reports whether the latest change of a name has left exactly this resource, and followers know the resource
// that it has found.
func (t *toldNames) isFresh(name string, found foundThing) bool {
	c, known := t.names.Peek(name)
	return known && c.fresh && c.foundThing == found
}

// addSeen remembers a change on the disk.
func (t *toldNames) addSeen(c sighting) {
	found := foundBy(c.now)
	if c.before == nil && c.Again {
		found = unknownThing
	}
	before, known := t.names.Peek(c.Name)
	fresh := c.hint.removed || !c.State.Collection || known && before.inode == 0
	// A change that is told as one of a file may be hidden from followers who know of a collection there. Followers who
	// list a collection again find all below it that had changed before the look.
	t.put(c.Name, toldChange{foundThing: found, deep: c.before != nil && c.Again, fresh: fresh && !c.OldFile})
}

func (t *toldNames) put(name string, c toldChange) {
	before, known := t.names.Peek(name)
	same := known && c.inode != 0 && before.is(c.foundThing)
	keeps := same && !c.deep && c.fresh == before.fresh
	for above := name; above != ""; {
		above, _ = tree.Split(above)
		at, ok := t.names.Peek(above)
		keeps = keeps && (!ok || at.order < before.order)
		if ok && at.inode == 0 { // it was not told that something is there again, but followers can conclude it
			t.names.Remove(above)
		}
	}
	if c.order = before.order; !keeps {
		c.order = t.last.Add(1)
	}
	t.names.Add(name, c)
}

// has reports whether a look has found the resource that a change in the journal has left. removed says that the look
// was for a removal. fine says that each change of a file leaves another time.
func (t *toldNames) has(name string, now vfs.Info, removed, fine bool) bool {
	c, known := t.names.Get(name)
	isDir := now.Kind == vfs.Directory
	above := name
	nearest := true // no name between is known
	for above != "" {
		above, _ = tree.Split(above)
		at, ok := t.names.Get(above)
		if !ok {
			continue
		}
		if known = known && at.order < c.order; !known && nearest && at.deep {
			switch {
			case !removed && !now.Exists() && at.inode != 0:
				// it was there before the collection came: if it had gone since, that would be an event of its own
				return true
			case fine && now.Exists() && now.Changed < at.changed:
				return !(removed && isDir) // it has come with the collection, and has not changed since
			}
		}
		nearest = false
	}
	if !known || !c.is(foundBy(now)) {
		return false
	}
	own := removed && c.expected != nil && c.expected.CompareAndSwap(true, false)
	switch {
	case !now.Exists():
		return !removed || own
	case removed && !c.fresh: // by another program, before a change by this one that has found something else
		return false
	case fine && c.changed == now.Changed:
		return true
	case removed && !own: // by another program, which has brought it back
		return false
	case isDir && now.Born != 0: // its time moves with its members, which have changes of their own
		return true
	}
	return c.changed == now.Changed
}
