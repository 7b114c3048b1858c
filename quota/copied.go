package quota

// A copied is a collection that is being copied. It is summed first, then the store copies one member after the other,
// and then the copy is put in its place. Meanwhile other operations change the collection, so that the copy has each of
// these changes or not. The copy has at most the sum and all bytes that were added since, and is listed in the end.
type copied struct {
	of      *node
	name    string
	placed  uint64 // a collection that was moved later than this may be another one
	before  int64  // of the node, when this began
	changes uint64
}

// copies begins a copy of a collection. It is called before the collection is summed: the listing can see all changes
// that operations have made until then.
func (l *ledger) copies(o *operation, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.root.ensure(name)
	n.copies++
	o.copied = &copied{of: n, name: name, placed: l.clock, before: n.grown, changes: n.changes}
}

// uncopy ends a copy. The mutex is held.
func (l *ledger) uncopy(o *operation) {
	if o.copied != nil {
		o.copied.of.copies--
		o.copied.of.prune()
		o.copied = nil
	}
}

// isInPlace reports whether the collection has been at its name all the time. Otherwise the copy can have members of
// another one that was there in between. The mutex is held.
func (l *ledger) isInPlace(c *copied) bool {
	if l.root.find(c.name) != c.of {
		return false
	}
	for n := c.of; n != nil; n = n.parent {
		if n.placed > c.placed {
			return false
		}
	}
	return true
}

// grown returns how many bytes the copy may have that were not summed. The mutex is held.
func (c *copied) grown() int64 { return c.of.grown - c.before }

// hasChanged reports whether the copy may have other bytes than were summed. The mutex is held.
func (c *copied) hasChanged() bool { return c.of.changes != c.changes }

// tick returns a time that was not before. The mutex is held.
func (l *ledger) tick() uint64 {
	l.clock++
	return l.clock
}
