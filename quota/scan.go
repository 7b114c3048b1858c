package quota

import (
	"context"
	"errors"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxNames bounds how many members of one collection are remembered while it is listed. If there are more, operations
// that come in between make the listing count for more than is there, and it is made again.
const maxNames = 1 << 17

// Pauses of the counting.
const (
	pauseMin = 20 * time.Millisecond // before a collection is listed again that has changed meanwhile
	pauseMax = 2 * time.Second
	// rescanMin is the time between two listings of the whole tree, in which nothing is missed. A large tree is listed
	// less often, so that this takes a fiftieth of the time.
	rescanMin   = time.Hour
	rescanShare = 50
)

// errAgain says that a listing does not count, because operations have come in between.
var errAgain = errors.New("it has changed while it was listed")

// found is the result of a listing of one collection.
type found struct {
	sum         int64
	sizes       map[string]int64 // of files (nil: there are too many)
	collections []string
	walked      map[string]*node // nodes of those that had none
}

// count lists collections that were marked, and the whole tree now and then, until the context ends.
func (c *counter) count(ctx context.Context) {
	rest := pauseMin
	next := rescanMin
	rescan := time.NewTimer(next)
	defer rescan.Stop()
	for ctx.Err() == nil {
		name, deep, ok := c.nextMark()
		if !ok {
			select {
			case <-ctx.Done():
			case <-rescan.C:
				c.mark("", true)
			case <-c.dirty.wake:
				_ = pause.For(ctx, c.opts.Gather)
			}
			continue
		}
		start := time.Now()
		err := c.refresh(ctx, name, deep)
		took := time.Since(start)
		if name == "" && deep && err == nil {
			rescan.Reset(max(rescanMin, rescanShare*took))
		}
		if err == nil {
			rest = pauseMin
			_ = pause.For(ctx, min(took, pauseMax)) // at most half of the time
			continue
		}
		if !errors.Is(err, errAgain) && ctx.Err() == nil {
			c.report(err)
			rest = pauseMax
		}
		c.mark(name, deep)
		_ = pause.For(ctx, rest)
		rest = min(2*rest, pauseMax)
	}
}

func (c *counter) mark(name string, deep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty.mark(name, deep)
}

// nextMark returns the next collection to be listed.
func (c *counter) nextMark() (name string, deep, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, deep, ok = c.dirty.next()
	c.listed = mark{name, deep, ok}
	return name, deep, ok
}

// refresh lists a collection and sets its sums. deep: also those of all collections below it that have bytes. Others
// are found there.
func (c *counter) refresh(ctx context.Context, name string, deep bool) error {
	below := []string{name}
	for len(below) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		one := below[len(below)-1]
		below = below[:len(below)-1]
		again, more, err := c.refreshOne(ctx, one)
		if err != nil {
			return err
		}
		if again {
			c.mark(one, deep)
		}
		if deep {
			for _, name := range more {
				below = append(below, tree.Join(one, name))
			}
		}
	}
	return nil
}

