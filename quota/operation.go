package quota

import (
	"errors"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The kinds of operations that a ledger follows.
type kind uint8

const (
	put    kind = iota // a file comes
	remove             // a resource goes
	move               // a resource comes, and leaves another name
	bring              // a copy comes: COPY, or a version of the history
)

// An operation is a write that is under way.
type operation struct {
	kind   kind
	name   string  // the name that gets something, or loses it
	from   string  // of a move
	brings *node   // the collection that comes with a bring, or nil
	copied *copied // the original of that, or nil
	bytes  int64   // of the file that comes with a put or a bring

	held       holds     // room, until the change is made
	at, source site      // as the last decision has found them
	pending    []*change // of the last decision
	more       int64     // bytes that the last decision allowed for besides those of brings
	made       bool      // the store has made the change
	aged       int64     // bytes that gave way to it
}

// A site is a name with the resource there, if there is one.
type site struct {
	tree.State
}

// fileSize returns the bytes of the file at a name. A link has none.
func (s site) fileSize() int64 {
	if !s.Exists || s.Link || s.Collection {
		return 0
	}
	return s.Size
}

func (s site) isCollection() bool { return s.Exists && s.Collection && !s.Link }

// decide decides about an operation inside its commit, and reserves the room that it needs, or refuses it with errFull
// or errCounting. A commit may ask several times: the last time counts. at is the resource at the name now, and source
// is the one that a move takes there.
func (l *ledger) decide(o *operation, at, source tree.State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.made {
		return nil // the second commit of a MOVE that has to copy: it only removes, and both were counted
	}
	o.held.drop()
	l.withdraw(o)
	o.at, o.source = site{at}, site{source}
	if o.copied != nil && !l.isInPlace(o.copied) {
		return errChanged
	}
	if err := l.admit(o); err != nil {
		return err
	}
	if o.kind == move {
		l.expect(o, o.from, o.source.fileSize(), 0)
	}
	var size int64
	if o.kind != remove {
		size = l.comes(o)
	}
	l.expect(o, o.name, o.at.fileSize(), size)
	return nil
}

// comes returns the bytes of the file that an operation brings to its name.
func (l *ledger) comes(o *operation) int64 {
	if o.kind == move {
		return o.source.fileSize()
	}
	return o.bytes
}

// sizes returns the bytes that come to the name of an operation, the most that may come besides, and those that give
// way.
func (l *ledger) sizes(o *operation) (come, more, gone int64) {
	come, gone = l.comes(o), o.at.fileSize()
	arrives := o.brings
	if o.kind == move && o.source.isCollection() {
		arrives = l.root.find(o.from)
	}
	if arrives != nil {
		come = arrives.total
	}
	if o.copied != nil {
		more = o.copied.grown()
	}
	if o.at.isCollection() {
		if n := l.root.find(o.name); n != nil {
			gone = n.total
		}
	}
	return come, more, gone
}

// admit fails if an operation would have a sum grow above its limit. Otherwise it reserves the room that the operation
// needs.
func (l *ledger) admit(o *operation) error {
	if o.kind == remove {
		return nil
	}
	come, more, gone := l.sizes(o)
	o.more = more
	var need int64
	for _, a := range l.limits.Of(o.name) {
		used, n := l.used(a)
		growth := come + more
		if !a.History {
			growth -= gone // otherwise it counts as before, in the history
		}
		if o.kind == move && a.Covers(o.from) {
			growth -= come
		}
		if a.Name == o.name && !o.at.isCollection() {
			used += gone // no collection has counted it
		}
		switch {
		case growth <= 0:
			continue
		case !l.isKnown(a), o.kind == move && !l.root.isKnown(o.from):
			return errCounting
		}
		if n != nil {
			used += n.reserved
		}
		if growth > a.Max-used {
			l.refused++
			return errFull
		}
		need = max(need, growth)
	}
	if need == 0 {
		return nil
	}
	var stay []*node // those above both names of a move
	if o.kind == move {
		dir, _ := tree.Split(o.from)
		stay = l.root.ensure(dir).chain(nil)
	}
	dir, _ := tree.Split(o.name)
	for _, n := range l.root.ensure(dir).chain(nil) {
		if !slices.Contains(stay, n) {
			o.held.take(n, need)
		}
	}
	return nil
}

// expect notes that the file at a name is about to change its size.
func (l *ledger) expect(o *operation, name string, before, after int64) {
	dir, base := tree.Split(name)
	c := &change{in: l.root.ensure(dir), name: base, before: before, after: after}
	c.in.pending = append(c.in.pending, c)
	o.pending = append(o.pending, c)
	at := l.tick()
	for n := c.in; n != nil; n = n.parent {
		n.touched = at
	}
}

// withdraw takes back the changes that expect has noted.
func (l *ledger) withdraw(o *operation) {
	pending := o.pending
	o.pending = nil
	for _, c := range pending {
		if i := slices.Index(c.in.pending, c); i >= 0 {
			c.in.pending = slices.Delete(c.in.pending, i, i+1)
		}
	}
	for _, c := range pending {
		c.in.prune()
	}
}

// count counts an operation. It is called inside the commit, so that operations are counted in the order in which they
// have happened.
func (l *ledger) count(o *operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.made || len(o.pending) == 0 {
		return // a MOVE that has to copy has two commits
	}
	o.made = true
	from := ""
	if o.kind == move && o.source.isCollection() {
		from = o.from
	}
	l.own.add(o.name, from, l.now())
	changes := o.pending
	to := changes[len(changes)-1]
	for _, c := range changes {
		c.made = true
		c.in.add(c.after - c.before)
		if c.in.listing != nil {
			c.in.listing.log = append(c.in.listing.log, c)
		}
	}
	arrives := o.brings
	if from != "" {
		arrives = l.take(changes[0].in, changes[0].name)
		l.remark(o.from, o.name)
	}
	if o.brings != nil && (o.brings.unknowns > 0 || o.copied != nil && o.copied.hasChanged()) {
		l.recount(o)
	}
	o.aged = o.at.fileSize()
	if c := l.take(to.in, to.name); c != nil {
		o.aged = c.total // also if the collection was taken for none: a program has removed it
	}
	if arrives != nil {
		arrives.name = to.name
		arrives.placed = l.tick()
		if o.kind == bring {
			arrives.add(o.more) // until it is listed
		}
		to.in.attach(arrives)
		defer arrives.prune() // it may have no bytes
	}
	for _, a := range l.limits.Of(o.name) {
		if a.History {
			l.history.add(a.Name, o.aged)
		}
	}
	o.held.drop()
	if o.kind != move { // one that has to copy has still to remove the source
		l.withdraw(o)
	}
}

// take takes the node of a collection out of the tree. It returns nil if the collection has no bytes.
func (l *ledger) take(in *node, base string) *node {
	c := in.children[base]
	if c != nil {
		l.moves(c)
		c.detach()
	}
	return c
}

// settle ends an operation, by the error of the store and the state of the name then.
func (l *ledger) settle(o *operation, err error, after tree.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.held.drop()
	l.withdraw(o)
	l.uncopy(o)
	switch {
	case o.made && err == nil && o.at.Tag != "" && o.at.Tag == after.Tag && o.kind == put:
		for _, a := range l.limits.Of(o.name) {
			if a.History {
				l.history.add(a.Name, -o.aged) // the file has stayed as it was
			}
		}
	case o.made != (err == nil), errors.Is(err, tree.ErrUnsure):
		l.recount(o)
	}
}

// recount has the collections of an operation listed again.
func (l *ledger) recount(o *operation) {
	for _, name := range []string{o.name, o.from} {
		if name != "" {
			dir, _ := tree.Split(name)
			l.dirty.mark(name, true)
			l.dirty.mark(dir, false)
		}
	}
}