// refreshOne lists one collection. It returns the collections in it that had a node before, and whether it is to be
// listed again: its sum is then at least that of its files.
func (c *counter) refreshOne(ctx context.Context, name string) (again bool, below []string, err error) {
	n := c.beginListing(name)
	if n == nil {
		return false, nil, errAgain
	}
	f, err := c.list(ctx, n, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := n.listing
	n.listing = nil
	delete(c.listings, n)
	defer n.prune()
	switch {
	case l.moved || n.mayMove():
		return false, nil, errAgain
	case errors.Is(err, tree.ErrNotExist), errors.Is(err, errNoCollection):
		f = found{sizes: map[string]int64{}} // the listing of the collection above finds that it is gone
	case errors.Is(err, tree.ErrPermission):
		f = found{sizes: map[string]int64{}} // the server can neither read nor write there
	case err != nil:
		n.learn(true) // of a limit above it, nothing is sure until it is there again
		return false, nil, err
	}
	again, below = c.settleListing(n, l, f)
	if n.unknown {
		n.learn(false)
	}
	c.learnedMore()
	return again, below, nil
}

// beginListing returns the node of a collection that is going to be listed, or nil if an operation may be moving it.
func (c *counter) beginListing(name string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.root.ensure(name)
	if n.mayMove() {
		n.prune()
		return nil
	}
	n.listing = &listing{begun: c.clock}
	c.listings[n] = struct{}{}
	return n
}

// mayMove reports whether an operation that was decided may be moving or removing a collection, or one above it.
func (n *node) mayMove() bool {
	for ; n.parent != nil; n = n.parent {
		if slices.ContainsFunc(n.parent.pending, func(c *change) bool { return c.name == n.name }) {
			return true
		}
	}
	return false
}

// settleListing takes over the result of a listing. Operations that have come in between may be in it or not: the
// changes that they have made count in its place, and those that they are about to make count from the listing on.
func (c *counter) settleListing(n *node, l *listing, f found) (again bool, below []string) {
	made := map[string]*change{} // the last one of each name
	for _, change := range l.log {
		made[change.name] = change
	}
	sum := f.sum
	if f.sizes == nil && len(made)+len(n.pending) > 0 {
		sum, again = max(sum, n.files), true
	} else {
		for name, change := range made {
			sum += change.after - f.sizes[name]
		}
		for _, change := range n.pending {
			switch {
			case made[change.name] != nil:
			case change.made: // it is counted, and may be seen on the disk or not
				sum += change.after - f.sizes[change.name]
			default:
				change.before = f.sizes[change.name]
			}
		}
	}
	n.add(sum - n.files)
	busy := func(name string) bool {
		return made[name] != nil || slices.ContainsFunc(n.pending, func(c *change) bool { return c.name == name })
	}
	there := map[string]bool{}
	for _, name := range f.collections {
		there[name] = true
		if busy(name) {
			again = true // a collection may come or go
			continue
		}
		child, walked := n.children[name], f.walked[name]
		switch {
		case child == nil && walked != nil:
			if walked.total > 0 || walked.unknowns > 0 {
				n.attach(walked)
			}
		case child == nil:
			again = true // it had a node, and has none any more
		case walked != nil: // operations have come there meanwhile
			c.dirty.mark(c.nameOf(child), true)
			below = append(below, name)
		default:
			below = append(below, name)
		}
	}
	for name, child := range n.children {
		switch {
		case there[name]:
		case busy(name), len(child.pending) > 0, child.touched > l.begun:
			again = true // it may have been made after it was looked for
		default:
			c.moves(child)
			child.detach()
		}
	}
	return again, below
}

func (l *ledger) nameOf(n *node) string {
	name, _ := n.path(l.root)
	return name
}

// errNoCollection says that something else has the name of a collection.
var errNoCollection = errors.New("it is no collection")

// list lists a collection, and walks those in it that have no node.
func (c *counter) list(ctx context.Context, n *node, name string) (f found, err error) {
	f.sizes, f.walked = map[string]int64{}, map[string]*node{}
	first := true
	for state, err := range c.store.List(ctx, name, tree.ListOptions{Depth: 1}, tree.Condition{}) {
		s := site{state}
		switch {
		case first && err == nil && !s.isCollection():
			return f, errNoCollection
		case first && err == nil:
			first = false
			continue
		case err != nil && state.Name == "":
			return f, err
		case err != nil && errors.Is(err, tree.ErrNotExist):
			continue
		}
		_, base := tree.Split(state.Name)
		if err != nil || s.isCollection() {
			f.collections = append(f.collections, base) // one that cannot be read may be a collection
			continue
		}
		f.sum += s.fileSize()
		if len(f.sizes) >= maxNames {
			f.sizes = nil
		}
		if f.sizes != nil {
			f.sizes[base] = s.fileSize()
		}
	}
	c.mu.Lock()
	free := slices.DeleteFunc(slices.Clone(f.collections), func(base string) bool { return n.children[base] != nil })
	c.mu.Unlock()
	for _, base := range free {
		if f.walked[base], err = c.walk(ctx, tree.Join(name, base)); err != nil {
			return f, err
		}
		f.walked[base].name = base
	}
	return f, nil
}

// walk returns a node for a collection and all below it, as they are on the storage. It is in no tree. Collections that
// could not be listed now are unknown in it, and are marked.
func (c *counter) walk(ctx context.Context, name string) (*node, error) {
	top := &node{}
	at, last := top, name // the collection of the file before
	for state, err := range c.store.List(ctx, name, tree.ListOptions{Depth: -1}, tree.Condition{}) {
		s := site{state}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && (state.Name == "" || state.Name == name):
			if !isLasting(err) {
				top.learn(true)
				c.mark(name, true)
			}
			return top, nil
		case err != nil && isLasting(err):
			continue
		case err != nil:
			top.ensure(state.Name[len(tree.Join(name, "")):]).learn(true)
			c.mark(state.Name, true)
			continue
		}
		if s.fileSize() == 0 || state.Name == name {
			continue
		}
		if dir, _ := tree.Split(state.Name); dir != last {
			at, last = top, dir
			if dir != name {
				at = top.ensure(dir[len(tree.Join(name, "")):])
			}
		}
		at.add(s.fileSize())
	}
	return top, ctx.Err()
}

// isLasting reports whether an error of a listing stays, so that nothing there can be written either, or says that
// nothing is there.
func isLasting(err error) bool {
	return errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrPermission) || errors.Is(err, tree.ErrNotServed) ||
		errors.Is(err, tree.ErrReserved)
}
